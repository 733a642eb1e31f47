using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Pitr.Storage;

/// <summary>
/// Walks a write buffer in key order, both ways, as of one LSN: each key's newest version at or below it, deletes
/// included.
/// </summary>
/// <remarks>
/// STATE  a copy of one leaf's entry references, taken under one version of the leaf, and a slot in it. Keys without a
/// version at or below the LSN are passed over. How copies join without a gap: (5) in the header of <see
/// cref="BufferTree"/>.
///
/// THREADS  a cursor belongs to one thread at a time; the buffer may be written meanwhile. Key and value point into the
/// arena, and a moved cursor leaves them valid: as long as the buffer is pinned. Can be used again for another scan by
/// seeking.
/// </remarks>
internal sealed unsafe class WriteBufferCursor
{
    /// <summary>Entries lie where they were written, so a scan asks for them this many rows ahead.</summary>
    private const int RowsAhead = 12;

    private readonly WriteBuffer _buffer;
    private readonly BufferTree _tree;
    private readonly ulong _at;
    private Slots _slots;
    private int _count;
    private int _slot;
    private BufferNode* _leaf;
    private uint _next;
    private BufferEntry* _version;

    public WriteBufferCursor(WriteBuffer buffer, Lsn at)
    {
        _buffer = buffer;
        _tree = buffer.Tree;
        _at = at.Value;
    }

    /// <summary>True if the cursor stands on a key.</summary>
    public bool IsValid => _version != null;

    public ReadOnlySpan<byte> Key => BufferEntry.KeyOf(_version);
    public ReadOnlySpan<byte> Value => BufferEntry.ValueOf(_version);
    public ValueRef ValueRef => BufferEntry.ValueRefOf(_version);
    public bool IsDelete => _version->IsDelete;
    public Lsn Lsn => new(_version->Lsn);

    /// <summary>To the first key.</summary>
    public bool SeekFirst() => SeekEdge(last: false);

    /// <summary>To the last key.</summary>
    public bool SeekLast() => SeekEdge(last: true);

    /// <summary>To the first key that is not less.</summary>
    public bool Seek(ReadOnlySpan<byte> key)
    {
        SeekSlot(key);
        return Forward();
    }

    /// <summary>To the last key that is less.</summary>
    public bool SeekBefore(ReadOnlySpan<byte> key)
    {
        SeekSlot(key);
        _slot--;
        return Backward();
    }

    /// <summary>To the next key; only from a valid place.</summary>
    public bool Next()
    {
        _slot++;
        return Forward();
    }

    /// <summary>To the key before; only from a valid place.</summary>
    public bool Prev()
    {
        _slot--;
        return Backward();
    }

    private bool SeekEdge(bool last)
    {
        BufferNode* leaf;
        ulong version;
        do
            leaf = _tree.EdgeLeaf(last, out version);
        while (!TryCopy(leaf, version));
        _leaf = leaf;
        if (!last)
        {
            PrefetchFirst();
            _slot = 0;
            return Forward();
        }
        _slot = _count - 1;
        return Backward();
    }

    private void SeekSlot(ReadOnlySpan<byte> key)
    {
        while (true)
        {
            BufferNode* leaf = _tree.LeafOf(key, out ulong version);
            if (_tree.FindInLeaf(leaf, version, key, out int slot) < 0 || !TryCopy(leaf, version))
                continue;
            // A key that was appended between the search and the copy may be less than the one that is sought.
            while (slot < _count && BufferEntry.KeyOf(_tree.Entry(_slots[slot])).SequenceCompareTo(key) < 0)
                slot++;
            _leaf = leaf;
            _slot = slot;
            return;
        }
    }

    private bool Forward()
    {
        while (true)
        {
            for (; _slot < _count; _slot++)
            {
                if (_slot + RowsAhead < _count)
                    Prefetch(_slots[_slot + RowsAhead]);
                _version = _buffer.VersionAt(_tree.Entry(_slots[_slot]), _at);
                if (_version != null)
                    return true;
            }
            if (_next == 0)
            {
                _version = null;
                return false;
            }
            Copy(_tree.Node(_next));
            PrefetchFirst();
            _slot = 0;
        }
    }

    private bool Backward()
    {
        while (true)
        {
            for (; _slot >= 0; _slot--)
            {
                if (_slot >= RowsAhead)
                    Prefetch(_slots[_slot - RowsAhead]);
                _version = _buffer.VersionAt(_tree.Entry(_slots[_slot]), _at);
                if (_version != null)
                    return true;
            }
            if (!CopyPrevious())
            {
                _version = null;
                return false;
            }
            _slot = _count - 1;
        }
    }

    /// <summary>
    /// The leaf that ends where this one begins: the previous one, or one that was split off it since.
    /// </summary>
    private bool CopyPrevious()
    {
        BufferNode* home = _leaf;
        uint previous = Volatile.Read(ref home->Previous);
        if (previous == 0)
            return false;
        BufferNode* leaf = _tree.Node(previous);
        while (true)
        {
            Copy(leaf);
            BufferNode* next = _tree.Node(_next);
            if (next == home)
                return true;
            leaf = next;
        }
    }

    private void Copy(BufferNode* leaf)
    {
        while (!TryCopy(leaf, BufferTree.VersionOf(leaf)))
        {
        }
        _leaf = leaf;
    }

    private bool TryCopy(BufferNode* leaf, ulong version)
    {
        int count = BufferTree.CountOf(leaf);
        for (int slot = 0; slot < count; slot++) // not as a block: each number must be read whole, see (2) of the tree
            _slots[slot] = leaf->Entries[slot];
        uint next = leaf->Next;
        if (!BufferTree.IsStill(leaf, version))
            return false;
        _count = count;
        _next = next;
        return true;
    }

    private void PrefetchFirst()
    {
        for (int slot = Math.Min(RowsAhead, _count) - 1; slot >= 0; slot--)
            Prefetch(_slots[slot]);
        if (_next != 0 && Sse.IsSupported)
        {
            byte* next = (byte*)_tree.Node(_next);
            Sse.Prefetch0(next);
            for (int line = 576; line < BufferNode.LeafBytes; line += 64)
                Sse.Prefetch0(next + line);
        }
    }

    private void Prefetch(uint entry)
    {
        if (!Sse.IsSupported)
            return;
        byte* memory = (byte*)_tree.Entry(entry);
        Sse.Prefetch0(memory);
        Sse.Prefetch0(memory + 64);
    }

    [InlineArray(BufferNode.SlotsMax)]
    private struct Slots
    {
        private uint _first;
    }
}
