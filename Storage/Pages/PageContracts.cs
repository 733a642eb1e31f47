namespace Pitr.Storage;

/// <summary>
/// Where readers of a tree get pages from. Call only inside an epoch (EpochTable): the memory is not reused before it
/// ends.
/// </summary>
internal unsafe interface IPageSource
{
    /// <summary>The file, for messages.</summary>
    string Path => "(memory)";

    /// <summary>
    /// The page's verified bytes (what <see cref="PageGuard.RequireLoaded"/> requires: once when it is loaded, and the
    /// generation, at most <paramref name="rootGeneration"/>, each time); valid until the caller's epoch ends.
    /// </summary>
    /// <exception cref="DamageException">The page is not what was written.</exception>
    /// <exception cref="StorageFailedException">The disk could not read it.</exception>
    byte* Page(uint number, ulong rootGeneration);

    /// <summary>Hint: these pages will be asked for soon. May do nothing.</summary>
    void Prefetch(ReadOnlySpan<uint> numbers, ulong rootGeneration);
}

/// <summary>Where a merge puts the pages of a new root. One thread.</summary>
internal interface IPageSink
{
    /// <summary>The generation being written (g+1); stamped into every page.</summary>
    ulong Generation { get; }

    /// <summary>A page number that no root, view or epoch reaches.</summary>
    uint Allocate();

    /// <summary>
    /// Takes over the finished content of an allocated page: the sink fills number, generation and checksum in the
    /// page's header and writes it some time before the flush's first sync.
    /// </summary>
    void Write(uint number, Span<byte> page);

    /// <summary>
    /// The new root no longer reaches this page of the old one; reused after views and epochs have ended.
    /// </summary>
    void Free(uint number);
}

/// <summary>The root of a tree: what a meta page names.</summary>
/// <param name="Page">Page number of the root; 0 is the empty tree.</param>
/// <param name="Height">0 empty, 1 a single leaf, and so on.</param>
/// <param name="Generation">The generation through which pages are reached; a page above it is damage.</param>
/// <param name="Keys">How many keys the tree holds.</param>
internal readonly record struct TreeRoot(uint Page, int Height, ulong Generation, ulong Keys)
{
    public static TreeRoot Empty(ulong generation) => new(0, 0, generation, 0);
}
