using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A restore that can't be is told before it begins, by plan and by run alike, and its folder stays absent.
/// </summary>
public sealed class RestoreRefusalTests
{
    private const string Into = "/refused";
    private static readonly Task<(RecoveryLab Lab, BackupResult Backup, RestorePoint Point)> Recorded =
        RecoveryLab.RecordedAsync(11, valueBytesMax: 3000);

    /// <summary>Each object of the set is deleted, cut, or turned over, in turn.</summary>
    [Fact]
    public async Task Each_object_of_a_set_that_is_gone_or_other_than_it_was_is_damage()
    {
        (RecoveryLab lab, BackupResult backup, _) = await Recorded;
        string prefix = $"{RecoveryLab.Archive}/{BackupSet.PrefixOf(backup.BackupId)}";
        string[] objects = [.. FilesUnder(lab.Disk, prefix.TrimEnd('/'))
            .Where(path => !path.EndsWith(BackupSet.IntentName, StringComparison.Ordinal))];
        Assert.Contains(prefix + BackupSet.ControlName, objects);
        Assert.Contains(prefix + BackupSet.DatafileName("early"), objects);

        foreach (string path in objects)
        {
            bool isManifest = path.EndsWith(BackupSet.ManifestName, StringComparison.Ordinal);
            if (path.Contains("/wal/", StringComparison.Ordinal))
                continue; // the archive has the same WAL: it is not needed
            SimulatedDisk gone = lab.Disk.KillCopy();
            gone.Delete(path);
            await RequireRefusedAsync(
                gone, RecoveryTarget.Latest, isManifest ? ErrorCode.BackupUnknown : ErrorCode.BackupDamaged);

            SimulatedDisk cut = lab.Disk.KillCopy();
            using (IFileHandle handle = cut.Open(path, FileOpen.ReadWrite))
                handle.SetLength(handle.LengthBytes - 1);
            await RequireRefusedAsync(cut, RecoveryTarget.Latest, ErrorCode.BackupDamaged);

            SimulatedDisk turned = lab.Disk.KillCopy();
            turned.Damage(path, turned.ReadAll(path).Length / 3, mask: 0x01);
            await RequireRefusedAsync(turned, RecoveryTarget.Latest, ErrorCode.BackupDamaged);
        }
    }

    /// <summary>
    /// A set that brings its WAL, without an archive: each object of that is needed. Gone it is a gap, other than it was it is
    /// damage.
    /// </summary>
    [Fact]
    public async Task Each_WAL_object_of_a_set_without_an_archive_is_needed()
    {
        MixedLab lab = await MixedLab.RecordedAsync(isArchived: false);
        string[] objects = [.. FilesUnder(lab.Disk, MixedLab.Sets)
            .Where(path => path.Contains("/wal/", StringComparison.Ordinal))];
        Assert.NotEmpty(objects);
        Assert.NotEmpty(await RecoveryLab.RestoredAsync(
            lab.Disk.KillCopy(), RecoveryTarget.Immediate, store: MixedLab.Sets));

        foreach (string path in objects)
        {
            SimulatedDisk gone = lab.Disk.KillCopy();
            gone.Delete(path);
            await RequireRefusedAsync(gone, RecoveryTarget.Immediate, ErrorCode.WalGap, MixedLab.Sets);

            SimulatedDisk cut = lab.Disk.KillCopy();
            using (IFileHandle handle = cut.Open(path, FileOpen.ReadWrite))
                handle.SetLength(handle.LengthBytes - 1);
            await RequireRefusedAsync(cut, RecoveryTarget.Immediate, ErrorCode.ArchiveDamaged, MixedLab.Sets);

            SimulatedDisk turned = lab.Disk.KillCopy();
            turned.Damage(path, turned.ReadAll(path).Length / 2, mask: 0x01);
            await RequireRefusedAsync(turned, RecoveryTarget.Immediate, ErrorCode.ArchiveDamaged, MixedLab.Sets);
        }
    }

