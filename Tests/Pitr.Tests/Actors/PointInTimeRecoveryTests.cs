using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// Backup under load, archive, and restore to every kind of target, through the facade with the real engine.
/// </summary>
public sealed class PointInTimeRecoveryTests
{
    [Fact]
    public async Task A_restore_without_target_brings_everything_that_was_committed()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();

        string content = await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest);

        Assert.Equal(lab.Content, content);
    }

    /// <summary>I12: also what a promotion has opened, the new timeline's WAL, is closed with the engine.</summary>
    [Fact]
    public async Task A_restore_and_the_end_of_its_engine_leave_nothing_open()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();

        await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest);

        Assert.Empty(lab.Disk.OpenHandlePaths);
        Assert.Equal(0, lab.Disk.HeldLockCount);
    }

    /// <summary>I11: recovery stands exactly at its target, at every commit boundary. H29, H34, H43.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Recovery_to_every_commit_equals_the_oracle(int seed)
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync(seed);
        Moment[] reachable = [.. lab.Moments.Where(moment => moment.Lsn >= backup.StopLsn)];
        Assert.True(reachable.Length > 15, $"Only {reachable.Length} moments can be reached.");

        foreach (Moment moment in reachable)
            Assert.Equal(moment.Content, await RecoveryLab.RestoredAsync(
                lab.Disk.KillCopy(), RecoveryTarget.Including(moment.Lsn)));
    }

    /// <summary>H34: inclusive and exclusive by LSN, time and transaction; the restore point; the set's stop.</summary>
    [Fact]
    public async Task Each_form_of_a_target_stands_at_its_own_cut()
    {
        (RecoveryLab lab, BackupResult backup, RestorePoint point) = await RecoveryLab.RecordedAsync();
        // No table comes or goes between these two.
        int n = lab.Moments.FindIndex(moment => moment.Lsn == point.Lsn) + 2;
        (Moment before, Moment at) = (lab.Moments[n - 1], lab.Moments[n]);
        Moment atStop = lab.Moments.Last(moment => moment.Lsn <= backup.StopLsn);

        foreach ((RecoveryTarget target, string expected) in new[]
        {
            (RecoveryTarget.Including(at.Lsn), at.Content),
            (RecoveryTarget.Before(at.Lsn), before.Content),
            (RecoveryTarget.Including(at.Time), at.Content),
            (RecoveryTarget.Before(at.Time), before.Content),
            (RecoveryTarget.Including(at.Transaction), at.Content),
            (RecoveryTarget.Before(at.Transaction), before.Content),
            (RecoveryTarget.IncludingRestorePoint("monday"), lab.Moments.First(
                moment => moment.Lsn == point.Lsn).Content),
            (RecoveryTarget.BeforeRestorePoint("monday"), lab.Moments.First(moment => moment.Lsn == point.Lsn).Content),
            (RecoveryTarget.Immediate, atStop.Content),
        })
        {
            string content = await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), target);
            Assert.True(expected == content, $"Recovery to {target} stands elsewhere.");
        }
    }

    /// <summary>
    /// H27, H28, H32: new timelines are claimed in the store, and a restore that could mean two branches is refused.
    /// </summary>
    [Fact]
    public async Task Of_two_branches_a_restore_takes_only_the_one_that_is_named()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        string ofProduction = lab.Content;
        SimulatedDisk disk = lab.Disk;
        Moment fork = lab.Moments[^6];
        Assert.Equal(fork.Content, await RecoveryLab.RestoredAsync(
            disk, RecoveryTarget.Including(fork.Lsn), "/drill", detached: false));
        string ofDrill;
        await using (PitrDatabase drill = await PitrDatabase.OpenAsync("/drill", RecoveryLab.OptionsOn(disk)))
        {
            await drill.PutAsync(drill.Tables[0], "drill"u8.ToArray(), "1"u8.ToArray());
            ofDrill = RecoveryLab.ContentOf(drill);
            Assert.Equal(2u, (await drill.GetStatusAsync()).Timeline.Value);
        }

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => RecoveryLab.RestoredAsync(disk, RecoveryTarget.Latest, "/ambiguous"));

        Assert.Equal(ErrorCode.BranchAmbiguous, refused.Code);
        Assert.Null(disk.Stat("/ambiguous"));
        Assert.Equal(ofDrill, await RecoveryLab.RestoredAsync(disk.KillCopy(), RecoveryTarget.Latest, timeline: "2"));
        Assert.Equal(
            ofDrill, await RecoveryLab.RestoredAsync(disk.KillCopy(), RecoveryTarget.Latest, timeline: "latest"));
        Assert.Equal(
            ofProduction, await RecoveryLab.RestoredAsync(disk.KillCopy(), RecoveryTarget.Latest, timeline: "1"));
        Moment shared = lab.Moments[^8];
        Assert.Equal(
            shared.Content, await RecoveryLab.RestoredAsync(disk.KillCopy(), RecoveryTarget.Including(shared.Lsn)));
        Assert.Equal(
            shared.Content, await RecoveryLab.RestoredAsync(
                disk.KillCopy(), RecoveryTarget.Including(shared.Lsn), timeline: "2"));

        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/third",
                Target = RecoveryTarget.Latest,
                Timeline = "1",
            },
            RecoveryLab.OptionsOn(disk));
        await using PitrDatabase third = await PitrDatabase.OpenAsync("/third", RecoveryLab.OptionsOn(disk));
        Assert.Equal(3u, (await third.GetStatusAsync()).Timeline.Value);
        Assert.Equal(ofProduction, RecoveryLab.ContentOf(third));
    }

    /// <summary>
    /// A restored database archives into the store it came from, on its new timeline, and goes on from there.
    /// </summary>
    [Fact]
    public async Task A_restored_database_can_itself_be_backed_up_and_restored()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        Moment fork = lab.Moments[^4];
        await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Including(fork.Lsn), "/second", detached: false);
        string atBackup;
        string atEnd;
        await using (PitrDatabase second = await PitrDatabase.OpenAsync("/second", RecoveryLab.OptionsOn(lab.Disk)))
        {
            await second.PutAsync(second.Tables[0], "a"u8.ToArray(), "1"u8.ToArray());
            atBackup = RecoveryLab.ContentOf(second);
            await second.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
            await second.PutAsync(second.Tables[0], "b"u8.ToArray(), "2"u8.ToArray());
            atEnd = RecoveryLab.ContentOf(second);
        }

        Assert.Equal(
            atBackup, await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), RecoveryTarget.Immediate, timeline: "2"));
        Assert.Equal(atEnd, await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), RecoveryTarget.Latest, timeline: "2"));
        string first = (await Task.WhenAll(
            RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest, timeline: "2", detached: false)))[0];
        Assert.Equal(atEnd, first);
    }

    [Fact]
    public async Task A_paused_restore_shows_its_target_and_is_promoted_later()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        Moment at = lab.Moments[^5];
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/paused",
                Target = RecoveryTarget.Including(at.Lsn),
                Pause = true,
            },
            lab.Options);
        await using (PitrDatabase looking = await PitrDatabase.OpenAsync("/paused", lab.Options))
        {
            Assert.Equal(at.Content, RecoveryLab.ContentOf(looking));
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
                async () => await looking.PutAsync(looking.Tables[0], "x"u8.ToArray(), "y"u8.ToArray()));
            Assert.Equal(ErrorCode.ReadOnly, refused.Code);
        }

        TimelineId timeline = await PitrRecovery.PromoteAsync("/paused", lab.Options);

        Assert.Equal(2u, timeline.Value);
        await using PitrDatabase promoted = await PitrDatabase.OpenAsync("/paused", lab.Options);
        Assert.Equal(at.Content, RecoveryLab.ContentOf(promoted));
        await promoted.PutAsync(promoted.Tables[0], "x"u8.ToArray(), "y"u8.ToArray());
    }

    /// <summary>What can't be reached, or is damaged, is told by its kind before a byte is written.</summary>
    [Fact]
    public async Task A_restore_that_cannot_be_is_refused_and_leaves_no_folder()
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync();
        Moment last = lab.Moments[^1];
        await Refused<RefusedException>(
            lab.Disk, RecoveryTarget.Including(last.Lsn + (1 << 30)), ErrorCode.TargetUnreachable);
        await Refused<RefusedException>(
            lab.Disk, RecoveryTarget.Including(lab.Moments[0].Lsn), ErrorCode.TargetUnreachable);
        await Refused<RefusedException>(
            lab.Disk, RecoveryTarget.IncludingRestorePoint("never"), ErrorCode.TargetUnreachable);
        await Refused<RefusedException>(
            lab.Disk, RecoveryTarget.Including(DateTimeOffset.UtcNow.AddYears(1)), ErrorCode.TargetUnreachable);

        foreach (string name in new[] { BackupSet.ManifestName, BackupSet.LabelName, BackupSet.DatafileName("main") })
        {
            SimulatedDisk disk = lab.Disk.KillCopy();
            string path = $"{RecoveryLab.Archive}/{BackupSet.PrefixOf(backup.BackupId)}{name}";
            disk.Damage(path, disk.ReadAll(path).Length / 2, 4);
            await Refused<DamageException>(disk, RecoveryTarget.Latest, null);
        }
    }

    private static async Task Refused<T>(SimulatedDisk disk, RecoveryTarget target, ErrorCode? code)
        where T : PitrException
    {
        T refused = await Assert.ThrowsAsync<T>(() => RecoveryLab.RestoredAsync(disk, target, "/refused"));
        if (code is not null)
            Assert.Equal(code, refused.Code);
        Assert.True(
            disk.Stat("/refused") is null || disk.List("/refused").Count == 0,
            "The folder is neither absent nor empty.");
    }
}
