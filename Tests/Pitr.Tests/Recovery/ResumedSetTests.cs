using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// H39: a backup that was cut off is gone on with: what is whole and was certified is not copied again, and nothing that
/// might be wrong is called a set.
/// </summary>
public sealed class ResumedSetTests : IDisposable
{
    private static readonly DateTimeOffset Later = IncrementalLab.Begin.AddHours(1);

    private readonly IncrementalLab _lab = new();

    private DatafileOnDisk It => _lab.It;

    public void Dispose() => _lab.Dispose();

    [Fact]
    public void A_copy_that_was_kept_is_not_made_again_and_the_set_is_as_any_other()
    {
        CutOff("b1");
        string[] before = [.. _lab.Store.List("backups/b1/datafiles/")];
        Lsn copiedAt = It.File.CheckpointLsn;
        PutAndFlush(0, 50, fill: 2); // it went on since: replay brings the copy up

        BackupWriter writer = Continue("b1");
        Assert.True(writer.CanResume(FileId.Main));
        Assert.True(writer.TryResume(FileId.Main, CancellationToken.None));
        BackupSet set = writer.Complete(_lab.Stop());

        Assert.Equal(1, writer.Resumed);
        Assert.Equal(copiedAt, set.Label.StartLsn);
        Assert.Equal(before, _lab.Store.List("backups/b1/datafiles/"));
        Assert.Empty(_lab.Store.List("backups/b1/copied/"));
        _lab.CopiedAt["b1"] = copiedAt;
        _lab.RequireRestores(_lab.Set("b1"));
    }

    [Theory]
    [InlineData("datafiles/main.pitr")]
    [InlineData("copied/main.json")]
    public void A_copy_or_note_that_is_not_what_it_was_is_made_anew(string name)
    {
        CutOff("b1");
        It.Disk.Damage($"/store/backups/b1/{name}", offset: 40);

        if (Find() is not { } cutOff)
        {
            Assert.StartsWith("copied/", name, StringComparison.Ordinal);
            return;
        }

        BackupWriter writer = Continue(cutOff);
        Assert.False(writer.TryResume(FileId.Main, CancellationToken.None));
        writer.Copy(_lab.Fenced(), CancellationToken.None);
        BackupSet set = writer.Complete(_lab.Stop());

        Assert.Equal("datafiles/main.2.pitr", set.Label.Files[0].ObjectName);
        Assert.Equal(["backups/b1/datafiles/main.2.pitr"], _lab.Store.List("backups/b1/datafiles/"));
        _lab.RequireRestores(_lab.Set("b1"));
    }

    /// <summary>A copy whose fence did not end well certifies nothing, however whole it is.</summary>
    [Fact]
    public void A_copy_that_was_not_certified_is_not_gone_on_with()
    {
        PutAndFlush(0, 100);
        BackupWriter writer = _lab.Writer("b1");
        writer.Begin();
        writer.Copy(_lab.Fenced(), CancellationToken.None);

        Assert.Null(Find());
    }

    [Fact]
    public void Only_a_set_of_this_very_history_that_is_young_enough_is_gone_on_with()
    {
        CutOff("b1");
        ControlFile control = _lab.Control();
        Assert.NotNull(Find());
        Assert.Null(Find(before: IncrementalLab.Begin)); // begun when this one was: another's
        Assert.Null(Find(before: IncrementalLab.Begin + UnfinishedSet.AgeMax + TimeSpan.FromSeconds(1)));
        Assert.Null(Find(control with { SystemId = new SystemIdentifier(7) }));
        TimelineEntry other = control.History[0] with { Lineage = new Lineage(0xEE) };
        Assert.Null(Find(control with { Lineage = other.Lineage, History = [other] }));
        Assert.Null(Find(hasWal: false));
        CatalogueFile file = control.Catalogue.Files[0];
        Assert.Null(Find(control with
        {
            Catalogue = control.Catalogue.WithFile(file with { Incarnation = new Incarnation(9) }),
        }));
        // H23, H43: a table was made since; replay from the copy on would need what the catalogue was then.
        Assert.Null(Find(control with
        {
            Catalogue = control.Catalogue.CreateTable(new TableId(2), "u", FileId.Main, It.File.CheckpointLsn + 8),
        }));
        _lab.Store.Delete("backups/b1/intent.json");
        Assert.Null(Find());
    }

