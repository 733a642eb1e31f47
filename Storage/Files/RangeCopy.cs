using System.Buffers;

namespace Pitr.Storage;

/// <summary>Copies a range from one open file to the same place in another, through memory.</summary>
internal static class RangeCopy
{
    private const int BufferBytes = 1 << 20;

    /// <returns>The bytes copied: fewer than asked for only if the origin ends before.</returns>
    public static long ByHand(IFileHandle origin, IFileHandle copy, long offset, long lengthBytes)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(BufferBytes, lengthBytes));
        try
        {
            long done = 0;
            while (done < lengthBytes)
            {
                int want = (int)Math.Min(BufferBytes, lengthBytes - done);
                int read = origin.Read(offset + done, buffer.AsSpan(0, want));
                if (read > 0)
                    copy.Write(offset + done, buffer.AsSpan(0, read));
                done += read;
                if (read < want)
                    break;
            }

            return done;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
