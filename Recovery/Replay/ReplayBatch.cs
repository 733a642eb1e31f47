using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// Changes of one datafile out of many records, sorted by key, with only the newest version of each: what replay hands
/// to a datafile at once.
/// </summary>
/// <remarks>
/// LAYOUT  an arena of native memory, one item a change, each at a multiple of 8:
/// <code>
///   0 u64 LSN of the record · 8 the operation as OperationCodec wrote it (header 12, key, value) · zero to 7 unused bytes
/// </code>
/// and beside it one <see cref="ReplayEntry"/> a change. Sorting moves entries only (<see cref="ReplaySort"/>).
///
/// INVARIANTS
///   B1  Changes are appended in LSN order; all of one record go into the same batch.
///   B2  After <see cref="Seal"/> the keys ascend strictly, and each has the change of the greatest LSN.
///
/// LIFE  Append … Seal … MoveNext … Recycle. It may be read again after <see cref="Rewind"/>. The owner changes hands
/// with the batch: the stream until it is delivered, then the receiver, who recycles it.
/// THREADS  one at a time.
/// </remarks>
internal sealed unsafe class ReplayBatch : IDisposable
{
    private const int ItemHeaderBytes = sizeof(ulong) + OperationCodec.HeaderBytes;
    private const long ArenaBytesFirst = 1 << 20;
    private const int EntriesFirst = 4096;

    private readonly ReplayBatchPool? _pool;
    private byte* _arena;
    private long _arenaBytes;
    private long _arenaUsed;
    private ReplayEntry* _entries;
    private ReplayEntry* _scratch;
    private int _entriesMax;
    private int _count;
    private int _at = -1;
    private bool _isSealed;
    private byte* _item;

    public ReplayBatch(ReplayBatchPool? pool = null) => _pool = pool;

    ~ReplayBatch() => Free();

    /// <summary>The datafile that the changes belong to.</summary>
    public FileId File { get; private set; }

    /// <summary>The LSN of the first record with a change in here.</summary>
    public Lsn FirstLsn { get; private set; }

    /// <summary>The LSN of the last record with a change in here.</summary>
    public Lsn LastLsn { get; private set; }

    /// <summary>
    /// Once delivered: every change of the file at or below it was delivered, here or before. At least
    /// <see cref="LastLsn"/>.
    /// </summary>
    public Lsn ThroughLsn { get; set; }

    /// <summary>Changes that were appended; after <see cref="Seal"/>, keys are at most as many.</summary>
    public int ChangeCount => _count;

    /// <summary>Keys, once sealed.</summary>
    public int KeyCount { get; private set; }

    /// <summary>Memory that the changes take.</summary>
    public long Bytes => _arenaUsed + (long)_count * sizeof(ReplayEntry);

