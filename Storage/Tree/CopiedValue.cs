using System.Buffers;

namespace Pitr.Storage;

/// <summary>
/// The value of a row, copied out of its page: it outlasts the epoch in which it was read. The buffer is used again from
/// row to row.
/// </summary>
/// <remarks>THREADS  one. The span is valid until the next <see cref="Take"/>.</remarks>
internal sealed class CopiedValue : IDisposable
{
    private byte[] _bytes = ArrayPool<byte>.Shared.Rent(PageLayout.PageBytes);
    private int _length;

    /// <summary>What was taken last.</summary>
    public ReadOnlySpan<byte> Span => _bytes.AsSpan(0, _length);

    /// <summary>Copies a value, inside the epoch in which it was found.</summary>
    public void Take(ValueRef value)
    {
        if (value.LengthBytes > _bytes.Length)
        {
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = ArrayPool<byte>.Shared.Rent(value.LengthBytes);
        }

        value.CopyTo(_bytes.AsSpan(0, value.LengthBytes));
        _length = value.LengthBytes;
    }

    /// <summary>There is no value.</summary>
    public void Clear() => _length = 0;

    public void Dispose()
    {
        if (_bytes.Length > 0)
            ArrayPool<byte>.Shared.Return(_bytes);
        (_bytes, _length) = ([], 0);
    }
}
