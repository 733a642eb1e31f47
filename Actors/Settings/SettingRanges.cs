using System.Globalization;

namespace Pitr.Actors;

/// <summary>What the options may say: a value that no engine can work with is told before one is started.</summary>
internal static class SettingRanges
{
    private const long MemoryBudgetBytesMin = 16L << 20;

    /// <summary>The longest that a timer can wait for.</summary>
    private static readonly TimeSpan TimerMax = TimeSpan.FromDays(24);

    /// <summary>What is wrong, as a sentence that begins with the option's name; null if nothing.</summary>
    public static string? WhatIsWrong(PitrOptions options) => Wrongs(options).FirstOrDefault(static wrong => wrong is not null);

    private static IEnumerable<string?> Wrongs(PitrOptions options)
    {
        yield return AtLeast(nameof(options.MemoryBudgetBytes), options.MemoryBudgetBytes, MemoryBudgetBytesMin);
        yield return AtLeast(nameof(options.WriteBufferBytesMax), options.WriteBufferBytesMax, 1L << 20);
        yield return AtLeast(nameof(options.CheckpointWalBytes), options.CheckpointWalBytes, 1);
        yield return AtLeast(nameof(options.ArchiveLagBytesMax), options.ArchiveLagBytesMax, 0);
        yield return AtLeast(nameof(options.FencedWalBytesMax), options.FencedWalBytesMax, 0);
        yield return AtLeast(nameof(options.DiskReserveBytes), options.DiskReserveBytes, 0);
        yield return AtLeast(nameof(options.SnapshotBytesMax), options.SnapshotBytesMax, 0);
        yield return Positive(nameof(options.CheckpointInterval), options.CheckpointInterval, TimeSpan.MaxValue);
        yield return Positive(nameof(options.HeartbeatInterval), options.HeartbeatInterval, TimerMax);
        yield return Positive(nameof(options.SegmentAgeMax), options.SegmentAgeMax, TimeSpan.MaxValue);
        yield return Positive(nameof(options.SnapshotAgeMax), options.SnapshotAgeMax, TimeSpan.MaxValue);
        yield return Positive(nameof(options.RequestTimeout), options.RequestTimeout, TimerMax);
        yield return options.ArchiveShutdownWait == TimeSpan.Zero
            ? null
            : Positive(nameof(options.ArchiveShutdownWait), options.ArchiveShutdownWait, TimerMax);
        yield return options.ArchiveCommitWait is { } wait
            ? Positive(nameof(options.ArchiveCommitWait), wait, TimerMax)
            : null;
        yield return options.ArchiveSegmentsAtOnce is < 1 or > 16
            ? $"{nameof(options.ArchiveSegmentsAtOnce)} is {options.ArchiveSegmentsAtOnce}; it is from 1 to 16."
            : null;
        yield return options.ArchiveLagChoice is { } lag && !Enum.IsDefined(lag)
            ? $"{nameof(options.ArchiveLagChoice)} is {lag}, which has no meaning."
            : null;
        yield return Enum.IsDefined(options.KeptWalChoice)
            ? null
            : $"{nameof(options.KeptWalChoice)} is {options.KeptWalChoice}, which has no meaning.";
    }

    private static string? AtLeast(string name, long? bytes, long least) => bytes < least
        ? string.Create(CultureInfo.InvariantCulture, $"{name} is {bytes} bytes; it is at least {least}.")
        : null;

    private static string? Positive(string name, TimeSpan duration, TimeSpan most) =>
        duration <= TimeSpan.Zero ? $"{name} is {duration:c}; it is more than zero."
        : duration > most ? $"{name} is {duration:c}; it is at most {most:c}."
        : null;
}
