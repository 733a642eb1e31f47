using System.Collections.Concurrent;

namespace Pitr.Storage;

/// <summary>Byte arrays at fixed addresses that go round, for owners that come and go.</summary>
/// <remarks>
/// Pinned arrays lie in a heap that is collected with the oldest generation only: one for each opening or flush makes
/// the whole heap collected again and again.
/// INVARIANTS  B1: an array is given back once, by its last user. THREADS  any. Some arrays of a length are kept, the
/// rest is left to the collector.
/// </remarks>
internal static class PinnedBuffers
{
    private const int KeptMax = 4;

    private static readonly ConcurrentDictionary<int, ConcurrentBag<byte[]>> Kept = [];

    /// <summary>An array of this length with any content.</summary>
    public static byte[] Rent(int lengthBytes) =>
        Kept.TryGetValue(lengthBytes, out ConcurrentBag<byte[]>? kept) && kept.TryTake(out byte[]? buffer)
            ? buffer
            : GC.AllocateUninitializedArray<byte>(lengthBytes, pinned: true);

    /// <summary>Takes back what <see cref="Rent"/> gave.</summary>
    public static void Return(byte[] buffer)
    {
        ConcurrentBag<byte[]> kept = Kept.GetOrAdd(buffer.Length, static _ => []);
        if (kept.Count < KeptMax)
            kept.Add(buffer);
    }
}