    [Fact]
    public void A_set_that_builds_on_another_is_gone_on_with_only_on_that_one()
    {
        PutAndFlush(0, 300);
        BackupSet full = _lab.Backup("b1");
        PutAndFlush(0, 20, fill: 2);
        CutOff("b2", isFilled: true);

        Assert.Null(Find());
        UnfinishedSet cutOff = Find(older: _lab.Set("b1"))!;
        BackupWriter writer = Continue(cutOff, _lab.Set("b1"));
        Assert.True(writer.TryResume(FileId.Main, CancellationToken.None));
        Assert.Equal(full.Id, writer.Complete(_lab.Stop()).Label.BaseId);
        _lab.RequireRestores(_lab.Set("b2"));
    }

    /// <summary>H35: an archive that was added since has no intent of the first attempt.</summary>
    [Fact]
    public void Whoever_goes_on_registers_from_where_the_copies_need_WAL()
    {
        CutOff("b1");
        Lsn copiedAt = It.File.CheckpointLsn;
        PutAndFlush(0, 50, fill: 2);
        It.Disk.CreateFolders("/added");
        var added = new FolderStore(It.Disk, "/added", _lab.Draw);

        Continue(Find()!, control: _lab.Control() with { RedoLsn = It.File.CheckpointLsn }, archives: added);

        Assert.True(copiedAt < It.File.CheckpointLsn);
        Assert.Equal(copiedAt, BackupIntent.Parse("b1", added.Get("backups/b1/intent.json").Span).HoldFromLsn);
    }

    /// <summary>A1: the one that was taken for dead is void, whatever it does, and does the other no harm.</summary>
    [Fact]
    public void Of_two_that_work_on_one_set_the_first_is_void_and_leaves_it_to_the_second()
    {
        BackupWriter first = CutOff("b1");
        BackupWriter second = Continue("b1");
        Assert.True(second.TryResume(FileId.Main, CancellationToken.None));

        Assert.Equal(
            ErrorCode.BackupVoid, Assert.Throws<RefusedException>(() => first.Complete(_lab.Stop())).Code);
        first.Abandon();
        second.Complete(_lab.Stop());
        Assert.Equal(
            ErrorCode.BackupVoid, Assert.Throws<RefusedException>(() => first.Complete(_lab.Stop())).Code);
        first.Abandon();
        _lab.RequireRestores(_lab.Set("b1"));
    }

    /// <summary>A1: the second begins while the first one's manifest is written: neither counts.</summary>
    [Fact]
    public void A_second_that_begins_while_the_first_ends_gives_way_and_so_does_the_first()
    {
        BackupWriter first = CutOff("b1");
        UnfinishedSet cutOff = Find()!;
        bool isMet = false;
        It.Disk.BeforeOperation = _ =>
        {
            if (isMet || It.Disk.Stat("/store/backups/b1/manifest.json") is null)
                return;
            isMet = true;
            Assert.Throws<RefusedException>(() => Continue(cutOff));
        };

        Assert.Equal(
            ErrorCode.BackupVoid, Assert.Throws<RefusedException>(() => first.Complete(_lab.Stop())).Code);
        Assert.True(isMet);
        Assert.Empty(BackupCatalog.Read(_lab.Store).Sets);
    }

    /// <summary>A2: nobody goes on with a set that is being removed.</summary>
    [Fact]
    public void A_set_that_is_removed_is_not_gone_on_with()
    {
        BackupWriter first = CutOff("b1");
        UnfinishedSet cutOff = Find()!;
        bool isMet = false;
        It.Disk.BeforeOperation = _ =>
        {
            if (isMet || It.Disk.Stat("/store/backups/b1/datafiles/main.pitr") is not null)
                return;
            isMet = true;
            Assert.Throws<RefusedException>(() => Continue(cutOff));
        };
        first.Abandon();
        Assert.True(isMet);
        Assert.Empty(_lab.Store.List("backups/"));
    }

