using System.Buffers.Binary;

namespace Pitr.Storage;

/// <summary>What a reader of a datafile holds: one root of the tree and the write buffers above it.</summary>
/// <remarks>
/// STATE  immutable, but for the pins. From new to old: the active buffer, at most two sealed ones (newest first), what
/// was spilled while the file was held still, the tree with every change at or below <see cref="RootLsn"/>. The owner
/// publishes another view when it seals, when a flush or a spill is complete, and when a table is dropped; until then it
/// goes on writing into the active buffer of this one.
///
/// INVARIANTS
///   V1  A change is in the newest place of those that have the key; so the first place that knows a key at or below
///       the read's LSN answers for it.
///   V2  Reads are at or above ReadableFrom: tree and spill have one version a key.        (asserted in every read)
///   V3  Once superseded and not pinned any more, the view is released: once, and never pinned again.
///
/// THREADS  any. A short read is inside an epoch from before it takes the view from where it is published; a longer one
/// (a snapshot, a scan) pins it: then buffers and pages stay, and an epoch is needed only while a page is looked at.
/// FAILURE  damage and disk errors of the tree pass through.
/// </remarks>
internal sealed class ReadView
{
    private const int SealedMax = 2;
    private const int SupersededBit = 1;
    private const int Pin = 2;

    private readonly WriteBuffer[] _buffers;
    private readonly DroppedTable[] _dropped;
    private Action<ReadView>? _release;
    private int _pins;
    private bool _isEnded;

    /// <param name="pages">The tree's pages.</param>
    /// <param name="root">The tree's root.</param>
    /// <param name="rootLsn">Every change at or below it is in the tree.</param>
    /// <param name="active">The buffer that is being written.</param>
    /// <param name="sealed">At most two, newest first.</param>
    /// <param name="dropped">Tables that buffers and tree still hold.</param>
    /// <param name="spilled">What was spilled; null if nothing was.</param>
    public ReadView(
        IPageSource pages, TreeRoot root, Lsn rootLsn, WriteBuffer active, ReadOnlySpan<WriteBuffer> @sealed,
        ReadOnlySpan<DroppedTable> dropped, Spilled? spilled = null)
    {
        Invariant.Require(@sealed.Length <= SealedMax, "V1", "A read view has more than two sealed buffers.");
        Pages = pages;
        Root = root;
        RootLsn = rootLsn;
        Spilled = spilled;
        ReadableFrom = spilled is null ? rootLsn : Lsn.Max(rootLsn, spilled.UpTo);
        _buffers = [active, .. @sealed];
        _dropped = dropped.ToArray();
    }

    public IPageSource Pages { get; }
    public TreeRoot Root { get; }

    /// <summary>Every change at or below it is in the tree.</summary>
    public Lsn RootLsn { get; }

    /// <summary>Between buffers and tree; null if nothing was spilled.</summary>
    public Spilled? Spilled { get; }

    /// <summary>The least LSN of a read: tree and spill hold every change at or below it that the buffers lack.</summary>
    public Lsn ReadableFrom { get; }

    public WriteBuffer Active => _buffers[0];

    /// <summary>Newest first.</summary>
    public ReadOnlySpan<WriteBuffer> Sealed => _buffers.AsSpan(1);

    /// <summary>All buffers, newest first.</summary>
    public ReadOnlySpan<WriteBuffer> Buffers => _buffers;

    public ReadOnlySpan<DroppedTable> Dropped => _dropped;

    /// <summary>How many pins hold the view.</summary>
    public int Pins => Volatile.Read(ref _pins) / Pin;

    /// <summary>
    /// True once the file was closed for good: its next owner knows nothing of the view (H41), so nobody reads by it any
    /// more.
    /// </summary>
    public bool IsEnded => Volatile.Read(ref _isEnded);

    /// <summary>True once another view was published.</summary>
    public bool IsSuperseded => (Volatile.Read(ref _pins) & SupersededBit) != 0;

    /// <summary>
    /// The value of a key as of an LSN; valid as long as the caller's epoch, or the view's pin if it is inline.
    /// </summary>
    /// <exception cref="DamageException">A page of the tree is not what was written.</exception>
    public bool TryGet(ReadOnlySpan<byte> key, Lsn at, out ValueRef value)
    {
        RequireReadable(at);
        if (_dropped.Length != 0 && IsHidden(key, at))
        {
            value = default;
            return false;
        }
        uint hash = 0;
        bool isHashed = false;
        foreach (WriteBuffer buffer in _buffers)
        {
            if (buffer.Keys == 0)
                continue;
            if (!isHashed)
                (hash, isHashed) = (KeyFilter.HashOf(key), true);
            if (!buffer.MayContain(hash))
                continue;
            BufferHit hit = buffer.TryGet(key, at, out value);
            if (hit != BufferHit.None)
                return hit == BufferHit.Put;
        }
        if (Spilled is { } spilled && spilled.TryGet(key, out value) is var found && found != BufferHit.None)
            return found == BufferHit.Put;
        return BTree.TryGet(Pages, Root, key, out value);
    }

    /// <summary>True if the key's table is dropped for a read at this LSN.</summary>
    public bool IsHidden(ReadOnlySpan<byte> key, Lsn at)
    {
        uint table = BinaryPrimitives.ReadUInt32BigEndian(key);
        foreach (DroppedTable dropped in _dropped)
        {
            if (dropped.Table.Value == table)
                return dropped.HidesAt(at);
        }
        return false;
    }

    /// <summary>Refuses a read that the view can't answer.</summary>
    public void RequireReadable(Lsn at) =>
        Invariant.Require(at >= ReadableFrom, "V2", "A read is older than the root of its read view.");

    // ---- pins ------------------------------------------------------------------------------------

    /// <summary>
    /// Holds the view's buffers and pages until <see cref="Unpin"/>. False if it was released: take the one that is
    /// published now.
    /// </summary>
    public bool TryPin()
    {
        int pins = Volatile.Read(ref _pins);
        while (pins != SupersededBit)
        {
            int seen = Interlocked.CompareExchange(ref _pins, pins + Pin, pins);
            if (seen == pins)
                return true;
            pins = seen;
        }
        return false;
    }

    /// <summary>Ends one pin. The last one of a superseded view releases it, on this thread.</summary>
    public void Unpin()
    {
        int left = Interlocked.Add(ref _pins, -Pin);
        Invariant.Require(left >= 0, "V3", "A read view is unpinned more often than it was pinned.");
        if (left == SupersededBit)
            Release();
    }

    /// <summary>
    /// Says that another view is published now. <paramref name="release"/> runs when the last pin has ended: at once,
    /// on this thread, if there is none. Readers inside an epoch may still be in the view then. Called once, by the
    /// owner.
    /// </summary>
    public void Supersede(Action<ReadView> release)
    {
        _release = release;
        int pins = Interlocked.Or(ref _pins, SupersededBit);
        Invariant.Require((pins & SupersededBit) == 0, "V3", "A read view is superseded twice.");
        if (pins == 0)
            Release();
    }

    /// <summary>See <see cref="IsEnded"/>. Pins stay, and keep its memory.</summary>
    public void End() => Volatile.Write(ref _isEnded, true);

    private void Release()
    {
        Action<ReadView>? release = Interlocked.Exchange(ref _release, null);
        release?.Invoke(this);
    }
}
