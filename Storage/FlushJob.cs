namespace Pitr.Storage;

/// <summary>
/// One generation in the making: what a worker does between <c>PrepareFlush</c> and <c>CompleteFlush</c> or
/// <c>DropFlush</c>, which are the owner's.
/// </summary>
/// <remarks>
/// DURABILITY  in this order; a crash before the end of 4 leaves the old generation whole
/// <code>
///   WritePages   1. merge into free pages, the free chain last     2. SyncData
///   WriteMeta    3. meta page of generation g+1, slot (g+1) mod 2  4. SyncData      5. cut what is free at the file's end
/// </code>
/// INVARIANTS
///   J1  Once step 3 was begun the job cannot be dropped: the kernel may write the meta page at any time (H9). It ends
///       with <see cref="IsDurable"/>, or the file is written never again.
///   J2  Step 5 cuts pages that were available when the job began, so that nobody can read them, and after step 4
///       (H41).
///
/// THREADS  WritePages and WriteMeta: one worker, one after the other. The owner waits for it to end before it
/// completes or drops (H13); closing the file waits for it too.
/// FAILURE  no room on the disk, damage and cancellation in WritePages: drop it. Any failure of a write or sync: the
/// datafile <see cref="Datafile.HasFailed"/>.
/// </remarks>
internal sealed class FlushJob
{
    private readonly Datafile _datafile;
    private volatile bool _isMetaSubmitted;
    private volatile bool _isDurable;

    internal FlushJob(Datafile datafile, MetaPage meta)
    {
        _datafile = datafile;
        Meta = meta;
    }

    /// <summary>The meta page to be: complete after <see cref="WritePages"/>.</summary>
    public MetaPage Meta { get; private set; }

    /// <summary>The generation that it makes.</summary>
    public ulong Generation => Meta.Generation;

    /// <summary>What the file will have: every change at or below it.</summary>
    public Lsn CheckpointLsn => Meta.CheckpointLsn;

    /// <summary>False for a change of the meta page only (H22).</summary>
    public bool HasPages => View is not null;

    /// <summary>True from the moment when the meta page may reach the disk.</summary>
    public bool IsMetaSubmitted => _isMetaSubmitted;

    /// <summary>True when the new generation is durable.</summary>
    public bool IsDurable => _isDurable;

    /// <summary>Pages written.</summary>
    public long WrittenPages { get; private set; }

    /// <summary>What is merged into; pinned while the job lives.</summary>
    internal ReadView? View { get; init; }

    /// <summary>What is merged, newest first.</summary>
    internal IReadOnlyList<WriteBuffer> Buffers { get; init; } = [];

    /// <summary>What was spilled and is merged with them; older than they.</summary>
    internal Spilled? Spilled { get; init; }

    internal IReadOnlyList<DroppedTable> Dropped { get; init; } = [];

    internal IReadOnlyList<uint> Chain { get; private set; } = [];

    private bool ArePagesWritten { get; set; }

    /// <summary>Steps 1 and 2. On a worker. Cancelling is possible until it returns.</summary>
    public void WritePages(CancellationToken cancellation = default)
    {
        using Datafile.Work work = _datafile.BeginWork();
        Invariant.Require(!ArePagesWritten, "J1", "a flush writes its pages twice.");
        if (View is { } view)
        {
            using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _datafile.Closing);
            _datafile.Write(() => Merge(view, both.Token));
        }
        ArePagesWritten = true;
    }

    /// <summary>Steps 3 to 5. On a worker. It cannot be taken back.</summary>
    public void WriteMeta()
    {
        using Datafile.Work work = _datafile.BeginWork();
        Invariant.Require(ArePagesWritten
            && !_isMetaSubmitted, "J1", "a meta page is written before its pages, or twice.");
        _isMetaSubmitted = true;
        _datafile.WriteMeta(Meta);
        _isDurable = true;
        if (HasPages)
            _datafile.CutTail(Meta);
    }

    private void Merge(ReadView view, CancellationToken cancellation)
    {
        FreePages free = _datafile.BeginTaking();
        // The view is pinned; the epoch protects cached pages, and ends often so that they can make room.
        using var epoch = new FlushEpoch(_datafile.Environment.Epochs);
        using var sink = new FlushSink(
            free, _datafile.Pages, _datafile.Handle, _datafile.Environment.Writer, Generation, epoch, cancellation);
        using SpilledChanges? spilled = Spilled is null ? null : new SpilledChanges(Spilled);
        IChangeStream changes = spilled is null ? Changes() : new LayeredChanges(Changes(), spilled);
        TreeRoot root = TreeMerge.Run(
            _datafile.Pages, view.Root, changes, DroppedIds(), sink, cancellation, epoch.Renew);
        List<uint> chain = sink.Finish();
        epoch.Dispose();
        _datafile.Environment.Writer.Sync(_datafile.Handle);
        WrittenPages = sink.WrittenPages;
        Chain = chain;
        Meta = Meta with
        {
            Root = root,
            FreeChain = chain.Count == 0 ? 0 : chain[0],
            FreeChainGeneration = Generation,
            FreeChainPages = (uint)chain.Count,
            FreePages = (ulong)free.FreeCount,
            PageCount = free.PageCount,
        };
    }

    private IChangeStream Changes() => Buffers.Count == 0 ? new NoChanges() : new SealedChanges([.. Buffers]);

    private List<uint> DroppedIds()
    {
        List<uint> ids = [];
        foreach (DroppedTable dropped in Dropped)
            ids.Add(dropped.Table.Value);
        return ids;
    }

    /// <summary>For a flush that only cuts dropped tables.</summary>
    private sealed class NoChanges : IChangeStream
    {
        public ReadOnlySpan<byte> Key => default;
        public bool IsDelete => false;
        public ReadOnlySpan<byte> Value => default;
        public bool MoveNext() => false;
    }
}
