using System.Numerics;

namespace Pitr.Storage;

/// <summary>A set of page numbers: one bit a page up to the greatest.</summary>
internal sealed class PageSet
{
    private ulong[] _bits = new ulong[1024];

    public long Count { get; private set; }

    /// <summary>Adds a page; false if it is in the set.</summary>
    public bool Add(uint page)
    {
        int word = (int)(page >> 6);
        if (word >= _bits.Length)
            Array.Resize(ref _bits, Math.Max(word + 1, _bits.Length * 2));
        ulong bit = 1UL << (int)(page & 63);
        if ((_bits[word] & bit) != 0)
            return false;
        _bits[word] |= bit;
        Count++;
        return true;
    }

    public bool Contains(uint page) =>
        (int)(page >> 6) < _bits.Length && (_bits[page >> 6] & (1UL << (int)(page & 63))) != 0;

    /// <summary>The pages in ascending order.</summary>
    public IEnumerable<uint> Pages()
    {
        for (int word = 0; word < _bits.Length; word++)
        {
            for (ulong bits = _bits[word]; bits != 0; bits &= bits - 1)
                yield return ((uint)word << 6) + (uint)BitOperations.TrailingZeroCount(bits);
        }
    }
}
