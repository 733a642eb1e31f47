using Pitr.Simulation;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>A recovery of one datafile leaves the processors to commits in the others, as long as its WAL can wait.</summary>
public sealed class DatafileRecoveryPaceTests
{
    private const string Lost = "/db/lost.pitr";

    [Fact]
    public async Task Beside_commits_it_pauses_where_processors_are_few_and_WAL_may_be_kept()
    {
        TimeSpan without = await PausedAsync(processors: 1000, fencedWalBytesMax: 16L << 30);
        TimeSpan held = await PausedAsync(processors: 1, fencedWalBytesMax: 16L << 30);
        TimeSpan urgent = await PausedAsync(processors: 1, fencedWalBytesMax: 0);

        // Writes pause as well, now and then for some milliseconds.
        Assert.True(held > TimeSpan.FromMilliseconds(50), $"{held}");
        Assert.True(without < held / 2 && urgent < held / 2, $"{held}, {without} and {urgent}");
    }

    /// <summary>How long a recovery pauses, if each operation on the disk takes a millisecond.</summary>
    private static async Task<TimeSpan> PausedAsync(int processors, long fencedWalBytesMax)
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        disk.CreateFolders("/sets");
        var clock = new TickingClock();
        long paused = 0;
        PitrOptions options = TestEngine.OptionsFor(disk) with
        {
            Clock = clock,
            Delay = pause => Interlocked.Add(ref paused, pause.Ticks),
            Processors = processors,
            FencedWalBytesMax = fencedWalBytesMax,
            ArchiveStores = ["/sets"],
        };
        await using (PitrDatabase made = await TestEngine.CreateAsync(disk, _ => options))
        {
            ArchiveIdentity.SetUp(ArchiveTestData.Store(disk, "/sets"), made.SystemId, () => 5, clock.GetUtcNow());
            await made.CreateDatafileAsync("lost").Within();
            await made.CreateTableAsync("rows", "lost").Within();
            await made.CreateTableAsync("t").Within();
            await FillAsync(made);
            await made.BackupAsync(new BackupRequest { Store = "/sets" }).Within();
            await FillAsync(made);
            await made.ShutdownAsync(force: true).Within();
        }

        disk.Delete(Lost);
        await using PitrDatabase database = await PitrDatabase.OpenAsync("/db", options).Within();
        await database.PutAsync("t", "k", "a commit");
        Interlocked.Exchange(ref paused, 0);
        Task recovery = database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "lost", Store = "/sets" });
        do
            await database.PutAsync("t", "k", "a commit");
        while (!recovery.IsCompleted);
        await recovery.Within();
        return TimeSpan.FromTicks(Interlocked.Read(ref paused));
    }

    /// <summary>A millisecond passes whenever somebody looks.</summary>
    private sealed class TickingClock : TimeProvider
    {
        private readonly long _start = TimeProvider.System.GetTimestamp();
        private long _looks;

        public override long GetTimestamp() => _start + (Interlocked.Increment(ref _looks) * TimestampFrequency / 1000);

        public override DateTimeOffset GetUtcNow() =>
            DateTimeOffset.UnixEpoch + TimeSpan.FromMilliseconds(Interlocked.Read(ref _looks));
    }

    private static async Task FillAsync(PitrDatabase database)
    {
        for (int n = 0; n < 40; n++)
            await database.PutAsync("rows", $"k{n}", new string('v', 50_000));
    }
}
