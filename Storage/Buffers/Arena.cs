using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// Memory without objects for one write buffer: grows only, is addressed by 4-byte references, and goes back to the
/// pool as a whole.
/// </summary>
/// <remarks>
/// LAYOUT  a reference counts granules of 8 bytes; 0 is "none".
/// <code>
///   bit 31 … 17   index into the table of chunks          (32,768 chunks of 1 MiB: 32 GiB)
///   bit 16 …  0   granule within the chunk
/// </code>
/// Nodes and entries are taken from two chunks at a time, so that the nodes, which every search walks, lie close
/// together. What is longer than <see cref="BlockBytesMin"/> gets a block of its own and one place in the table.
///
/// INVARIANTS
///   A1  A granule that was given out is not given out again before <see cref="Dispose"/>.
///   A2  The table's place is filled before the first reference into its chunk is returned.
///
/// THREADS  one writer takes memory; any thread turns references into pointers that the writer published to it. The
/// table has its full length from the start (zeroed by the system as it is touched), so it never moves under a reader.
/// FAILURE  a full table is refused by an invariant: owners seal long before (their limits are below 4 GiB).
/// </remarks>
internal sealed unsafe class Arena : IDisposable
{
    private const int GranuleShift = 3;
    private const int ChunkShift = 17;
    private const uint GranuleMask = (1u << ChunkShift) - 1;
    internal const int ChunksMax = 1 << (32 - ChunkShift);

    /// <summary>
    /// From this length on an allocation has a block of its own: at most 1/8 of a chunk is left unused.
    /// </summary>
    private const int BlockBytesMin = 128 << 10;

    /// <summary>
    /// What nodes and entries begin with, so that the buffer of an idle datafile does not hold whole chunks.
    /// </summary>
    internal const int FirstBytes = 64 << 10;

    private readonly ArenaPool _pool;
    private readonly byte** _chunks;
    private readonly List<(int Place, long LengthBytes)> _blocks = [];
    private int _chunkCount;
    private Region _nodes;
    private Region _entries;
    private long _usedBytes;
    private long _reservedBytes;
    private bool _disposed;

    static Arena() => Invariant.Require(
        ArenaPool.ChunkBytes == 1 << (ChunkShift + GranuleShift), "A1", "A chunk is not what a reference can address.");

    public Arena(ArenaPool pool)
    {
        _pool = pool;
        _chunks = pool.RentTable(); // zeroes
    }

    /// <summary>Bytes given out.</summary>
    public long UsedBytes => Volatile.Read(ref _usedBytes);

    /// <summary>Bytes rented from the pool.</summary>
    public long ReservedBytes => Volatile.Read(ref _reservedBytes);

    /// <summary>The memory behind a reference.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Pointer(uint reference) =>
        _chunks[reference >> ChunkShift] + ((nuint)(reference & GranuleMask) << GranuleShift);

    /// <summary>Memory for a node; a multiple of the cache line, aligned to it; any content.</summary>
    public byte* TakeNode(int lengthBytes, out uint reference) => Take(ref _nodes, lengthBytes, out reference);

    /// <summary>Memory for an entry, rounded up to granules; any content.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* TakeEntry(int lengthBytes, out uint reference) => Take(ref _entries, lengthBytes, out reference);

    /// <summary>Returns everything. The caller made sure that no reader is left.</summary>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        foreach ((int place, long lengthBytes) in _blocks)
        {
            _pool.ReturnBlock(_chunks[place], lengthBytes);
            _chunks[place] = null;
        }
        for (int place = 0; place < _chunkCount; place++)
        {
            if (_chunks[place] != null)
                _pool.ReturnChunk(_chunks[place]);
            _chunks[place] = null;
        }
        _pool.ReturnTable(_chunks);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* Take(ref Region region, int lengthBytes, out uint reference)
    {
        int rounded = (lengthBytes + 7) & ~7;
        if (rounded > region.LeftBytes)
            return TakeElsewhere(ref region, rounded, out reference);
        byte* memory = region.Memory;
        reference = region.Reference;
        region.Memory += rounded;
        region.Reference += (uint)rounded >> GranuleShift;
        region.LeftBytes -= rounded;
        _usedBytes += rounded;
        return memory;
    }

    private byte* TakeElsewhere(ref Region region, int lengthBytes, out uint reference)
    {
        Invariant.Require(!_disposed, "A1", "Memory is taken from an arena that was returned.");
        Invariant.Require(_chunkCount < ChunksMax, "A1", "An arena is full; its buffer was not sealed in time.");
        if (lengthBytes >= BlockBytesMin)
        {
            Invariant.Require(_chunkCount != 0, "A1", "An entry would have the reference that means none.");
            int place = NewBlock(lengthBytes);
            _usedBytes += lengthBytes;
            reference = (uint)place << ChunkShift;
            return _chunks[place];
        }
        if (region.Memory == null && lengthBytes <= FirstBytes - ArenaPool.Alignment)
            Fill(ref region, NewBlock(FirstBytes), FirstBytes);
        else
            Fill(ref region, NewChunk(), ArenaPool.ChunkBytes);
        return Take(ref region, lengthBytes, out reference);
    }

    /// <summary>
    /// Takes from a chunk or block from now on. A first line stays unused, because reference 0 is "none".
    /// </summary>
    private void Fill(ref Region region, int place, int lengthBytes)
    {
        region.Memory = _chunks[place] + ArenaPool.Alignment;
        region.Reference = ((uint)place << ChunkShift) + (ArenaPool.Alignment >> GranuleShift);
        region.LeftBytes = lengthBytes - ArenaPool.Alignment;
    }

    private int NewChunk()
    {
        int place = _chunkCount++;
        _chunks[place] = _pool.RentChunk();
        _reservedBytes += ArenaPool.ChunkBytes;
        return place;
    }

    private int NewBlock(int lengthBytes)
    {
        int place = _chunkCount++;
        _chunks[place] = _pool.RentBlock(lengthBytes);
        _blocks.Add((place, lengthBytes));
        _reservedBytes += lengthBytes;
        return place;
    }

    /// <summary>What is left of the chunk that is being filled.</summary>
    private struct Region
    {
        public byte* Memory;
        public uint Reference;
        public int LeftBytes;
    }
}