    /// <summary>
    /// The archive's WAL between the set and the target: gone is a gap, other than it was is damage; beyond the target
    /// neither matters.
    /// </summary>
    [Fact]
    public async Task A_segment_that_is_gone_is_a_gap_and_one_that_is_other_than_it_was_is_damage()
    {
        (RecoveryLab lab, BackupResult backup, _) = await Recorded;
        string[] segments = [.. FilesUnder(lab.Disk, RecoveryLab.Archive)
            .Where(path => !path.Contains("/backups/", StringComparison.Ordinal)
                && !path.Contains("part", StringComparison.Ordinal)
                && Path.GetFileName(path).StartsWith("0000000100", StringComparison.Ordinal))];
        Assert.True(segments.Length > 3, $"There are only {segments.Length} segments.");
        (string before, string last) = (segments[^2], segments[^1]);
        Moment early = lab.Moments.First(moment => moment.Lsn > backup.StopLsn);

        SimulatedDisk gone = lab.Disk.KillCopy();
        gone.Delete(last);
        await RequireRefusedAsync(gone, RecoveryTarget.Latest, ErrorCode.WalGap);
        Assert.Equal(early.Content, await RecoveryLab.RestoredAsync(gone, RecoveryTarget.Including(early.Lsn)));

        SimulatedDisk cut = lab.Disk.KillCopy();
        using (IFileHandle handle = cut.Open(last, FileOpen.ReadWrite))
            handle.SetLength(handle.LengthBytes - 1);
        await RequireRefusedAsync(cut, RecoveryTarget.Latest, ErrorCode.ArchiveDamaged);

        SimulatedDisk turned = lab.Disk.KillCopy();
        turned.Damage(last, turned.ReadAll(last).Length / 2, mask: 0x01);
        await RequireRefusedAsync(turned, RecoveryTarget.Latest, ErrorCode.ArchiveDamaged);
        Assert.Equal(early.Content, await RecoveryLab.RestoredAsync(turned, RecoveryTarget.Including(early.Lsn)));

        SimulatedDisk swapped = lab.Disk.KillCopy();
        swapped.Rename(before, before + ".aside");
        swapped.Rename(last, before);
        swapped.Rename(before + ".aside", last);
        await RequireRefusedAsync(swapped, RecoveryTarget.Latest, ErrorCode.ArchiveDamaged);
    }

