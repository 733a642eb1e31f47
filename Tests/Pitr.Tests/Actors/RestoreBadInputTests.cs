using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// What a restore, or a restored database, meets when something of it is gone, of another set, or told wrong by its store:
/// a named error, with nothing written where nothing may be; and never another content than that of the target.
/// </summary>
public sealed class RestoreBadInputTests
{
    private const string Into = "/restored";
    private const int PointsInSuite = 25;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static bool IsWhole => Environment.GetEnvironmentVariable("PITR_SWEEP") is { Length: > 0 };

    // ---- what was restored -------------------------------------------------------------------------

    /// <summary>
    /// Each file of a restored database is deleted in turn: what opens has the whole content but for a datafile that says it
    /// needs recovery; what does not open says by its number what is gone. Nothing is made up.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Each_file_of_a_restored_database_that_is_deleted_is_told(bool isPaused)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(13);
        await PitrRecovery.RestoreAsync(Request(RecoveryTarget.Latest) with { Pause = isPaused, Detached = true }, Options(lab.Disk))
            .WaitAsync(Patience);
        string[] files = [.. MixedLab.FilesUnder(lab.Disk, Into)];
        Assert.Contains($"{Into}/main.pitr", files);
        string? inUse = files.FirstOrDefault(path => path.Contains("/wal/", StringComparison.Ordinal));
        Assert.Equal(isPaused, inUse is null);

