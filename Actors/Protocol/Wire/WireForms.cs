using Google.Protobuf;

namespace Pitr.Actors;

/// <summary>The forms that values have on the wire: positions, times, fences' ids.</summary>
internal static class WireForms
{
    /// <summary>Ticks of 100 ns, UTC.</summary>
    public static long Of(DateTimeOffset time) => time.UtcTicks;

    /// <summary>The 16 bytes of a fence's id, in network order.</summary>
    public static ByteString Of(Guid fence) => ByteString.CopyFrom(fence.ToByteArray(bigEndian: true));

    /// <exception cref="ArgumentException">No time has so many ticks.</exception>
    public static DateTimeOffset ToTime(long ticks) =>
        ticks >= 0 && ticks <= DateTimeOffset.MaxValue.Ticks
            ? new DateTimeOffset(ticks, TimeSpan.Zero)
            : throw new ArgumentException($"{ticks} ticks are no time.");

    /// <exception cref="ArgumentException">It has another length.</exception>
    public static Guid ToFence(ByteString bytes) => bytes.Length == 16
        ? new Guid(bytes.Span, bigEndian: true)
        : throw new ArgumentException($"A fence's id has 16 bytes, not {bytes.Length}.");

    /// <exception cref="ArgumentException">It is absent.</exception>
    public static T Require<T>(T? member, string name) where T : class =>
        member ?? throw new ArgumentException($"A message lacks its '{name}'.");
}