    /// <summary>S4, S7: whatever it and its continuation end before, and the one after that: whole, or no set.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_backup_that_is_cut_off_anywhere_again_and_again_becomes_whole_or_none(bool isPowerLoss)
    {
        PutAndFlush(0, 120);
        It.Disk.SyncAll();
        foreach (SimulatedDisk once in Ends(It.Disk.KillCopy(), "b1", isPowerLoss, every: 3))
        {
            foreach (SimulatedDisk twice in Ends(once, "b2", isPowerLoss, every: 5))
            {
                FolderStore store = _lab.StoreOn(twice);
                BackupSet set = Make(twice, "b3");
                foreach (BackupSet there in BackupCatalog.Read(store).Sets)
                    there.VerifyAll(done: null, CancellationToken.None);
                Assert.Contains(BackupCatalog.Read(store).Sets, there => there.Id == set.Id);
                Assert.All(BackupCatalog.Read(store).Others, other => Assert.Null(other.Damage));
            }
        }
    }

    private List<SimulatedDisk> Ends(SimulatedDisk disk, string id, bool isPowerLoss, int every)
    {
        var copies = new List<SimulatedDisk>();
        long began = disk.OperationCount;
        disk.BeforeOperation = operation =>
        {
            if ((operation - began) % every == 0)
                copies.Add(isPowerLoss ? disk.CrashCopy(operation) : disk.KillCopy());
        };
        Make(disk, id);
        disk.BeforeOperation = null;
        return copies;
    }

    /// <summary>A backup on a disk, which goes on with what is there.</summary>
    private BackupSet Make(SimulatedDisk disk, string id)
    {
        FolderStore store = _lab.StoreOn(disk);
        ControlFile control = _lab.Control();
        UnfinishedSet? cutOff = UnfinishedSet.Find(store, control, null, Later, static _ => true);
        var writer = new BackupWriter(
            disk, store, [],
            new BackupStart(cutOff?.BackupId ?? id, control, It.File.CheckpointLsn, IncrementalLab.Begin) { Continues = cutOff },
            new ReachablePages(It.Environment, CancellationToken.None));
        writer.Begin();
        FencedFile file = _lab.Fenced();
        if (!writer.CanResume(file.Id) || !writer.TryResume(file.Id, CancellationToken.None))
        {
            writer.Copy(file, CancellationToken.None);
            writer.Keep(file);
        }

        return writer.Complete(_lab.Stop());
    }

    private BackupWriter CutOff(string id, bool isFilled = false)
    {
        if (!isFilled)
            PutAndFlush(0, 100);
        BackupWriter writer = _lab.Writer(id);
        writer.Begin();
        writer.Copy(_lab.Fenced(), CancellationToken.None);
        writer.Keep(_lab.Fenced());
        return writer;
    }

    private UnfinishedSet? Find(
        ControlFile? control = null, BackupSet? older = null, DateTimeOffset? before = null, bool hasWal = true) =>
        UnfinishedSet.Find(_lab.Store, control ?? _lab.Control(), older, before ?? Later, _ => hasWal);

    private BackupWriter Continue(string id)
    {
        UnfinishedSet cutOff = Find()!;
        Assert.Equal(id, cutOff.BackupId);
        return Continue(cutOff);
    }

    private BackupWriter Continue(
        UnfinishedSet cutOff, BackupSet? older = null, ControlFile? control = null, params IArchiveStore[] archives)
    {
        var writer = new BackupWriter(
            It.Disk, _lab.Store, archives,
            new BackupStart(cutOff.BackupId, control ?? _lab.Control(), It.File.CheckpointLsn, Later)
            {
                Base = older,
                Continues = cutOff,
            },
            new ReachablePages(It.Environment, CancellationToken.None));
        writer.Begin();
        return writer;
    }

    private void PutAndFlush(int from, int count, byte fill = 1)
    {
        It.PutMany(from, count, fill: fill);
        It.Flush();
    }
}
