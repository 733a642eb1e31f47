namespace Pitr.Storage;

/// <summary>Large pieces of memory from the system itself, which go back to it at once when they are freed.</summary>
/// <remarks>
/// Not from malloc: glibc raises the size from which it maps memory with each such piece that is freed, and from then
/// on keeps pieces of this size in its heaps, where one small neighbour that lives on holds megabytes. A block begins
/// at a page of the system, holds zeroes, and takes memory as it is touched.
/// THREADS  any.
/// FAILURE  <see cref="InsufficientMemoryException"/>, an <see cref="OutOfMemoryException"/>.
/// </remarks>
internal static unsafe class NativeBlocks
{
    /// <summary>Takes a block.</summary>
    public static byte* Take(long lengthBytes)
    {
        byte* block = PosixCalls.MapMemory(lengthBytes);
        return block != null
            ? block
            : throw new InsufficientMemoryException(
                $"The system gave no {lengthBytes} bytes of memory (errno {PosixCalls.LastErrno()}).");
    }

    /// <summary>Gives a block back, with the length that it was taken with.</summary>
    public static void Free(byte* block, long lengthBytes)
    {
        if (block != null)
            Invariant.Require(
                PosixCalls.UnmapMemory(block, (nint)lengthBytes) == 0, "N1", "a block of memory is not freed.");
    }
}
