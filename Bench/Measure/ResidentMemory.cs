using System.Globalization;

namespace Pitr.Bench;

/// <summary>The most memory of this process that was resident since the last reset, as the kernel counts it.</summary>
internal static class ResidentMemory
{
    public static long PeakBytes => StatusBytes("VmHWM:");

    public static void ResetPeak() => File.WriteAllText("/proc/self/clear_refs", "5");

    private static long StatusBytes(string name)
    {
        string line = File.ReadLines("/proc/self/status")
            .First(line => line.StartsWith(name, StringComparison.Ordinal));
        return long.Parse(
            line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) << 10;
    }
}
