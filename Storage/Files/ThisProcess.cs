namespace Pitr.Storage;

/// <summary>
/// Who runs an engine, as its lock, its fences and its archive name it; a simulation is the same process each time.
/// </summary>
/// <param name="Machine">The machine's name.</param>
/// <param name="ProcessId">The process on it.</param>
/// <param name="BootId">
/// Random, drawn by the kernel at each boot: two machines of one name differ in it. Empty where no kernel tells it.
/// </param>
internal sealed record ThisProcess(string Machine, int ProcessId, string BootId)
{
#pragma warning disable RS0030 // the one place that asks
    public static ThisProcess Real { get; } = new(Environment.MachineName, Environment.ProcessId, ReadBootId());

    private static string ReadBootId()
    {
        try
        {
            return File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return ""; // no Linux, or a container without /proc
        }
    }
#pragma warning restore RS0030

    /// <summary>In words, for the text of a lock.</summary>
    public string Words(TimeProvider clock) =>
        FormattableString.Invariant(
            $"process {ProcessId} on {Machine} since {clock.GetUtcNow().UtcDateTime:O}");
}