        foreach (string path in files)
        {
            SimulatedDisk disk = lab.Disk.KillCopy();
            disk.Delete(path);
            ErrorCode? refused = path.EndsWith("/pitr.control", StringComparison.Ordinal) ? ErrorCode.NotADatabase
                : path == inUse ? ErrorCode.WalGap
                : isPaused && path.EndsWith(".pitr", StringComparison.Ordinal) ? ErrorCode.DatafileMissing
                : null;
            try
            {
                await using PitrDatabase database = await PitrDatabase.OpenAsync(Into, Options(disk)).WaitAsync(Patience);
                Assert.Equal((path, null), (path, refused));
                string[] lost = [.. (await database.GetStatusAsync().WaitAsync(Patience)).Datafiles
                    .Where(file => file.State != "open").Select(file => file.Path)];
                Assert.Equal(path.EndsWith(".pitr", StringComparison.Ordinal) ? [path] : [], lost);
                if (lost.Length == 0)
                    Assert.Equal(lab.Content, RecoveryLab.ContentOf(database));
                else
                    Assert.Equal(
                        ErrorCode.DatafileMissing,
                        Assert.ThrowsAny<PitrException>(() => RecoveryLab.ContentOf(database)).Code);
            }
            catch (PitrException told)
            {
                Assert.Equal((path, refused), (path, told.Code));
            }
        }
    }

    // ---- sets and stores ---------------------------------------------------------------------------

    /// <summary>Each object of a set is swapped with that of a set of another timeline: neither is restored.</summary>
    [Fact]
    public async Task Sets_of_two_timelines_that_are_mixed_are_damage()
    {
        (RecoveryLab lab, BackupResult first, _) = await RecoveryLab.RecordedAsync(14);
        await RecoveryLab.RestoredAsync(
            lab.Disk, RecoveryTarget.Including(lab.Moments[^5].Lsn), "/second", detached: false);
        BackupResult second;
        await using (PitrDatabase database = await PitrDatabase.OpenAsync("/second", Options(lab.Disk)).WaitAsync(Patience))
            second = await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience);
        string one = $"{RecoveryLab.Archive}/{BackupSet.PrefixOf(first.BackupId)}";
        string other = $"{RecoveryLab.Archive}/{BackupSet.PrefixOf(second.BackupId)}";
        string[] both = [BackupSet.ControlName, BackupSet.LabelName, BackupSet.ManifestName, BackupSet.DatafileName("main")];

        foreach (string name in both)
        {
            foreach ((string set, string timeline) in new[] { (first.BackupId, "1"), (second.BackupId, "2") })
            {
                SimulatedDisk disk = lab.Disk.KillCopy();
                disk.Rename(one + name, one + "swapped");
                disk.Rename(other + name, one + name);
                disk.Rename(one + "swapped", other + name);
                PitrException told = await Assert.ThrowsAnyAsync<PitrException>(() => PitrRecovery.RestoreAsync(
                    Request(RecoveryTarget.Latest) with { BackupId = set, Timeline = timeline }, Options(disk)).WaitAsync(Patience));
                Assert.Equal((name, ErrorCode.BackupDamaged), (name, told.Code));
                Assert.Null(disk.Stat(Into));
            }
        }

        await Assert.ThrowsAnyAsync<PitrException>(() => PitrRecovery.RestoreAsync(
            Request(RecoveryTarget.Latest) with { BackupId = second.BackupId, Timeline = "1" }, Options(lab.Disk)));
        Assert.Null(lab.Disk.Stat(Into));
    }

    /// <summary>
    /// One question of a restore gets a wrong answer, each in turn: it ends at its target, or with a named error; then the
    /// folder is absent or empty, or holds a recovery that goes on to the same target when the store tells the truth.
    /// </summary>
    [Theory]
    [InlineData(StoreLie.Fails)]
    [InlineData(StoreLie.Shorter)]
    [InlineData(StoreLie.Longer)]
    [InlineData(StoreLie.Loses)]
    public async Task A_store_that_fails_or_tells_wrong_lengths_or_loses_an_object_never_gives_another_content(StoreLie lie)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(15);
        Moment at = lab.Moments[^2];
        SimulatedDisk good = lab.Disk.KillCopy();
        var stores = new LyingStores(good);
        await RestoreAsync(good, stores, at);
        Assert.Equal(at.Content, await RecoveryLab.ContentAtAsync(good, Into));
        int questions = stores.Asked;
        Assert.True(questions > PointsInSuite, $"Only {questions} questions.");

        for (int number = 1; number <= questions; number += IsWhole ? 1 : Math.Max(1, questions / PointsInSuite))
        {
            SimulatedDisk disk = lab.Disk.KillCopy();
            var lying = new LyingStores(disk) { Lie = lie, LiesAt = number };
            try
            {
                await RestoreAsync(disk, lying, at);
            }
            catch (PitrException told)
            {
                Assert.True(told.Code != ErrorCode.InvariantBroken && told.Hint.Length > 0, told.ToString());
                if (disk.Stat(Into) is null || disk.List(Into).Count == 0)
                    continue;
                Assert.NotNull(new ControlFileStore(disk, Into).ReadLive().Recovery);
                await PitrRecovery.RecoverAsync(
                    Into, options: Options(disk) with { ArchiveStoreKinds = [new LyingStores(disk)] }).WaitAsync(Patience);
            }

            Assert.Equal((number, at.Content), (number, await RecoveryLab.ContentAtAsync(disk, Into)));
        }
    }

    /// <summary>A store that answers late holds nobody: the restore is cancelled, and has left nothing.</summary>
    [Fact]
    public async Task A_restore_from_a_store_that_answers_late_can_be_cancelled_and_leaves_nothing()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(16);
        var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var goOn = new ManualResetEventSlim();
        using var cancelled = new CancellationTokenSource();
        var stores = new LyingStores(lab.Disk)
        {
            Before = number =>
            {
                if (number != 9)
                    return;
                reached.SetResult();
                goOn.Wait(Patience);
            },
        };
        Task restore = PitrRecovery.RestoreAsync(
            Request(RecoveryTarget.Latest) with { Store = LyingStores.Address },
            Options(lab.Disk) with { ArchiveStoreKinds = [stores] }, cancelled.Token);
        await reached.Task.WaitAsync(Patience);
        await cancelled.CancelAsync();
        goOn.Set();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => restore.WaitAsync(Patience));
        Assert.Null(lab.Disk.Stat(Into));
    }

    // ---- where to ----------------------------------------------------------------------------------

    /// <summary>Over a running engine, over what it left, over anything: nothing is touched.</summary>
    [Fact]
    public async Task A_restore_over_a_running_engine_or_a_folder_with_anything_in_it_is_refused()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync(17);
        await using (PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, lab.Options).WaitAsync(Patience))
        {
            await RequireNotEmptyAsync(lab.Disk, RecoveryLab.Folder);
            Assert.Equal(lab.Content, RecoveryLab.ContentOf(database));
        }

        await RequireNotEmptyAsync(lab.Disk, RecoveryLab.Folder);
        lab.Disk.CreateFolders("/some");
        lab.Disk.Open("/some/thing", FileOpen.CreateNew).Dispose();
        await RequireNotEmptyAsync(lab.Disk, "/some");
        await RequireNotEmptyAsync(lab.Disk, "/some/thing");
        Assert.Equal(["thing"], lab.Disk.List("/some"));
    }

    // ---- parts -------------------------------------------------------------------------------------

    private static async Task RequireNotEmptyAsync(SimulatedDisk disk, string folder) => Assert.Equal(
        ErrorCode.FolderNotEmpty,
        (await Assert.ThrowsAsync<RefusedException>(() => PitrRecovery.RestoreAsync(
            Request(RecoveryTarget.Latest) with { Into = folder }, Options(disk)).WaitAsync(Patience))).Code);

    private static Task<RestoreResult> RestoreAsync(SimulatedDisk disk, LyingStores stores, Moment at) => PitrRecovery.RestoreAsync(
        Request(RecoveryTarget.Including(at.Lsn)) with { Store = LyingStores.Address, Detached = true },
        Options(disk) with { ArchiveStoreKinds = [stores] }).WaitAsync(Patience);

    private static RestoreRequest Request(RecoveryTarget target) =>
        new() { Store = RecoveryLab.Archive, Into = Into, Target = target };

    private static PitrOptions Options(IFileSystem disk) => RecoveryLab.OptionsOn(disk);
}
