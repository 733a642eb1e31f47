using System.Globalization;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A restore ends at any of its operations on the disk: what is left is opened, or restored again, and stands at the
/// same target.
/// </summary>
/// <remarks>
/// Copies of the disk are taken while one restore runs, so that a sweep costs one restore and one opening a copy. A
/// sweep takes some of the operations, by a seed; with PITR_SWEEP=all it takes every one.
/// </remarks>
public sealed class RecoveryCrashTests
{
    private const string Into = "/restored";
    private const int CopiesOfASweep = 10;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(40);

    /// <summary>
    /// H21, H32, H34, I11: copy, replay, its checkpoints, flush, intent, claim, first segment, rename; no branch is
    /// left empty. Also out of a set that builds on others.
    /// </summary>
    [Theory]
    [InlineData(1, true, 0)]
    [InlineData(2, true, 0)]
    [InlineData(3, false, 0)]
    [InlineData(4, false, 0)]
    [InlineData(10, true, 2)]
    [InlineData(11, false, 2)]
    public async Task A_restore_that_ends_anywhere_goes_on_to_the_same_target(int seed, bool isPowerLoss, int bases)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(seed, valueBytesMax: 5000, bases);
        Moment at = lab.Moments[^5];
        lab.Disk.SyncAll();

        foreach ((string where, SimulatedDisk disk) in await SweepAsync(lab, at, seed, isPowerLoss))
        {
            try
            {
                await RequireGoesOnAsync(disk, at).WaitAsync(Patience);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"Ended before {where}.", error);
            }
        }
    }

    /// <summary>H32: and the recovery of a recovery that ended ends too.</summary>
    [Theory]
    [InlineData(5)]
    [InlineData(6)]
    public async Task A_recovery_that_ends_again_and_again_stands_at_its_target_at_last(int seed)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(seed, valueBytesMax: 5000);
        Moment at = lab.Moments[^5];
        lab.Disk.SyncAll();
        var random = new Random(seed);
        SimulatedDisk disk = lab.Disk.KillCopy();
        (string Where, SimulatedDisk Disk)[] left = [.. (await SweepAsync(lab, at, seed, isPowerLoss: true))
            .Where(copy => copy.Disk.Stat(Into + "/pitr.control") is not null)];
        disk = left[random.Next(left.Length / 2)].Disk;
        for (int round = 0; round < 8; round++)
        {
            SimulatedDisk trial = disk.KillCopy();
            long began = trial.OperationCount;
            Assert.Equal(at.Content, await OpenedAsync(trial).WaitAsync(Patience));
            long operations = trial.OperationCount - began;
            SimulatedDisk next = disk.KillCopy();
            SimulatedDisk? ended = null;
            long last = next.OperationCount + 1 + random.NextInt64(operations);
            next.BeforeOperation = operation =>
            {
                if (operation == last)
                    ended = next.CrashCopy(round);
            };
            await OpenedAsync(next).WaitAsync(Patience);
            disk = ended ?? disk;
        }

        await RequireGoesOnAsync(disk, at);
    }

    /// <summary>
    /// Nobody waits for ever: each call ends with an error, whichever actor met the disk's end first.
    /// </summary>
    [Theory]
    [InlineData(7, false)]
    [InlineData(8, true)]
    public async Task A_restore_whose_disk_goes_away_ends_with_an_error(int seed, bool isPaused)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(seed, valueBytesMax: 5000);
        Moment at = lab.Moments[^5];
        SimulatedDisk first = lab.Disk.KillCopy();
        long began = first.OperationCount;
        await RestoreAsync(first, at, isPaused).WaitAsync(Patience);
        long operations = first.OperationCount - began;
        foreach (long operation in Chosen(operations, new Random(seed)))
        {
            SimulatedDisk disk = lab.Disk.KillCopy();
            disk.CrashAt(disk.OperationCount + operation);
            Task restore = RestoreAsync(disk, at, isPaused);
            await Task.WhenAny(restore, Task.Delay(Patience));
            Assert.True(
                restore.IsCompleted, $"It hangs when the disk goes away before operation {operation} of {operations}.");
            await restore.ContinueWith(static _ => { }, TaskScheduler.Default); // near the end it may have been done
            Assert.False(restore.Exception?.InnerException is TimeoutException);
        }
    }

    /// <summary>I11: a file that replay needs is gone: told by its name, and no timeline is begun without it.</summary>
    [Fact]
    public async Task A_recovery_that_lacks_a_datafile_does_not_end()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(9);
        Moment at = lab.Moments[^5];
        SimulatedDisk disk = lab.Disk.KillCopy();
        await RestoreAsync(disk, at, isPaused: true).WaitAsync(Patience);
        SimulatedDisk whole = disk.KillCopy();
        disk.Delete(Into + "/main.pitr");

        PitrException opened = await Assert.ThrowsAnyAsync<PitrException>(() => OpenedAsync(disk).WaitAsync(Patience));
        await Assert.ThrowsAnyAsync<PitrException>(
            () => PitrRecovery.PromoteAsync(Into, Options(disk)).WaitAsync(Patience));

        Assert.Contains("main", opened.Message, StringComparison.Ordinal);
        Assert.NotNull(new ControlFileStore(disk, Into).ReadLive().Recovery);
        Assert.Equal(2u, (await PitrRecovery.PromoteAsync(Into, Options(whole)).WaitAsync(Patience)).Value);
    }

    // ---- the sweep ---------------------------------------------------------------------------------

    private static async Task<List<(string Where, SimulatedDisk Disk)>> SweepAsync(
        RecoveryLab lab, Moment at, int seed, bool isPowerLoss)
    {
        SimulatedDisk first = lab.Disk.KillCopy();
        long began = first.OperationCount;
        await RestoreAsync(first, at).WaitAsync(Patience);
        long operations = first.OperationCount - began;
        HashSet<long> chosen = [.. Chosen(operations, new Random(seed))];

        SimulatedDisk disk = lab.Disk.KillCopy();
        began = disk.OperationCount;
        var copies = new List<(string, SimulatedDisk)>();
        disk.BeforeOperation = operation =>
        {
            if (chosen.Contains(operation - began))
            {
                string where = string.Create(
                    CultureInfo.InvariantCulture, $"operation {operation - began} of {operations}");
                copies.Add((where, isPowerLoss ? disk.CrashCopy((seed * 100_000) + operation) : disk.KillCopy()));
            }
        };
        await RestoreAsync(disk, at).WaitAsync(Patience);
        return copies;
    }

    /// <summary>Some of the operations, one of each stretch; or all.</summary>
    private static IEnumerable<long> Chosen(long operations, Random random) =>
        Environment.GetEnvironmentVariable("PITR_SWEEP") == "all"
            ? Enumerable.Range(1, (int)operations).Select(static n => (long)n)
            : [.. Enumerable.Range(0, CopiesOfASweep)
                .Select(n => 1 + (long)((n + random.NextDouble()) * operations / CopiesOfASweep))];

    private static PitrOptions Options(SimulatedDisk disk) => RecoveryLab.OptionsOn(disk) with
    {
        WriteBufferBytesMax = 256 << 10, // so that replays flush on their way
        ArchiveShutdownWait = TimeSpan.FromSeconds(1),
    };

    private static Task<RestoreResult> RestoreAsync(
        SimulatedDisk disk, Moment at, bool isPaused = false) => PitrRecovery.RestoreAsync(
        new RestoreRequest
        {
            Store = RecoveryLab.Archive,
            Into = Into,
            Target = RecoveryTarget.Including(at.Lsn),
            Pause = isPaused,
        },
        Options(disk));

    private static async Task<string> OpenedAsync(SimulatedDisk disk)
    {
        await using PitrDatabase database = await PitrDatabase.OpenAsync(Into, Options(disk));
        return RecoveryLab.ContentOf(database);
    }

    /// <summary>
    /// Opened, or restored again where there is no database yet; twice; and nothing of the ended try is left over.
    /// </summary>
    private static async Task RequireGoesOnAsync(SimulatedDisk disk, Moment at)
    {
        if (disk.Stat(Into + "/pitr.control") is null)
        {
            if (disk.Stat(Into) is not null && disk.List(Into).Count > 0)
            {
                RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => RestoreAsync(disk, at));
                Assert.Equal(ErrorCode.FolderNotEmpty, refused.Code);
                RemoveFolder(disk, Into);
            }
            await RestoreAsync(disk, at).WaitAsync(Patience);
        }

        Assert.Equal(at.Content, await OpenedAsync(disk));
        ControlFile control = new ControlFileStore(disk, Into).ReadLive();
        Assert.Null(control.Recovery);
        Assert.Equal(2u, control.Timeline.Value);
        ulong next = 1;
        var store = new FolderStore(disk, RecoveryLab.Archive, () => next++);
        TimelineHistory claimed = Assert.Single(
            ArchiveCatalog.Load(store).Histories, history => history.Last.Timeline.Value > 1);
        Assert.Equal(control.Lineage, claimed.Last.Lineage);
        Assert.Equal(at.Lsn, claimed.Last.ForkLsn);
        Assert.Equal(at.Content, await OpenedAsync(disk));
        Assert.Equal(
            at.Content, await RecoveryLab.RestoredAsync(disk, RecoveryTarget.Latest, "/again", timeline: "2"));
    }

    private static void RemoveFolder(SimulatedDisk disk, string folder)
    {
        foreach (string name in disk.List(folder))
        {
            string path = $"{folder}/{name}";
            if (disk.Stat(path)!.IsFolder)
                RemoveFolder(disk, path);
            else
                disk.Delete(path);
        }
        disk.DeleteFolder(folder);
    }
}
