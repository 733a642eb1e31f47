namespace Pitr.Storage;

/// <summary>
/// What a page of a datafile is. The number is on disk; 0 is never written, so that a page of zeroes is none of them.
/// </summary>
internal enum PageKind : byte
{
    /// <summary>Page 0 or 1: the root of one generation.</summary>
    Meta = 1,

    /// <summary>Separators and children of a tree.</summary>
    Branch = 2,

    /// <summary>Keys and their values.</summary>
    Leaf = 3,

    /// <summary>A part of a value that is too large for a leaf.</summary>
    Overflow = 4,

    /// <summary>Runs of free pages.</summary>
    FreeChain = 5,
}
