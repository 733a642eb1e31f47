using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>What a write buffer knows of a key at an LSN.</summary>
internal enum BufferHit
{
    /// <summary>Nothing: look further down.</summary>
    None,

    /// <summary>A value.</summary>
    Put,

    /// <summary>That it was deleted.</summary>
    Delete,
}

/// <summary>
/// Committed changes that are not in the datafile yet: an ordered map in memory from keys to their versions, newest
/// first.
/// </summary>
/// <remarks>
/// STATE  an <see cref="Arena"/> of nodes and entries; the <see cref="BufferTree"/> over it, one slot a key; behind
/// each slot the chain of versions; a <see cref="KeyFilter"/>. Open until <see cref="Seal"/>, then only read, then
/// disposed as a whole. With keepVersions = false (replay; nobody reads the file then) a newer version takes the place
/// of the older one, no chain.
///
/// INVARIANTS
///   W1  Along a chain LSNs fall. Of several changes of a key at one LSN (one transaction) only the last one counts.
///   W2  A sealed buffer does not change.                                             (asserted in every write)
///   W3  A key's bits are in the filter before its slot is published.
///
/// THREADS  one writer, which is the owner of the datafile; any number of readers. The argument why readers are right
/// without a lock is in the header of <see cref="BufferTree"/>; the chain adds nothing to it: an entry is written
/// before it is published, and never changed after that. What a reader is promised: it sees each version whose write
/// ended before the read began (the read view with that visible LSN was published after it), and, at a given LSN at or
/// below the visible one, the same answer for ever. Spans point into the arena: they are valid as long as the reader's
/// epoch or pin.
/// FAILURE  none but a lack of memory, which leaves the buffer as it was.
/// </remarks>
internal sealed unsafe class WriteBuffer : IDisposable
{
    private const int KeyBytesMax = OperationCodec.TableIdBytes + Limits.KeyBytesMax;

    private readonly Arena _arena;
    private readonly KeyFilter _filter;
    private readonly BufferTree _tree;
    private readonly bool _keepVersions;
    private ulong _firstLsn;
    private ulong _lastLsn;
    private ulong _sealedAt;
    private long _keyCount;
    private bool _isSealed;

    public WriteBuffer(ArenaPool pool, bool keepVersions)
    {
        _arena = new Arena(pool);
        _filter = new KeyFilter(pool);
        _tree = new BufferTree(_arena);
        _keepVersions = keepVersions;
    }

    /// <summary>Bytes in use: nodes, versions and filter.</summary>
    public long Bytes => _arena.UsedBytes + _filter.LengthBytes;

    /// <summary>Keys, deleted ones included.</summary>
    public long Keys => Volatile.Read(ref _keyCount);

    public bool IsSealed => Volatile.Read(ref _isSealed);

    /// <summary>
    /// Every change at or below it, and none above, is here or in what is older; Zero while the buffer is open.
    /// </summary>
    public Lsn SealedAt => new(Volatile.Read(ref _sealedAt));

    /// <summary>The LSN of the first change; Zero if there is none.</summary>
    public Lsn FirstLsn => new(Volatile.Read(ref _firstLsn));

    /// <summary>The greatest LSN of a change; Zero if there is none.</summary>
    public Lsn LastLsn => new(Volatile.Read(ref _lastLsn));

    internal BufferTree Tree => _tree;

    // ---- writer ----------------------------------------------------------------------------------

    /// <summary>Sets a key. Keys that ascend from call to call cost a quarter of others. Writer only.</summary>
    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Lsn lsn) =>
        Write(key, value, lsn, isDelete: false);

    /// <summary>Deletes a key, whether it is here or not. Writer only.</summary>
    public void Delete(ReadOnlySpan<byte> key, Lsn lsn) => Write(key, default, lsn, isDelete: true);

    /// <summary>
    /// Ends the writing: the buffer then holds exactly its changes at or below this LSN. Writer only.
    /// </summary>
    public void Seal(Lsn at)
    {
        Invariant.Require(!_isSealed, "W2", "A write buffer is sealed twice.");
        Invariant.Require(at >= LastLsn, "W2", "A write buffer is sealed below its last change.");
        Volatile.Write(ref _sealedAt, at.Value);
        Volatile.Write(ref _isSealed, true);
    }

    private void Write(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Lsn lsn, bool isDelete)
    {
        Invariant.Require(!_isSealed, "W2", "A sealed write buffer is written.");
        Invariant.Require(
            key.Length <= KeyBytesMax && value.Length <= Limits.ValueBytesMax, "W1", "A change is out of bounds.");
        int lengthBytes = BufferEntry.HeaderBytes + key.Length + value.Length;
        var entry = (BufferEntry*)_arena.TakeEntry(lengthBytes, out uint reference);
        BufferEntry.Write(entry, lsn.Value, key, value, isDelete);
        if (_tree.Find(key, out BufferTree.Place place))
        {
            if (_keepVersions)
            {
                uint older = _tree.EntryAt(place);
                BufferEntry* before = _tree.Entry(older);
                Invariant.Require(before->Lsn <= lsn.Value, "W1", "A change is older than the key's last one.");
                entry->Older = before->Lsn == lsn.Value ? before->Older : older;
            }
            _tree.Replace(place, reference);
        }
        else
        {
            _filter.Add(KeyFilter.HashOf(key));
            _tree.Insert(place, key, reference);
            Volatile.Write(ref _keyCount, _keyCount + 1);
        }
        if (_firstLsn == 0)
            Volatile.Write(ref _firstLsn, lsn.Value);
        if (lsn.Value > _lastLsn)
            Volatile.Write(ref _lastLsn, lsn.Value);
    }

    /// <summary>
    /// Returns the memory. The caller made sure that every epoch and pin that could reach it has ended.
    /// </summary>
    public void Dispose()
    {
        _arena.Dispose();
        _filter.Dispose();
    }

    // ---- readers ---------------------------------------------------------------------------------

    /// <summary>False if the key is surely not here. Any thread.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayContain(uint hash) => _filter.MayContain(hash);

    /// <summary>The newest version of a key at or below an LSN. Any thread, inside an epoch.</summary>
    public BufferHit TryGet(ReadOnlySpan<byte> key, Lsn at, out ReadOnlySpan<byte> value, out Lsn lsn)
    {
        BufferEntry* version = VersionAt(_tree.Lookup(key), at.Value);
        if (version == null)
        {
            value = default;
            lsn = default;
            return BufferHit.None;
        }
        value = BufferEntry.ValueOf(version);
        lsn = new Lsn(version->Lsn);
        return version->IsDelete ? BufferHit.Delete : BufferHit.Put;
    }

    /// <summary>The same, for a read view: the value as the tree gives it.</summary>
    public BufferHit TryGet(ReadOnlySpan<byte> key, Lsn at, out ValueRef value)
    {
        BufferEntry* version = VersionAt(_tree.Lookup(key), at.Value);
        value = version == null ? default : BufferEntry.ValueRefOf(version);
        return version == null ? BufferHit.None : version->IsDelete ? BufferHit.Delete : BufferHit.Put;
    }

    /// <summary>The first version of a chain at or below an LSN; null if there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal BufferEntry* VersionAt(BufferEntry* newest, ulong at)
    {
        BufferEntry* version = newest;
        while (version != null && version->Lsn > at)
            version = version->Older == 0 ? null : _tree.Entry(version->Older);
        return version;
    }
}
