using System.Globalization;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What a folder is recovered from in a sweep.</summary>
public enum InPlaceCase
{
    /// <summary>The control file is lost, its files are there.</summary>
    Kept,

    /// <summary>Control file and datafiles are lost: from the set, and made by the WAL.</summary>
    Lost,

    /// <summary>All is there, and the database goes back to an earlier moment.</summary>
    Back,

    /// <summary>The same, and it stays there, is looked at, and is promoted.</summary>
    Paused,

    /// <summary>The control file is lost, and is made anew.</summary>
    Rebuilt,
}

/// <summary>
/// A recovery in place, or the making of a control file, that ends at any operation on the disk, by power loss or a kill:
/// it is gone on with, or begun again, and stands at the same target; until the new control file has its name, the
/// database can still be recovered with the one that was there, to its last commit (H3, H15, H16, H32).
/// </summary>
/// <remarks>
/// The WAL ends with a commit, or a new table, whose sync had not ended when the process was killed: it is in the page cache alone, and
/// may be there or not, but never halfway. PITR_SWEEP=1 looks at each operation instead of some.
/// </remarks>
public sealed class InPlaceCrashTests
{
    private const int PointsInSuite = 12;
    private const int PointsBehindTheName = 8;
    private const int EndsTaken = 6;

    private static bool IsWhole => Environment.GetEnvironmentVariable("PITR_SWEEP") is { Length: > 0 };

    [Theory]
    [InlineData(InPlaceCase.Kept, true)]
    [InlineData(InPlaceCase.Kept, false)]
    [InlineData(InPlaceCase.Lost, true)]
    [InlineData(InPlaceCase.Lost, false)]
    [InlineData(InPlaceCase.Back, true)]
    [InlineData(InPlaceCase.Back, false)]
    [InlineData(InPlaceCase.Paused, true)]
    [InlineData(InPlaceCase.Paused, false)]
    [InlineData(InPlaceCase.Rebuilt, true)]
    [InlineData(InPlaceCase.Rebuilt, false)]
    public async Task A_recovery_in_place_that_ends_at_any_operation_stands_at_its_target_at_last(
        InPlaceCase from, bool isPowerLoss) =>
        await SweepAsync(await RecordedAsync(from), from, isPowerLoss);

    /// <summary>
    /// H3: the kernel could not write the last group back, told nobody, and has it in the page cache, marked clean: a sync
    /// alone does not bring it to the disk.
    /// </summary>
    [Fact]
    public async Task A_last_group_whose_sync_had_failed_is_written_again()
    {
        int lost = 0;
        for (int seed = 31; lost < 2 && seed < 51; seed++)
        {
            MixedLab lab = await RecordedAsync(InPlaceCase.Kept, seed);
            var random = new SeededRandom(3);
            for (int n = 0; n < 8; n++)
                lab.Disk.LoseWriteback(ref random);
            if (EndOfWal(lab.Disk.CrashCopy(3)) == EndOfWal(lab.Disk.KillCopy()))
                continue; // it had reached the disk all the same
            lost++;
            await SweepAsync(lab, InPlaceCase.Kept, isPowerLoss: true);
        }

        Assert.Equal(2, lost);
    }

    /// <summary>H10: a process was killed between a meta page and its sync, and what is noted of the file rests on that page.</summary>
    [Theory]
    [InlineData(InPlaceCase.Kept)]
    [InlineData(InPlaceCase.Rebuilt)]
    public async Task A_meta_page_that_no_sync_has_reached_is_durable_before_the_control_file_says_so(InPlaceCase from)
    {
        SimulatedDisk? killed = null;
        MixedLab lab = await MixedLab.RecordedAsync(last: async (recovery, database) =>
        {
            recovery.Disk.SyncAll();
            // Its pages were synced before.
            using var held = new HeldSync(recovery.Disk.Faults.On(FileOp.SyncData).Of(MixedLab.Early).Nth(2).Hold());
            Task checkpoint = database.CheckpointAsync();
            await held.Reached.WaitAsync(MixedLab.Patience);
            killed = recovery.Disk.KillCopy();
            held.Release();
            await checkpoint.WaitAsync(MixedLab.Patience);
        });
        lab.WithDisk(killed!);
        lab.Disk.Delete(MixedLab.Control);
        lab.Disk.SyncFolder(MixedLab.Folder);
        await SweepAsync(lab, from, isPowerLoss: true);
    }

