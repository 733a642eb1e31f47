using Microsoft.Extensions.Time.Testing;

namespace Pitr.Tests;

/// <summary>A recovery of one datafile leaves the processors to commits in the others, as long as its WAL can wait.</summary>
public sealed class DatafileRecoveryPaceTests
{
    private const string Early = RecoveryLab.Folder + "/early.pitr";

    /// <param name="isOlder">An older copy lies there, which only has to be replayed.</param>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Beside_commits_it_pauses_where_processors_are_few_and_WAL_may_be_kept(bool isOlder)
    {
        TimeSpan without = await PausedAsync(isOlder, processors: 1000, fencedWalBytesMax: 16L << 30);
        TimeSpan held = await PausedAsync(isOlder, processors: 1, fencedWalBytesMax: 16L << 30);
        TimeSpan urgent = await PausedAsync(isOlder, processors: 1, fencedWalBytesMax: 0);

        // Writes pause as well, now and then for some milliseconds.
        Assert.True(held > TimeSpan.FromMilliseconds(20), $"{held}");
        Assert.True(without < held / 4 && urgent < held / 4, $"{held}, {without} and {urgent}");
    }

    /// <summary>How long a recovery pauses, if each operation on the disk takes some milliseconds.</summary>
    private static async Task<TimeSpan> PausedAsync(bool isOlder, int processors, long fencedWalBytesMax)
    {
        (RecoveryLab lab, byte[] older) = await DatafileRecoveryTests.StoppedAsync();
        lab.Disk.Delete(Early);
        if (isOlder)
            DatafileRecoveryTests.Put(lab.Disk, Early, older);
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow.AddDays(1));
        long paused = 0;
        await using PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, lab.Options with
        {
            Clock = clock,
            Processors = processors,
            FencedWalBytesMax = fencedWalBytesMax,
            Delay = pause => Interlocked.Add(ref paused, pause.Ticks),
        }).Within();
        lab.Disk.BeforeOperation = _ => clock.Advance(TimeSpan.FromMilliseconds(4));
        Interlocked.Exchange(ref paused, 0);
        Task<DatafileRecoveryResult> recovery =
            database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "early" });
        do
            await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "a commit"u8.ToArray());
        while (!recovery.IsCompleted);
        await recovery.Within();
        lab.Disk.BeforeOperation = null;
        return TimeSpan.FromTicks(Interlocked.Read(ref paused));
    }
}
