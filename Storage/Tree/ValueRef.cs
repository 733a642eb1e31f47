using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// A value in the tree: its bytes in a leaf, or the way to them in overflow pages. Valid while the epoch lasts in which
/// it was taken.
/// </summary>
internal readonly unsafe struct ValueRef
{
    private readonly byte* _inline;
    private readonly int _lengthBytes;
    private readonly uint _firstPage;
    private readonly IPageSource? _source;
    private readonly ulong _rootGeneration;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ValueRef(byte* inline, int lengthBytes)
    {
        _inline = inline;
        _lengthBytes = lengthBytes;
    }

    public ValueRef(uint firstPage, int lengthBytes, IPageSource source, ulong rootGeneration)
    {
        _firstPage = firstPage;
        _lengthBytes = lengthBytes;
        _source = source;
        _rootGeneration = rootGeneration;
    }

    public int LengthBytes => _lengthBytes;

    /// <summary>True if <see cref="Span"/> can be used.</summary>
    public bool IsInline => _source is null;

    /// <summary>The bytes in the leaf; only if <see cref="IsInline"/>.</summary>
    public ReadOnlySpan<byte> Span
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (_source is not null)
                throw new InvalidOperationException("The value lies in overflow pages: copy it.");
            return new ReadOnlySpan<byte>(_inline, _lengthBytes);
        }
    }

    /// <summary>Copies the value, from wherever it is.</summary>
    /// <exception cref="DamageException">An overflow page is not what was written.</exception>
    public void CopyTo(Span<byte> to)
    {
        if (_source is null)
            new ReadOnlySpan<byte>(_inline, _lengthBytes).CopyTo(to);
        else
            OverflowPage.Read(_source, _rootGeneration, _firstPage, _lengthBytes, to);
    }

    /// <summary>The value in an array of its own.</summary>
    public byte[] ToArray()
    {
        var bytes = new byte[_lengthBytes];
        CopyTo(bytes);
        return bytes;
    }
}
