using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A restore that stays at its target: it is looked at, goes on to later ones, and is promoted in the end.
/// </summary>
public sealed class PausedRecoveryTests
{
    private const string Into = "/paused";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task A_paused_restore_goes_on_to_later_targets_and_is_promoted_at_the_last()
    {
        (RecoveryLab lab, BackupResult backup, RestorePoint point) = await RecoveryLab.RecordedAsync();
        Moment[] moments = [.. lab.Moments.Where(moment => moment.Lsn > backup.StopLsn)];
        await PauseAsync(lab.Disk, moments[1]);
        Assert.Equal(moments[1].Content, await LookAsync(lab.Disk));

        foreach (Moment next in new[] { moments[3], moments[^6], moments[^4] })
        {
            RestoreResult result = await RecoverAsync(lab.Disk, RecoveryTarget.Including(next.Lsn));
            Assert.Equal((1u, next.Transaction), (result.Timeline.Value, result.StoppedAt.TransactionId));
            Assert.Equal(next.Content, await LookAsync(lab.Disk));
        }

        RestoreResult promoted = await RecoverAsync(lab.Disk, RecoveryTarget.Including(moments[^2].Lsn), promote: true);

        Assert.Equal(2u, promoted.Timeline.Value);
        await using PitrDatabase database = await PitrDatabase.OpenAsync(Into, lab.Options).WaitAsync(Patience);
        Assert.Equal(moments[^2].Content, RecoveryLab.ContentOf(database));
        await database.PutAsync(database.Tables[0], "x"u8.ToArray(), "y"u8.ToArray());
        Assert.NotEqual(default, point.Lsn);
    }

    [Fact]
    public async Task A_paused_restore_without_a_target_goes_to_the_end_of_the_archive_and_stays_there()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        await PauseAsync(lab.Disk, lab.Moments[^9]);

        RestoreResult result = await RecoverAsync(lab.Disk, null);

        Assert.Equal(1u, result.Timeline.Value);
        Assert.Equal(lab.Content, await LookAsync(lab.Disk));
    }

    [Fact]
    public async Task A_target_behind_where_a_recovery_stands_is_refused_and_it_stands_as_before()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        Moment at = lab.Moments[^5];
        await PauseAsync(lab.Disk, at);
        byte[] control = lab.Disk.ReadAll(Into + "/pitr.control");

        foreach (RecoveryTarget target in new[]
        {
            RecoveryTarget.Including(lab.Moments[^6].Lsn), RecoveryTarget.Before(at.Lsn), RecoveryTarget.Immediate,
            RecoveryTarget.Including(at.Lsn + (1 << 30)), RecoveryTarget.IncludingRestorePoint("never"),
        })
        {
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => RecoverAsync(lab.Disk, target));
            Assert.Equal(ErrorCode.TargetUnreachable, refused.Code);
            Assert.Equal(control, lab.Disk.ReadAll(Into + "/pitr.control"));
        }

        Assert.Equal(at.Content, await LookAsync(lab.Disk));
        RestoreResult result = await RecoverAsync(lab.Disk, null, promote: true);
        Assert.Equal((2u, at.Transaction, at.Lsn), (
            result.Timeline.Value, result.StoppedAt.TransactionId, result.StoppedAt.Lsn));
    }

    /// <summary>H32, I11: it dies anywhere on its way to a later target; what goes on stands at that target.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_recovery_that_dies_on_its_way_to_a_later_target_goes_on_to_that_one(int seed)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(seed, valueBytesMax: 3000);
        (Moment first, Moment later) = (lab.Moments[^9], lab.Moments[^4]);
        lab.Disk.SyncAll();
        await PauseAsync(lab.Disk, first);
        SimulatedDisk trial = lab.Disk.KillCopy();
        long began = trial.OperationCount;
        await RecoverAsync(trial, RecoveryTarget.Including(later.Lsn), promote: true);
        long operations = trial.OperationCount - began;
        var random = new Random(seed);
        HashSet<long> chosen = [.. Enumerable.Range(0, 8).Select(_ => 1 + random.NextInt64(operations))];
        SimulatedDisk disk = lab.Disk.KillCopy();
        began = disk.OperationCount;
        var copies = new List<SimulatedDisk>();
        disk.BeforeOperation = operation =>
        {
            if (chosen.Contains(operation - began))
                copies.Add(disk.CrashCopy(operation));
        };
        await RecoverAsync(disk, RecoveryTarget.Including(later.Lsn), promote: true);

        foreach (SimulatedDisk copy in copies)
        {
            UnfinishedRecovery? left = new ControlFileStore(copy, Into).ReadLive().Recovery;
            if (left is { IsPaused: true })
                await RecoverAsync(copy, RecoveryTarget.Including(later.Lsn), promote: true);
            else if (left is not null)
                Assert.Equal(2u, (await RecoverAsync(copy, null)).Timeline.Value);
            Assert.Equal(later.Content, await LookAsync(copy));
        }
    }

    [Fact]
    public async Task A_database_that_is_in_no_recovery_is_refused()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => PitrRecovery.RecoverAsync(RecoveryLab.Folder, null, promote: true, lab.Options));

        Assert.Equal(ErrorCode.NotInRecovery, refused.Code);
    }

    private static Task<RestoreResult> PauseAsync(SimulatedDisk disk, Moment at) => PitrRecovery.RestoreAsync(
        new RestoreRequest
        {
            Store = RecoveryLab.Archive,
            Into = Into,
            Target = RecoveryTarget.Including(at.Lsn),
            Pause = true,
        },
        RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);

    private static Task<RestoreResult> RecoverAsync(SimulatedDisk disk, RecoveryTarget? target, bool promote = false) =>
        PitrRecovery.RecoverAsync(Into, target, promote, RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);

    private static Task<string> LookAsync(SimulatedDisk disk) =>
        RecoveryLab.ContentAtAsync(disk, Into).WaitAsync(Patience);
}
