using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// Native memory for write buffers: chunks of one size that go round, and single blocks for what is too big for a
/// chunk.
/// </summary>
/// <remarks>
/// STATE  what is rented (counted against the budget); a list of free chunks, linked through their first 8 bytes; some
/// of what each arena begins with, its table of chunks and its first blocks, so that short-lived buffers of idle
/// datafiles ask the system for nothing.
///
/// INVARIANTS
///   P1  Free chunks are kept only while rented + free bytes ≤ the budget; beyond it they go back to the system.
///
/// The budget is a measure, not a wall: renting never refuses, because a commit that is durable has to be applied. Who
/// slows the commits down (design §3, back pressure) looks at <see cref="RentedBytes"/> / <see cref="BudgetBytes"/>.
///
/// THREADS  any. The lock protects the list of free chunks and is taken once a chunk, not once a key.
/// FAILURE  <see cref="OutOfMemoryException"/> from the system goes to the caller; nothing is counted then.
/// </remarks>
internal sealed unsafe class ArenaPool : IDisposable
{
    /// <summary>Bytes of a chunk.</summary>
    public const int ChunkBytes = 1 << 20;

    /// <summary>Chunks and blocks begin at a multiple of a cache line.</summary>
    public const int Alignment = 64;

    /// <summary>A shorter block would leave too much of the system's pages unused.</summary>
    private const long MappedFromBytes = 64 << 10;

    private const int TablesKeptMax = 8;
    private const int FirstBlocksKeptMax = 32; // 2 MiB

    private readonly Lock _lock = new();
    private readonly Stack<nint> _tables = [];
    private readonly Stack<nint> _firstBlocks = [];
    private byte* _free;
    private long _freeBytes;
    private long _rentedBytes;
    private bool _disposed;

    public ArenaPool(long budgetBytes) => BudgetBytes = budgetBytes;

    /// <summary>How much may be rented before commits are to be slowed down.</summary>
    public long BudgetBytes { get; }

    /// <summary>Bytes that arenas hold now.</summary>
    public long RentedBytes => Volatile.Read(ref _rentedBytes);

    /// <summary>Bytes kept for the next arena.</summary>
    public long FreeBytes => Volatile.Read(ref _freeBytes);

    /// <summary>A chunk with any content.</summary>
    public byte* RentChunk()
    {
        lock (_lock)
        {
            if (_free != null)
            {
                byte* chunk = _free;
                _free = *(byte**)chunk;
                _freeBytes -= ChunkBytes;
                Interlocked.Add(ref _rentedBytes, ChunkBytes);
                return chunk;
            }
        }
        byte* made = NativeBlocks.Take(ChunkBytes);
        Interlocked.Add(ref _rentedBytes, ChunkBytes);
        return made;
    }

    public void ReturnChunk(byte* chunk)
    {
        lock (_lock)
        {
            Interlocked.Add(ref _rentedBytes, -ChunkBytes);
            if (!_disposed && _rentedBytes + _freeBytes + ChunkBytes <= BudgetBytes)
            {
                *(byte**)chunk = _free;
                _free = chunk;
                _freeBytes += ChunkBytes;
                return;
            }
        }
        NativeBlocks.Free(chunk, ChunkBytes);
    }

    /// <summary>A block of its own, with any content.</summary>
    public byte* RentBlock(long lengthBytes)
    {
        byte* block = lengthBytes == Arena.FirstBytes && TryPop(_firstBlocks, out nint kept)
            ? (byte*)kept
            : lengthBytes < MappedFromBytes
            ? (byte*)NativeMemory.AlignedAlloc((nuint)lengthBytes, Alignment)
            : NativeBlocks.Take(lengthBytes);
        Interlocked.Add(ref _rentedBytes, lengthBytes);
        return block;
    }

    public void ReturnBlock(byte* block, long lengthBytes)
    {
        if (lengthBytes < MappedFromBytes)
            NativeMemory.AlignedFree(block);
        else if (lengthBytes != Arena.FirstBytes || !TryKeep(_firstBlocks, (nint)block, FirstBlocksKeptMax))
            NativeBlocks.Free(block, lengthBytes);
        Interlocked.Add(ref _rentedBytes, -lengthBytes);
    }

    /// <summary>An arena's table of chunks; all null.</summary>
    public byte** RentTable() => TryPop(_tables, out nint kept)
        ? (byte**)kept
        : (byte**)NativeBlocks.Take(Arena.ChunksMax * sizeof(byte*));

    /// <summary>Takes back a table; its owner made all of it null again.</summary>
    public void ReturnTable(byte** table)
    {
        if (!TryKeep(_tables, (nint)table, TablesKeptMax))
            NativeBlocks.Free((byte*)table, Arena.ChunksMax * sizeof(byte*));
    }

    private bool TryPop(Stack<nint> kept, out nint memory)
    {
        lock (_lock)
            return kept.TryPop(out memory);
    }

    private bool TryKeep(Stack<nint> kept, nint memory, int max)
    {
        lock (_lock)
        {
            if (_disposed || kept.Count >= max)
                return false;
            kept.Push(memory);
            return true;
        }
    }

    /// <summary>
    /// Gives the free chunks back to the system; those that are still rented follow when they are returned.
    /// </summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            while (_tables.TryPop(out nint table))
                NativeBlocks.Free((byte*)table, Arena.ChunksMax * sizeof(byte*));
            while (_firstBlocks.TryPop(out nint block))
                NativeBlocks.Free((byte*)block, Arena.FirstBytes);
            while (_free != null)
            {
                byte* next = *(byte**)_free;
                NativeBlocks.Free(_free, ChunkBytes);
                _free = next;
            }
            _freeBytes = 0;
        }
    }
}