    /// <summary>
    /// H34: before the set's stop, exactly at it exclusively, beyond the end, or of a thing that never was.
    /// </summary>
    [Fact]
    public async Task A_target_that_cannot_be_reached_is_refused_in_each_of_its_forms()
    {
        (RecoveryLab lab, BackupResult backup, _) = await Recorded;
        Moment first = lab.Moments[0];
        Moment last = lab.Moments[^1];
        foreach (RecoveryTarget target in new[]
        {
            RecoveryTarget.Including(first.Lsn), RecoveryTarget.Before(first.Lsn), RecoveryTarget.Before(
                backup.StopLsn),
            RecoveryTarget.Including(first.Time), RecoveryTarget.Before(first.Time), RecoveryTarget.Including(
                first.Transaction),
            RecoveryTarget.Including(last.Lsn + (1 << 30)), RecoveryTarget.Including(DateTimeOffset.UtcNow.AddYears(1)),
            RecoveryTarget.Including(new TransactionId(last.Transaction.Value + 1)),
            RecoveryTarget.IncludingRestorePoint("never"), RecoveryTarget.BeforeRestorePoint("never"),
        })
            await RequireRefusedAsync(lab.Disk.KillCopy(), target, ErrorCode.TargetUnreachable);
        Assert.NotEmpty(await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), RecoveryTarget.Including(backup.StopLsn)));
    }

    /// <summary>
    /// H30: nothing of the source outside its folder is opened or written over, also not by a file that replay makes.
    /// </summary>
    [Fact]
    public async Task A_mapping_onto_the_sources_own_files_is_refused_and_without_one_they_stay_untouched()
    {
        var lab = new RecoveryLab(12);
        lab.Disk.CreateFolders("/outside");
        await using (PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive))
        {
            await database.CreateDatafileAsync("copied", "/outside/copied.pitr");
            await lab.CreateTableAsync(database, "orders", "copied");
            await lab.CommitManyAsync(database, 4);
            await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
            await database.CreateDatafileAsync("made", "/outside/made.pitr");
            await lab.CreateTableAsync(database, "events", "made");
            await lab.CommitManyAsync(database, 4);
        }
        (byte[] copied, byte[] made) = (
            lab.Disk.ReadAll("/outside/copied.pitr"), lab.Disk.ReadAll("/outside/made.pitr"));
        SimulatedDisk withoutCopied = lab.Disk.KillCopy();
        withoutCopied.Delete("/outside/copied.pitr");

        foreach (SimulatedDisk disk in new[] { lab.Disk, withoutCopied })
        {
            var onto = new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = Into,
                Target = RecoveryTarget.Latest,
                Map = new Dictionary<string, string> { ["/outside"] = "/outside" },
            };
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
                () => PitrRecovery.RestoreAsync(onto, RecoveryLab.OptionsOn(disk)));
            Assert.Equal(ErrorCode.FolderNotEmpty, refused.Code);
            Assert.Null(disk.Stat(Into));
            Assert.Equal(made, disk.ReadAll("/outside/made.pitr"));
        }
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
        Assert.Equal(copied, lab.Disk.ReadAll("/outside/copied.pitr"));
        Assert.Equal(made, lab.Disk.ReadAll("/outside/made.pitr"));
        Assert.NotNull(lab.Disk.Stat("/restored/made.pitr"));
        Assert.Equal(lab.Content, await MappedAsync(lab.Disk));
        Assert.NotNull(lab.Disk.Stat("/elsewhere/made.pitr"));
        Assert.Equal(made, lab.Disk.ReadAll("/outside/made.pitr"));
    }

    /// <summary>The plan that is shown and the run have the same set, cut and number of records.</summary>
    [Fact]
    public async Task A_run_carries_out_exactly_the_plan_that_was_shown()
    {
        (RecoveryLab lab, _, RestorePoint point) = await Recorded;
        int at = lab.Moments.FindIndex(moment => moment.Lsn == point.Lsn) + 1;
        SimulatedDisk disk = lab.Disk.KillCopy();
        var request = new RestoreRequest
        {
            Store = RecoveryLab.Archive,
            Into = "/planned",
            Target = RecoveryTarget.Including(lab.Moments[at].Lsn),
        };

        disk.Log.Start();
        RecoveryPlan plan = await PitrRecovery.PlanAsync(request, RecoveryLab.OptionsOn(disk));
        Assert.DoesNotContain(disk.Log.Operations, operation => SimulatedDisk.ChangesTheDisk(operation.Op));
        disk.Log.Stop();
        RestoreResult result = await PitrRecovery.RestoreAsync(request, RecoveryLab.OptionsOn(disk));

        Assert.Equal(plan.BackupId, result.BackupId);
        Assert.Equal(plan.StartLsn, result.StartLsn);
        Assert.Equal(plan.Records, result.RecordsReplayed);
        Assert.Equal(plan.StopsAt.Lsn, result.StoppedAt.Lsn);
        Assert.Equal(lab.Moments[at].Transaction, plan.LastTransactionId);
        Assert.Equal(lab.Moments[at + 1].Transaction, plan.NextTransaction?.TransactionId);
        foreach (string path in plan.Files.Select(file => file.Path).Concat(plan.MadePaths))
            Assert.NotNull(disk.Stat($"/planned/{path}"));
    }

    private static async Task<string> MappedAsync(SimulatedDisk disk)
    {
        disk.CreateFolders("/elsewhere");
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/mapped",
                Target = RecoveryTarget.Latest,
                Timeline = "1",
                Detached = true,
                Map = new Dictionary<string, string> { ["/outside"] = "/elsewhere" },
            },
            RecoveryLab.OptionsOn(disk));
        return await RecoveryLab.ContentAtAsync(disk, "/mapped");
    }

    private static async Task RequireRefusedAsync(
        SimulatedDisk disk, RecoveryTarget target, ErrorCode code, string store = RecoveryLab.Archive)
    {
        var request = new RestoreRequest { Store = store, Into = Into, Target = target };
        PitrException shown = await Assert.ThrowsAnyAsync<PitrException>(
            () => PitrRecovery.PlanAsync(request, RecoveryLab.OptionsOn(disk)));
        PitrException refused = await Assert.ThrowsAnyAsync<PitrException>(
            () => PitrRecovery.RestoreAsync(request, RecoveryLab.OptionsOn(disk)));
        Assert.True(code == shown.Code && code == refused.Code, $"{shown.Code}, {refused.Code}: {refused.Message}");
        Assert.Null(disk.Stat(Into));
    }

    private static IEnumerable<string> FilesUnder(SimulatedDisk disk, string folder) => disk.List(
        folder).SelectMany(name =>
        disk.Stat($"{folder}/{name}")!.IsFolder ? FilesUnder(disk, $"{folder}/{name}") : [$"{folder}/{name}"]);
}
