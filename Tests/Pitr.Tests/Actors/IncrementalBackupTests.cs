using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>Incremental backups of a running engine: what each builds on, and that each restores.</summary>
public sealed class IncrementalBackupTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_set_that_builds_on_others_restores_to_its_stop_and_to_every_moment_after_it()
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync(seed: 21, bases: 3);

        Assert.NotNull(backup.BaseId);
        Assert.Null(backup.WhyFull);
        Assert.Equal(3, Set(lab.Disk, backup.BackupId).Bases.Count());
        Assert.All(Verify(lab.Disk), report => Assert.Empty(report.Problems));
        foreach (Moment at in lab.Moments.Where(moment => moment.Lsn > backup.StopLsn).Where((_, n) => n % 4 == 0))
        {
            Assert.Equal(
                at.Content, await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), RecoveryTarget.Including(at.Lsn)));
        }
    }

    /// <summary>H42: a compacted file has its pages elsewhere.</summary>
    [Fact]
    public async Task A_datafile_that_was_compacted_is_copied_whole_and_the_others_are_not()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            BackupResult first = await BackupAsync(database);
            Assert.Equal((null, "the store has no whole set of this database's present history"), (first.BaseId, first.WhyFull));
            await lab.CommitManyAsync(database, 5);
            await database.CompactAsync(new CompactRequest { Datafile = "early" }).WaitAsync(Patience);
            BackupResult second = await BackupAsync(database);

            Assert.Equal(first.BackupId, second.BaseId);
            Assert.Equal(
                ["datafiles/early.pitr", "datafiles/main.pages"],
                Set(lab.Disk, second.BackupId).Label.Files.Select(file => file.ObjectName).Order(StringComparer.Ordinal));
            await lab.CommitManyAsync(database, 2);
        }

        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_datafile_that_is_younger_than_the_base_is_copied_whole()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            await BackupAsync(database);
            await database.CreateDatafileAsync("late");
            await lab.CreateTableAsync(database, "events", "late");
            await lab.CommitManyAsync(database, 6);
            BackupResult second = await BackupAsync(database);
            Assert.Contains(
                "datafiles/late.pitr", Set(lab.Disk, second.BackupId).Label.Files.Select(file => file.ObjectName));
        }

        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    /// <summary>H15, H38: what was restored has other pages under the same generations, as soon as it is written on.</summary>
    [Fact]
    public async Task The_first_set_of_a_restored_database_builds_on_none_and_the_next_one_on_that()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
            await BackupAsync(database);
        await PitrRecovery.RestoreAsync(
            new RestoreRequest { Store = RecoveryLab.Archive, Into = "/restored", Target = RecoveryTarget.Latest },
            RecoveryLab.OptionsOn(lab.Disk));
        string content;
        await using (PitrDatabase restored = await PitrDatabase.OpenAsync("/restored", RecoveryLab.OptionsOn(lab.Disk)))
        {
            await restored.PutAsync(restored.Tables[0], "new"u8.ToArray(), "1"u8.ToArray());
            BackupResult first = await BackupAsync(restored);
            Assert.Equal((null, "no datafile has a copy that it could build on"), (first.BaseId, first.WhyFull));
            await restored.PutAsync(restored.Tables[0], "new"u8.ToArray(), "2"u8.ToArray());
            Assert.Equal(first.BackupId, (await BackupAsync(restored)).BaseId);
            content = RecoveryLab.ContentOf(restored);
        }

        Assert.Equal(
            content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest, "/again", timeline: "latest"));
    }

    [Fact]
    public async Task One_datafile_comes_back_from_a_set_that_builds_on_others()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            await BackupAsync(database);
            await lab.CommitManyAsync(database, 5);
            await BackupAsync(database);
            await lab.CommitManyAsync(database, 5);
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        lab.Disk.Delete("/db/early.pitr");
        await using PitrDatabase reopened =
            await PitrDatabase.OpenAsync("/db", RecoveryLab.OptionsOn(lab.Disk, RecoveryLab.Archive)).WaitAsync(Patience);
        DatafileRecoveryResult back = await reopened
            .RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "early" }).WaitAsync(Patience);
        Assert.NotNull(Set(lab.Disk, back.BackupId!).Base);
        Assert.Equal(lab.Content, RecoveryLab.ContentOf(reopened));
    }

    /// <summary>H35: expire keeps what a kept set builds on, and what is left restores.</summary>
    [Fact]
    public async Task Expire_keeps_what_the_newest_set_builds_on()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        BackupResult alone, bottom, top;
        await using (database)
        {
            alone = await BackupAsync(database, isIncremental: false);
            await lab.CommitManyAsync(database, 5);
            bottom = await BackupAsync(database, isIncremental: false);
            await lab.CommitManyAsync(database, 5);
            top = await BackupAsync(database);
            await lab.CommitManyAsync(database, 2);
        }

        FolderStore store = StoreOn(lab.Disk);
        var request = new RetentionRequest
        {
            SetStore = store,
            Archives = [store],
            Window = TimeSpan.FromTicks(1),
            Now = TimeProvider.System.GetUtcNow(),
            OpenStore = static _ => null,
        };
        RetentionPlan plan = RetentionPlanner.Plan(request);
        RetentionRun.CarryOut(plan, request, CancellationToken.None);

        Assert.Equal([alone.BackupId], plan.Sets.Where(set => set.IsRemoved).Select(set => set.BackupId));
        Assert.Equal([bottom.BackupId, top.BackupId], BackupCatalog.Read(store).Sets.Select(set => set.Id));
        Assert.All(Verify(lab.Disk), report => Assert.Empty(report.Problems));
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    private static Task<BackupResult> BackupAsync(PitrDatabase database, bool isIncremental = true) =>
        database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive, Incremental = isIncremental, Jobs = 2 })
            .WaitAsync(Patience);

    private static async Task<(RecoveryLab Lab, PitrDatabase Database)> FilledAsync()
    {
        var lab = new RecoveryLab();
        PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience);
        await lab.CreateTableAsync(database, "orders");
        await database.CreateDatafileAsync("early");
        await lab.CreateTableAsync(database, "archived", "early");
        await lab.CommitManyAsync(database, 20);
        return (lab, database);
    }

    private static BackupSet Set(SimulatedDisk disk, string id) => BackupCatalog.Read(StoreOn(disk)).Get(id);

    private static IReadOnlyList<VerifyReport> Verify(SimulatedDisk disk) => BackupVerifier.Verify(
        StoreOn(disk), [StoreOn(disk)], null, static () => 1, CancellationToken.None);

    private static FolderStore StoreOn(SimulatedDisk disk)
    {
        ulong next = 1;
        return new FolderStore(disk, RecoveryLab.Archive, () => next++);
    }
}