    private static async Task SweepAsync(MixedLab lab, InPlaceCase from, bool isPowerLoss)
    {
        var left = new List<(SimulatedDisk Disk, long At)>();
        long began = lab.Disk.OperationCount;
        lab.Disk.BeforeOperation = operation =>
            left.Add((isPowerLoss ? lab.Disk.CrashCopy(operation) : lab.Disk.KillCopy(), operation - began));
        await RecoverAsync(lab, lab.Disk, from);
        lab.Disk.BeforeOperation = null;
        // Each loses something else of what is not durable.
        for (long seed = 7; seed < 7 + EndsTaken; seed++)
            left.Add((lab.Disk.CrashCopy(seed), lab.Disk.OperationCount - began));
        Assert.True(left.Count > 10, $"Only {left.Count} operations.");
        await RequireAsync(lab, lab.Disk, from);

        int stride = IsWhole ? 1 : Math.Max(1, left.Count / PointsInSuite);
        int named = left.FindIndex(one => IsNamed(one.Disk, from));
        for (int i = left.Count - 1; i >= 0; i--)
        {
            // Right behind its name nothing else has made durable yet what the control file builds on.
            bool isAnEnd = i >= left.Count - EndsTaken;
            bool isRightBehind = isPowerLoss && i >= named && i < named + PointsBehindTheName;
            if (!isAnEnd && !isRightBehind && (left.Count - 1 - i) % stride != 0)
                continue;
            try
            {
                await GoOnAsync(lab, left[i].Disk, from);
                await RequireAsync(lab, left[i].Disk, from);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException(
                    string.Create(CultureInfo.InvariantCulture, $"Ended before operation {left[i].At}: {error.Message}"), error);
            }
        }
    }

    /// <summary>The control file is that of the recovery, or that which was made anew.</summary>
    private static bool IsNamed(SimulatedDisk disk, InPlaceCase from)
    {
        var store = new ControlFileStore(disk.KillCopy(), MixedLab.Folder);
        return store.Exists && (!IsBack(from) || store.ReadLive().Recovery is not null);
    }

    private static bool IsBack(InPlaceCase from) => from is InPlaceCase.Back or InPlaceCase.Paused;

    private static InPlaceRecoveryRequest RequestOf(MixedLab lab, InPlaceCase from) => lab.Request(
        IsBack(from) ? RecoveryTarget.Including(lab.Middle.Lsn) : RecoveryTarget.Latest) with
    {
        Pause = from == InPlaceCase.Paused,
    };

    private static async Task RecoverAsync(MixedLab lab, SimulatedDisk disk, InPlaceCase from)
    {
        if (from == InPlaceCase.Rebuilt)
        {
            await PitrRecovery.RebuildControlFileAsync(MixedLab.Folder, null, RecoveryLab.OptionsOn(disk))
                .WaitAsync(MixedLab.Patience);
            return;
        }

        await PitrRecovery.RecoverInPlaceAsync(RequestOf(lab, from), RecoveryLab.OptionsOn(disk)).WaitAsync(MixedLab.Patience);
        if (from == InPlaceCase.Paused)
            await LookAndPromoteAsync(lab, disk);
    }

    /// <summary>It stands at its target, wherever it died, until somebody says that it is promoted.</summary>
    private static async Task LookAndPromoteAsync(MixedLab lab, SimulatedDisk disk)
    {
        Assert.Equal(
            lab.Middle.Content, await RecoveryLab.ContentAtAsync(disk, MixedLab.Folder).WaitAsync(MixedLab.Patience));
        await PitrRecovery.PromoteAsync(MixedLab.Folder, RecoveryLab.OptionsOn(disk)).WaitAsync(MixedLab.Patience);
    }

    /// <summary>What an operator does next, by what lies there.</summary>
    private static async Task GoOnAsync(MixedLab lab, SimulatedDisk disk, InPlaceCase from)
    {
        var store = new ControlFileStore(disk, MixedLab.Folder);
        if (!store.Exists)
        {
            await RecoverAsync(lab, disk, from);
            return;
        }

        ControlFile control = store.ReadLive();
        if (control.Recovery is { IsPaused: true })
        {
            await LookAndPromoteAsync(lab, disk);
        }
        else if (control.Recovery is not null)
        {
            await PitrRecovery.RecoverAsync(MixedLab.Folder, options: RecoveryLab.OptionsOn(disk))
                .WaitAsync(MixedLab.Patience);
        }
        else if (from != InPlaceCase.Rebuilt && control.Timeline == TimelineId.First)
        {
            await RequireNothingIsLostAsync(lab, disk.KillCopy());
            await RecoverAsync(lab, disk, from);
        }
    }

