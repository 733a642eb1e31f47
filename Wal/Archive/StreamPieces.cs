namespace Pitr.Wal;

/// <summary>
/// Cuts a stream into pieces of one size for a service that takes a large object in parts; one piece is in memory at a
/// time.
/// </summary>
internal static class StreamPieces
{
    /// <summary>What a part has unless the object needs more.</summary>
    public const int PieceBytesMin = 16 << 20;

    /// <summary>Parts that services take of one object, with a little to spare.</summary>
    private const int PiecesMax = 9_000;

    /// <summary>
    /// The pieces in order; exactly one, perhaps empty, if the stream has no more. Each is good until the next is asked
    /// for.
    /// </summary>
    public static IEnumerable<(int Number, ReadOnlyMemory<byte> Bytes, bool IsLast)> Of(Stream content)
    {
        byte[] piece = new byte[PieceBytesOf(content)];
        byte[] next = new byte[1];
        int length = content.ReadAtLeast(piece, piece.Length, throwOnEndOfStream: false);
        for (int number = 1; ; number++)
        {
            bool isLast = length < piece.Length || content.Read(next) == 0;
            yield return (number, piece.AsMemory(0, length), isLast);
            if (isLast)
                yield break;
            piece[0] = next[0];
            length = 1 + content.ReadAtLeast(piece.AsSpan(1), piece.Length - 1, throwOnEndOfStream: false);
        }
    }

    private static int PieceBytesOf(Stream content)
    {
        long lengthBytes;
        try
        {
            lengthBytes = content.Length;
        }
        catch (NotSupportedException)
        {
            return PieceBytesMin;
        }
        long needed = (((lengthBytes / PiecesMax) >> 20) + 1) << 20;
        return (int)Math.Clamp(needed, PieceBytesMin, 1 << 30);
    }
}
