namespace Pitr.Storage;

/// <summary>
/// Who runs an engine, as its lock, its fences and its archive name it; a simulation is the same process each time.
/// </summary>
/// <param name="Machine">The machine's name.</param>
/// <param name="ProcessId">The process on it.</param>
internal sealed record ThisProcess(string Machine, int ProcessId)
{
#pragma warning disable RS0030 // the one place that asks
    public static ThisProcess Real { get; } = new(Environment.MachineName, Environment.ProcessId);
#pragma warning restore RS0030

    /// <summary>In words, for the text of a lock.</summary>
    public string Words(TimeProvider clock) =>
        FormattableString.Invariant(
            $"process {ProcessId} on {Machine} since {clock.GetUtcNow().UtcDateTime:O}");
}