    /// <summary>The control file that was there still leads to the last commit.</summary>
    private static async Task RequireNothingIsLostAsync(MixedLab lab, SimulatedDisk disk)
    {
        await using PitrDatabase database = await PitrDatabase
            .OpenAsync(MixedLab.Folder, RecoveryLab.OptionsOn(disk)).WaitAsync(MixedLab.Patience);
        EngineStatus status = await database.GetStatusAsync().WaitAsync(MixedLab.Patience);
        foreach (DatafileStatus file in status.Datafiles.Where(file => file.State == "needsRecovery"))
            await database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = file.Name })
                .WaitAsync(MixedLab.Patience);
        Assert.Equal(lab.Content, WithoutLast(RecoveryLab.ContentOf(database)));
    }

    private static async Task RequireAsync(MixedLab lab, SimulatedDisk disk, InPlaceCase from)
    {
        string content = IsBack(from) ? lab.Middle.Content : lab.Content;
        await using (PitrDatabase database = await PitrDatabase
            .OpenAsync(MixedLab.Folder, RecoveryLab.OptionsOn(disk)).WaitAsync(MixedLab.Patience))
        {
            Assert.Equal(content, WithoutLast(RecoveryLab.ContentOf(database)));
            await database.PutAsync(database.GetTable("events"), "again"u8.ToArray(), "1"u8.ToArray());
            await database.ShutdownAsync().WaitAsync(MixedLab.Patience);
            await TestDatabase.NothingIsOpenAsync(disk);
            TestDatabase.CheckDatafiles(disk, database.Datafiles);
        }

        Assert.Null(disk.WrittenWithoutLock);
        if (from != InPlaceCase.Rebuilt) // else the branch goes on, and nothing is shipped across a fork
            Assert.Equal(content, WithoutLast(await RestoredAsync(disk.KillCopy(), IsBack(from))));
        Assert.DoesNotContain(disk.List(MixedLab.Folder), name =>
            name.EndsWith(RecoveredFile.Suffix, StringComparison.Ordinal) || name.EndsWith(".tmp", StringComparison.Ordinal));
        await using PitrDatabase after = await PitrDatabase
            .OpenAsync(MixedLab.Folder, RecoveryLab.OptionsOn(disk.CrashCopy(3))).WaitAsync(MixedLab.Patience);
        Assert.Equal("1"u8.ToArray(), after.Get(after.GetTable("events"), "again"u8.ToArray()));
    }

    /// <summary>
    /// Out of the archive, across the fork, up to where the branch began to differ: the WAL that the recovery was built on is
    /// the archive's, too.
    /// </summary>
    /// <param name="disk">Where both are.</param>
    /// <param name="isNamed">
    /// The timeline is named: of one that went back the archive may have more than the fork, and then the end is two moments.
    /// </param>
    private static async Task<string> RestoredAsync(SimulatedDisk disk, bool isNamed)
    {
        string? own = isNamed ? new ControlFileStore(disk, MixedLab.Folder).ReadLive().Timeline.ToString() : null;
        string[] lines = (await RecoveryLab
            .RestoredAsync(disk, RecoveryTarget.Latest, timeline: own).WaitAsync(MixedLab.Patience)).Split('\n');
        string again = Assert.Single(lines, static line => line.StartsWith("events/again=", StringComparison.Ordinal));
        return string.Join('\n', lines.Where(line => line != again));
    }

    private static async Task<MixedLab> RecordedAsync(InPlaceCase from, int seed = 31)
    {
        SimulatedDisk? killed = null;
        MixedLab lab = await MixedLab.RecordedAsync(seed: seed, last: async (recovery, database) =>
        {
            await database.SwitchWalAsync().WaitAsync(MixedLab.Patience);
            recovery.Disk.SyncAll();
            using var held = new HeldSync(recovery.Disk.Faults.On(FileOp.SyncData).Of("/wal/").Hold());
            // Of the catalogue, if the control file is what is made anew: it must not know more than the WAL keeps.
            Task commit = from == InPlaceCase.Rebuilt
                ? database.CreateTableAsync("last")
                : database.PutAsync(database.GetTable("orders"), "last"u8.ToArray(), "1"u8.ToArray()).AsTask();
            await held.Reached.WaitAsync(MixedLab.Patience);
            killed = recovery.Disk.KillCopy();
            held.Release();
            await commit.WaitAsync(MixedLab.Patience);
        });
        lab.WithDisk(killed!);
        if (!IsBack(from))
            lab.Disk.Delete(MixedLab.Control);
        if (from == InPlaceCase.Lost)
        {
            lab.Disk.Delete(MixedLab.Early);
            lab.Disk.Delete(MixedLab.Late);
        }

        lab.Disk.SyncFolder(MixedLab.Folder);
        return lab;
    }

    private static Lsn EndOfWal(SimulatedDisk disk) => WalSurvey.Of(disk, $"{MixedLab.Folder}/wal").Runs.Max(static run => run.To);

    private static string WithoutLast(string content) => string.Join('\n', content.Split('\n')
        .Where(line => line != "last@main" && !line.StartsWith("orders/last=", StringComparison.Ordinal)));
}
