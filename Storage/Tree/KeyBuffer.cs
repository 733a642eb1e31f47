namespace Pitr.Storage;

/// <summary>A copy of a key or bound; empty is below every key.</summary>
internal sealed class KeyBuffer
{
    private readonly byte[] _bytes = new byte[KeySlots.KeyBytesMax];
    private int _length;

    /// <summary>True if it stands for "above every key".</summary>
    public bool IsInfinite { get; private set; }

    public ReadOnlySpan<byte> Span => new(_bytes, 0, _length);

    public void Set(ReadOnlySpan<byte> key)
    {
        key.CopyTo(_bytes);
        _length = key.Length;
        IsInfinite = false;
    }

    public void Set(KeyBuffer other)
    {
        Set(other.Span);
        IsInfinite = other.IsInfinite;
    }

    public void SetInfinite()
    {
        _length = 0;
        IsInfinite = true;
    }

    /// <summary>Takes the separator before a branch's child <paramref name="index"/> + 1.</summary>
    public void SetSeparator(BranchPage branch, int index)
    {
        _length = branch.CopySeparator(index, _bytes);
        IsInfinite = false;
    }

    /// <summary>Takes the shortest bound that is above one key and not above the next.</summary>
    public void SetBetween(PageBuilder before, ReadOnlySpan<byte> next)
    {
        int lastBytes = before.CopyKey(before.Count - 1, _bytes);
        int common = next.CommonPrefixLength(_bytes.AsSpan(0, lastBytes));
        Set(next[..Math.Min(common + 1, next.Length)]); // shorter only if a damaged page's keys do not ascend
    }

    /// <summary>True if the key is below this bound.</summary>
    public bool IsAbove(ReadOnlySpan<byte> key) => IsInfinite || key.SequenceCompareTo(Span) < 0;
}