    /// <summary>The current change's key, with the table id in front.</summary>
    public ReadOnlySpan<byte> Key
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(_item + ItemHeaderBytes, *(ushort*)(_item + 10));
    }

    /// <summary>True if the current change removes the key.</summary>
    public bool IsDelete => Kind == OperationKind.Delete;

    /// <summary>What the current change does.</summary>
    public OperationKind Kind => (OperationKind)_item[8];

    /// <summary>The current change's value; empty for a delete.</summary>
    public ReadOnlySpan<byte> Value
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(_item + ItemHeaderBytes + *(ushort*)(_item + 10), (int)*(uint*)(_item + 12));
    }

    /// <summary>The LSN of the record that the current change came with.</summary>
    public Lsn Lsn => new(*(ulong*)_item);

    /// <summary>Makes it the batch of a datafile, empty.</summary>
    public void Begin(FileId file)
    {
        File = file;
        (FirstLsn, LastLsn, ThroughLsn) = (default, default, default);
        (_arenaUsed, _count, _at, KeyCount, _isSealed) = (0, 0, -1, 0, false);
    }

    /// <summary>
    /// Takes one operation, as <see cref="OperationCodec"/> encodes it; records come in LSN order (B1).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Append(ReadOnlySpan<byte> operation, int keyBytes, Lsn lsn)
    {
        long at = _arenaUsed;
        long end = at + ((sizeof(ulong) + operation.Length + 7L) & ~7L);
        if (end > _arenaBytes || _count == _entriesMax)
            Grow(end);
        byte* item = _arena + at;
        *(ulong*)item = lsn.Value;
        operation.CopyTo(new Span<byte>(item + sizeof(ulong), operation.Length));
        _entries[_count++] = new ReplayEntry((uint)(at >> 3), (ushort)keyBytes);
        _arenaUsed = end;
        if (FirstLsn.IsZero)
            FirstLsn = lsn;
        LastLsn = lsn;
    }

    /// <summary>Sorts by key and drops every version but the newest.</summary>
    public void Seal()
    {
        Invariant.Require(!_isSealed, "B2", "a batch is sealed once.");
        _isSealed = true;
        ReplaySort.Sort(_entries, _scratch, _count, _arena, ItemHeaderBytes);

        // Versions of one key stand together, the newest last: each overwrites the one before it.
        int keys = 0;
        for (int i = 0; i < _count; i++)
        {
            if (!_entries[i].IsSameKeyAsBefore)
                keys++;
            _entries[keys - 1] = _entries[i];
        }
        KeyCount = keys;
        _at = -1;
    }

    /// <summary>The next change in key order; only after <see cref="Seal"/>.</summary>
    public bool MoveNext()
    {
        if (_at + 1 >= KeyCount)
            return false;
        _at++;
        // The items of neighbouring keys lie anywhere in the arena: ask for the next ones early.
        if (_at + 4 < KeyCount && System.Runtime.Intrinsics.X86.Sse.IsSupported)
            System.Runtime.Intrinsics.X86.Sse.Prefetch0(_arena + ((long)_entries[_at + 4].Item << 3));
        _item = _arena + ((long)_entries[_at].Item << 3);
        return true;
    }

    /// <summary>Before the first change again.</summary>
    public void Rewind() => _at = -1;

    /// <summary>Gives the memory back for the next batch; the receiver's last call.</summary>
    public void Recycle()
    {
        if (_pool is null)
            Dispose();
        else
            _pool.Return(this);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>True if the batch holds much more memory than ordinary ones do, for one large value.</summary>
    internal bool IsOversized(long ordinaryBytes) => _arenaBytes > ordinaryBytes;

    private void Grow(long arenaBytes)
    {
        Invariant.Require(!_isSealed, "B1", "nothing is appended to a sealed batch.");
        if (arenaBytes > _arenaBytes)
        {
            _arenaBytes = Math.Max(Math.Max(ArenaBytesFirst, _arenaBytes * 2), arenaBytes);
            _arena = (byte*)NativeMemory.Realloc(_arena, (nuint)_arenaBytes);
        }
        if (_count == _entriesMax)
        {
            _entriesMax = Math.Max(EntriesFirst, _entriesMax * 2);
            nuint bytes = (nuint)_entriesMax * (nuint)sizeof(ReplayEntry);
            _entries = (ReplayEntry*)NativeMemory.Realloc(_entries, bytes);
            _scratch = (ReplayEntry*)NativeMemory.Realloc(_scratch, bytes);
        }
    }

    private void Free()
    {
        NativeMemory.Free(_arena);
        NativeMemory.Free(_entries);
        NativeMemory.Free(_scratch);
        _arena = null;
        _entries = null;
        _scratch = null;
        (_arenaBytes, _entriesMax, _count, KeyCount) = (0, 0, 0, 0);
    }
}

/// <summary>Batches whose memory is used again. Any thread.</summary>
internal sealed class ReplayBatchPool : IDisposable
{
    private const int KeptMax = 8;

    private readonly Lock _gate = new(); // guards _free: receivers recycle on their own threads
    private readonly Stack<ReplayBatch> _free = new();
    private readonly long _ordinaryBytes;
    private bool _isDisposed;

    /// <param name="ordinaryBytes">A batch with a larger arena is not kept.</param>
    public ReplayBatchPool(long ordinaryBytes) => _ordinaryBytes = ordinaryBytes;

    /// <summary>An empty batch of a datafile.</summary>
    public ReplayBatch Take(FileId file)
    {
        ReplayBatch? batch;
        lock (_gate)
            _ = _free.TryPop(out batch);
        batch ??= new ReplayBatch(this);
        batch.Begin(file);
        return batch;
    }

    internal void Return(ReplayBatch batch)
    {
        lock (_gate)
        {
            if (!_isDisposed && _free.Count < KeptMax && !batch.IsOversized(_ordinaryBytes))
            {
                _free.Push(batch);
                return;
            }
        }
        batch.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            while (_free.TryPop(out ReplayBatch? batch))
                batch.Dispose();
        }
    }
}
