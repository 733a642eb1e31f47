using System.Runtime.CompilerServices;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// The last LSN of each key that was written since some LSN: one generation of the exact table of key hashes.
/// </summary>
/// <remarks>
/// Open addressing over hash and LSN, at most half full. A slot is empty if its LSN is at or below <see cref="From"/>:
/// since LSNs only grow, <see cref="Reset"/> empties the table by raising it, in no time.
/// </remarks>
internal sealed class LastWrites(int entriesMax)
{
    private const int SlotsFirst = 1 << 10;

    private Slot[] _slots = new Slot[SlotsFirst];
    private int _entries;

    /// <summary>Every write above it is here.</summary>
    public Lsn From { get; private set; }

    /// <summary>The last write noted.</summary>
    public Lsn Last { get; private set; }

    /// <summary>Empties it.</summary>
    public void Reset(Lsn from)
    {
        if (Last > from)
            Array.Clear(_slots); // a transaction that filled more than one generation: its slots would look full
        (From, Last, _entries) = (from, from, 0);
    }

    /// <summary>Notes a write; false if the table is full and the key new.</summary>
    public bool TryNote(ulong hash, Lsn lsn)
    {
        ref Slot slot = ref Find(hash);
        if (slot.Lsn <= From.Value)
        {
            if (_entries == entriesMax)
                return false;
            if (_entries * 2 >= _slots.Length)
            {
                Grow();
                slot = ref Find(hash);
            }
            slot.Hash = hash;
            _entries++;
        }
        slot.Lsn = lsn.Value;
        Last = lsn;
        return true;
    }

    /// <summary>The last write of a key; zero if there is none above <see cref="From"/>.</summary>
    public Lsn LastOf(ulong hash)
    {
        ref Slot slot = ref Find(hash);
        return slot.Lsn <= From.Value ? Lsn.Zero : new Lsn(slot.Lsn);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref Slot Find(ulong hash)
    {
        Slot[] slots = _slots;
        int mask = slots.Length - 1;
        int at = (int)hash & mask;
        while (slots[at].Lsn > From.Value && slots[at].Hash != hash)
            at = (at + 1) & mask;
        return ref slots[at];
    }

    private void Grow()
    {
        Slot[] old = _slots;
        _slots = new Slot[old.Length * 2];
        foreach (ref Slot slot in old.AsSpan())
        {
            if (slot.Lsn <= From.Value)
                continue;
            ref Slot to = ref Find(slot.Hash);
            Invariant.Require(to.Lsn <= From.Value, "V1", "A key is in the table twice.");
            to = slot;
        }
    }

    private struct Slot
    {
        public ulong Hash;
        public ulong Lsn;
    }
}
