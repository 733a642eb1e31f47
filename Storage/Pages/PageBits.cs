using System.Numerics;

namespace Pitr.Storage;

/// <summary>A set of page numbers, one bit a page, that is asked for runs of neighbours.</summary>
/// <remarks>
/// A million pages (8 GiB of file) take 128 KiB and are scanned in some 20 µs when most of it is empty or full.
/// THREADS  one at a time.
/// </remarks>
internal sealed class PageBits
{
    private const int WordBits = 64;

    private ulong[] _words = [];

    /// <summary>Pages in the set.</summary>
    public long Count { get; private set; }

    public bool Contains(uint page) =>
        page / WordBits < (uint)_words.Length && (_words[page / WordBits] & (1UL << (int)(page % WordBits))) != 0;

    /// <summary>Adds pages [first, first + count), none of which is in the set.</summary>
    public void Add(uint first, uint count = 1)
    {
        uint end = checked(first + count);
        if ((end + WordBits - 1) / WordBits > (uint)_words.Length)
            Array.Resize(
                ref _words, (int)Math.Max((end + WordBits - 1) / WordBits, (uint)(_words.Length + _words.Length / 4)));
        for (uint at = first; at < end;)
        {
            ulong mask = MaskOf(ref at, end, out uint word);
            Invariant.Require((_words[word] & mask) == 0, "F1", $"page run {first}+{count} is free already.");
            _words[word] |= mask;
        }
        Count += count;
    }

    /// <summary>Removes pages [first, first + count), all of which are in the set.</summary>
    public void Remove(uint first, uint count = 1)
    {
        uint end = checked(first + count);
        Invariant.Require((end - 1) / WordBits < (uint)_words.Length, "F1", $"page run {first}+{count} is not free.");
        for (uint at = first; at < end;)
        {
            ulong mask = MaskOf(ref at, end, out uint word);
            Invariant.Require((_words[word] & mask) == mask, "F1", $"page run {first}+{count} is not free.");
            _words[word] &= ~mask;
        }
        Count -= count;
    }

    /// <summary>The first run that begins at or above <paramref name="from"/>; false if there is none.</summary>
    public bool NextRun(uint from, out uint first, out uint count)
    {
        first = NextWith(from, isIn: true);
        count = 0;
        if (first == uint.MaxValue)
            return false;
        uint end = NextWith(first, isIn: false);
        count = end - first;
        return true;
    }

    /// <summary>How many runs the set consists of.</summary>
    public long CountRuns()
    {
        long runs = 0;
        ulong before = 0; // the last bit of the word before
        foreach (ulong word in _words)
        {
            runs += BitOperations.PopCount(word & ~((word << 1) | before));
            before = word >> (WordBits - 1);
        }
        return runs;
    }

    public void Clear()
    {
        _words = [];
        Count = 0;
    }

    // The next page that is (not) in the set; MaxValue if all from there on are out of it.
    private uint NextWith(uint from, bool isIn)
    {
        for (uint word = from / WordBits; word < (uint)_words.Length; word++)
        {
            ulong bits = isIn ? _words[word] : ~_words[word];
            if (word == from / WordBits)
                bits &= ulong.MaxValue << (int)(from % WordBits);
            if (bits != 0)
                return word * WordBits + (uint)BitOperations.TrailingZeroCount(bits);
        }
        return isIn ? uint.MaxValue : Math.Max(from, (uint)_words.Length * WordBits);
    }

    private static ulong MaskOf(ref uint at, uint end, out uint word)
    {
        word = at / WordBits;
        int from = (int)(at % WordBits);
        int length = (int)Math.Min(WordBits - from, end - at);
        at += (uint)length;
        return (length == WordBits ? ulong.MaxValue : (1UL << length) - 1) << from;
    }
}
