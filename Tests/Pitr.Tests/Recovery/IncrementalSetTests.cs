using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// Incremental sets: what changed since another set, and with it the whole file, exactly, or a refusal that says what is
/// wrong.
/// </summary>
public sealed class IncrementalSetTests : IDisposable
{
    private readonly IncrementalLab _lab = new();

    private DatafileOnDisk It => _lab.It;

    public void Dispose() => _lab.Dispose();

    [Fact]
    public void An_incremental_set_has_what_changed_and_gives_the_whole_file()
    {
        PutAndFlush(0, 3000);
        BackupSet full = _lab.Backup("b1");
        PutAndFlush(500, 20, fill: 2);
        BackupSet second = _lab.Backup("b2");
        _lab.Backup("b3"); // nothing has changed
        It.DeleteMany(1000, 1800);
        It.Flush();
        _lab.Backup("b4"); // it has become shorter

        Assert.Null(full.Label.BaseId);
        Assert.Equal(1, full.Label.FormatVersion);
        Assert.Equal(("b1", full.Manifest.Digest), (second.Label.BaseId, second.Label.BaseDigest));
        Assert.Equal("datafiles/main.pages", second.Label.Files[0].ObjectName);
        Assert.True(Bytes("b2") < Bytes("b1") / 4, $"{Bytes("b2")} of {Bytes("b1")} bytes.");
        Assert.True(Bytes("b3") < 4 * PageLayout.PageBytes, $"{Bytes("b3")} bytes, and nothing had changed.");
        Assert.Equal(["b3", "b2", "b1"], _lab.Set("b4").Bases.Select(set => set.Id));
        foreach (string id in (string[])["b1", "b2", "b3", "b4"])
            _lab.RequireRestores(_lab.Set(id));
    }

    /// <summary>
    /// H38: what the meta page reaches is taken, the chain of free pages too. At its place the base has an older page of a
    /// chain, valid by itself: with that one the next flush would overwrite live pages.
    /// </summary>
    [Fact]
    public void The_chain_of_free_pages_is_that_of_the_meta_page_where_the_base_has_an_older_one()
    {
        var chains = new Dictionary<uint, string>();
        for (int round = 0; round < 30; round++)
        {
            It.PutMany(0, 400, fill: (byte)round);
            It.Flush();
            BackupSet set = _lab.Backup($"b{round:D2}", isFull: round == 0);
            uint chain = It.File.Meta.FreeChain;
            if (chain != 0 && !chains.TryAdd(chain, set.Id))
            {
                Assert.NotNull(set.Base);
                _lab.RequireRestores(_lab.Set(set.Id));
                return;
            }
        }

        Assert.Fail("The chain never came to the same place twice.");
    }

    /// <summary>H38: pages come and go, are written by flushes that were dropped, and lie in values of many pages.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Every_set_of_a_random_life_gives_the_file_as_it_was(int seed)
    {
        var random = new Random(seed);
        for (int round = 0; round < 24; round++)
        {
            for (int n = 1 + random.Next(120); n > 0; n--)
                Change(random);
            if (random.Next(4) == 0)
            {
                FlushJob dropped = It.Prepare();
                dropped.WritePages(); // of the generation that the next flush has, too
                It.File.DropFlush(dropped);
            }

            It.Put("again", $"{round}");
            It.Flush();
            if (random.Next(3) > 0)
                _lab.Backup($"b{round:D2}", isFull: random.Next(8) == 0);
        }

        foreach (string id in _lab.CopiedAt.Keys)
            _lab.RequireRestores(_lab.Set(id));
    }

    /// <summary>H15, H38: a file of another incarnation numbers its pages and generations as it likes.</summary>
    [Fact]
    public void A_file_of_another_incarnation_is_copied_whole()
    {
        PutAndFlush(0, 300);
        _lab.Backup("b1");
        FlushJob job = It.File.PrepareMetaFlush(It.File.Meta.Lineage, incarnation: new Incarnation(0xD4))!;
        job.WritePages();
        job.WriteMeta();
        It.File.CompleteFlush(job);

        BackupSet set = _lab.Backup("b2");

        Assert.Null(set.Label.BaseId);
        Assert.Equal("datafiles/main.pitr", set.Label.Files[0].ObjectName);
    }

    /// <summary>H14, H15, H38: what is not an older state of the very file is no base of it.</summary>
    [Fact]
    public void A_copy_that_is_not_older_or_of_another_history_is_no_base()
    {
        PutAndFlush(0, 300);
        _lab.Backup("b1");
        BackupSet older = _lab.Set("b1");
        FencedFile file = _lab.Fenced();
        var start = new BackupStart("b2", _lab.Control(), file.CheckpointLsn, DateTimeOffset.UnixEpoch) { Base = older };

        Assert.NotNull(BaseChoice.CopyOf(start, file));
        Assert.Null(BaseChoice.CopyOf(start, file with { Incarnation = new Incarnation(9) }));
        Assert.Null(BaseChoice.CopyOf(start, file with { Generation = file.Generation - 1 }));
        Assert.Null(BaseChoice.CopyOf(start, file with { CheckpointLsn = file.CheckpointLsn + -8 }));
        Assert.Null(BaseChoice.CopyOf(start, file with { Id = new FileId(7) }));
        Assert.Null(BaseChoice.CopyOf(start with { Control = OfAnotherBranch(_lab.Control()) }, file));
        Assert.Null(BaseChoice.CopyOf(start with { Base = null }, file));
    }

    /// <summary>H14: the newest set that this history goes on from; of another database none.</summary>
    [Fact]
    public void Sets_of_another_branch_or_database_are_no_base()
    {
        PutAndFlush(0, 100);
        _lab.Backup("b1");
        BackupCatalog sets = BackupCatalog.Read(_lab.Store);
        ControlFile control = _lab.Control();

        Assert.Equal("b1", BaseChoice.Of(sets, control).Base?.Id);
        Assert.NotNull(BaseChoice.Of(sets, OfAnotherBranch(control)).WhyNone);
        Assert.NotNull(BaseChoice.Of(sets, control with { SystemId = new SystemIdentifier(3) }).WhyNone);
    }

    [Fact]
    public void A_chain_has_an_end_and_the_next_set_is_full()
    {
        PutAndFlush(0, 10);
        for (int n = 1; n <= SetChains.LengthMax; n++)
            _lab.Backup($"b{n:D2}");
        BackupSet last = _lab.Set($"b{SetChains.LengthMax}");
        Assert.Equal(SetChains.LengthMax, last.Bases.Count() + 1);

        (BackupSet? none, string? why) = BaseChoice.Of(BackupCatalog.Read(_lab.Store), _lab.Control());
        Assert.Null(none);
        Assert.Contains("32", why, StringComparison.Ordinal);
        _lab.Backup("forced", on: last);
        RefusedException refused = Assert.Throws<RefusedException>(() => _lab.Set("forced"));
        Assert.Equal(ErrorCode.BackupBaseLost, refused.Code);
        Assert.Null(_lab.Backup("next").Label.BaseId);
    }

    // ---- bases that are gone, or others ------------------------------------------------------------

    [Fact]
    public void A_set_whose_base_is_gone_is_refused_by_name_and_so_is_what_builds_on_it()
    {
        ThreeSets();
        foreach (string name in _lab.Store.List("backups/b1/"))
            _lab.Store.Delete(name);

        foreach (string id in (string[])["b2", "b3"])
        {
            RefusedException refused = Assert.Throws<RefusedException>(() => _lab.Set(id));
            Assert.Equal(ErrorCode.BackupBaseLost, refused.Code);
            Assert.Contains("'b1'", refused.Message, StringComparison.Ordinal);
        }

        Assert.Empty(BackupCatalog.Read(_lab.Store).Sets);
        Assert.All(Verify(), report => Assert.Equal(ErrorCode.BackupBaseLost, report.Problems[0].Code));
        Assert.Equal(ErrorCode.BackupBaseLost, Assert.Throws<RefusedException>(() => RecoveryPlanner.Plan(Request())).Code);
    }

    [Fact]
    public void A_set_whose_base_is_unfinished_or_another_one_of_its_name_is_refused()
    {
        ThreeSets();
        ReadOnlyMemory<byte> manifest = _lab.Store.Get("backups/b1/manifest.json");
        _lab.Store.Delete("backups/b1/manifest.json");
        Assert.Contains(
            "never finished", Assert.Throws<RefusedException>(() => _lab.Set("b3")).Message, StringComparison.Ordinal);

        _lab.Store.Put("backups/b1/manifest.json", manifest);
        _lab.RequireRestores(_lab.Set("b3"));

        foreach (string name in _lab.Store.List("backups/b1/"))
            _lab.Store.Delete(name);
        _lab.Backup("b1", isFull: true);
        RefusedException refused = Assert.Throws<RefusedException>(() => _lab.Set("b2"));
        Assert.Equal(ErrorCode.BackupBaseLost, refused.Code);
        Assert.Contains("digest", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_base_with_a_damaged_manifest_or_label_is_damage_of_all_that_builds_on_it()
    {
        foreach (string name in (string[])["manifest.json", "label.json"])
        {
            ThreeSets();
            It.Disk.Damage($"/store/backups/b1/{name}", offset: 60);
            Assert.Equal(ErrorCode.BackupDamaged, Assert.Throws<DamageException>(() => _lab.Set("b3")).Code);
            foreach (string left in _lab.Store.List("backups/"))
                _lab.Store.Delete(left);
        }
    }

    /// <summary>H38: whatever is flipped, cut off or swapped, in whichever set: damage, and never another file.</summary>
    [Fact]
    public void Whatever_is_wrong_with_an_object_of_the_chain_is_damage_that_names_it()
    {
        ThreeSets();
        string[] objects = ["backups/b1/datafiles/main.pitr", "backups/b2/datafiles/main.pages", "backups/b3/datafiles/main.pages"];
        foreach (string name in objects)
        {
            byte[] good = _lab.Store.Get(name).ToArray();
            var random = new Random(good.Length);
            for (int n = 0; n < 40; n++)
            {
                byte[] bad = [.. good];
                int at = n < 8 ? n * 16 : random.Next(bad.Length);
                bad[at] ^= (byte)(1 << random.Next(8));
                RequireDamageOrSame(name, bad);
            }

            RequireDamageOrSame(name, good[..(good.Length / 2)]);
            RequireDamageOrSame(name, [.. good, 0]);
            RequireDamageOrSame(name, _lab.Store.Get(objects[name == objects[1] ? 2 : 1]).ToArray());
            _lab.Store.Put(name, good);
        }

        _lab.RequireRestores(_lab.Set("b3"));
    }

    /// <summary>G4: pages that each pass by themselves, and are of another life of the file, do not pass together.</summary>
    [Fact]
    public void A_mixture_of_pages_that_are_each_good_is_damage()
    {
        PutAndFlush(0, 400);
        SimulatedDisk beside = It.Disk.KillCopy(); // a copy of the database that nobody noticed
        PutAndFlush(0, 100, fill: 2);
        _lab.Backup("b1");
        PutAndFlush(0, 5, fill: 4);
        _lab.Backup("b2");
        using (DatafileOnDisk other = It.OpenOn(beside))
        {
            other.PutMany(0, 100, fill: 3);
            other.Flush();
            int length = _lab.Store.Get("backups/b1/datafiles/main.pitr").Length;
            _lab.Store.Put("backups/b1/datafiles/main.pitr", beside.ReadAll(DatafileOnDisk.Path).AsMemory(0, length));
        }

        DamageException damage = Assert.Throws<DamageException>(() => IncrementalLab.Composed(_lab.Set("b2")));
        Assert.Contains("SHA-256", damage.Message, StringComparison.Ordinal);
    }

    /// <summary>H35: expire was planned before the intent, and took the base, or what that one builds on.</summary>
    [Theory]
    [InlineData("b2")]
    [InlineData("b1")]
    public void A_backup_whose_base_goes_meanwhile_is_void(string gone)
    {
        PutAndFlush(0, 100);
        _lab.Backup("b1");
        _lab.Backup("b2");

        RefusedException refused = Assert.Throws<RefusedException>(() =>
            _lab.Backup("b3", afterBegin: () => _lab.Store.Delete($"backups/{gone}/manifest.json")));

        Assert.Equal(ErrorCode.BackupBaseLost, refused.Code);
        Assert.Null(_lab.Store.Stat("backups/b3/manifest.json"));
    }

    /// <summary>H35: the same, while the manifest is written.</summary>
    [Fact]
    public void A_backup_whose_base_goes_while_it_writes_its_manifest_is_void()
    {
        PutAndFlush(0, 100);
        _lab.Backup("b1");
        bool isGone = false;
        It.Disk.BeforeOperation = _ =>
        {
            if (isGone || It.Disk.Stat("/store/backups/b2/manifest.json") is null)
                return;
            isGone = true;
            _lab.Store.Delete("backups/b1/manifest.json");
        };

        Assert.Equal(ErrorCode.BackupBaseLost, Assert.Throws<RefusedException>(() => _lab.Backup("b2")).Code);
        Assert.True(isGone);
        Assert.Null(_lab.Store.Stat("backups/b2/manifest.json"));
    }

    /// <summary>H35: while it is made, its intent names its base, so that expire keeps it.</summary>
    [Fact]
    public void The_intent_names_the_base()
    {
        PutAndFlush(0, 100);
        _lab.Backup("b1");
        _lab.Backup("b2", afterBegin: () => Assert.Equal(
            "b1", BackupCatalog.Intents(_lab.Store).Single(intent => intent.BackupId == "b2").BaseId));
    }

    [Fact]
    public void A_copy_that_is_void_is_made_again_and_leaves_nothing()
    {
        PutAndFlush(0, 100);
        _lab.Backup("b1");
        PutAndFlush(0, 10, fill: 2);
        BackupWriter writer = _lab.Writer("b2");
        writer.Begin();
        writer.Copy(_lab.Fenced(), CancellationToken.None);
        writer.Discard(_lab.Fenced());
        Assert.Empty(_lab.Store.List("backups/b2/datafiles/"));
        PutAndFlush(0, 10, fill: 3);
        _lab.CopiedAt["b2"] = It.File.CheckpointLsn;
        writer.Copy(_lab.Fenced(), CancellationToken.None);
        writer.Complete(_lab.Stop());
        _lab.RequireRestores(_lab.Set("b2"));
    }

    // ---- a source that is damaged ------------------------------------------------------------------

    [Fact]
    public void A_page_that_counts_and_is_damaged_ends_the_backup_and_a_free_one_does_not()
    {
        PutAndFlush(0, 400);
        _lab.Backup("b1");
        It.DeleteMany(0, 200);
        It.Flush();
        LivePages live;
        using (IFileHandle handle = It.Disk.Open(DatafileOnDisk.Path, FileOpen.Read))
            live = LivePages.Of(handle);
        uint free = Enumerable.Range(2, (int)It.File.Meta.PageCount - 2).Select(n => (uint)n).First(n => !live.Contains(n));
        It.Disk.Damage(DatafileOnDisk.Path, (free * (long)PageLayout.PageBytes) + 100);
        BackupSet set = _lab.Backup("b2");
        _lab.RequireRestores(_lab.Set(set.Id));

        It.Disk.Damage(DatafileOnDisk.Path, (It.File.Meta.Root.Page * (long)PageLayout.PageBytes) + 100);
        Assert.Equal(ErrorCode.PageChecksum, Assert.Throws<DamageException>(() => _lab.Backup("b3")).Code);
    }

    /// <summary>H38: a list of free pages that has one which the tree reaches would leave that one out.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_file_whose_free_chain_disagrees_with_its_tree_makes_no_set(bool listsTooMuch)
    {
        PutAndFlush(0, 400);
        _lab.Backup("b1");
        It.DeleteMany(0, 200);
        It.Flush();
        MetaPage meta = It.File.Meta;
        using (IFileHandle handle = It.Disk.Open(DatafileOnDisk.Path, FileOpen.ReadWrite))
        {
            var free = new PageBits();
            foreach (PageRun run in FreeChain.Read(handle, meta).Runs)
                free.Add(run.First, run.Count);
            uint first = Enumerable.Range(2, (int)meta.PageCount).Select(n => (uint)n).First(free.Contains);
            free.Remove(first);
            if (listsTooMuch)
                free.Add(meta.Root.Page);
            byte[] page = new byte[PageLayout.PageBytes];
            FreeChain.Fill(page, free, from: 0, next: 0);
            PageChecksum.Stamp(page, meta.FreeChain, meta.FreeChainGeneration);
            handle.Write(meta.FreeChain * (long)PageLayout.PageBytes, page);
            if (!listsTooMuch)
            {
                (meta with { FreePages = meta.FreePages - 1 }).Write(page);
                handle.Write(meta.Slot * (long)PageLayout.PageBytes, page);
            }
        }

        Assert.Throws<DamageException>(() => _lab.Backup("b2"));
        Assert.Null(_lab.Store.Stat("backups/b2/manifest.json"));
    }

    // ---- crashes -----------------------------------------------------------------------------------

    /// <summary>
    /// S4, H39: an incremental backup that ends before any of its operations leaves its base as it was and no set; or a
    /// whole one. The next one is made on what is there.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_incremental_backup_that_ends_anywhere_is_whole_or_no_set(bool isPowerLoss)
    {
        PutAndFlush(0, 300);
        _lab.Backup("b1");
        PutAndFlush(100, 30, fill: 2);
        It.Disk.SyncAll();
        var copies = new List<SimulatedDisk>();
        It.Disk.BeforeOperation = operation =>
            copies.Add(isPowerLoss ? It.Disk.CrashCopy(operation) : It.Disk.KillCopy());
        _lab.Backup("b2");
        It.Disk.BeforeOperation = null;
        copies.Add(isPowerLoss ? It.Disk.CrashCopy(1) : It.Disk.KillCopy());
        int whole = 0;
        foreach (SimulatedDisk disk in copies)
        {
            BackupCatalog sets = BackupCatalog.Read(_lab.StoreOn(disk));
            foreach (BackupSet set in sets.Sets)
                set.VerifyAll(done: null, CancellationToken.None);
            Assert.Contains(sets.Sets, set => set.Id == "b1");
            Assert.All(sets.Others, other => Assert.Null(other.Damage));
            whole += sets.Sets.Count - 1;
        }

        Assert.InRange(whole, 1, copies.Count / 2);
        _lab.RequireRestores(_lab.Set("b2"));
    }

    // ------------------------------------------------------------------------------------------------

    private static ControlFile OfAnotherBranch(ControlFile control)
    {
        TimelineEntry root = control.History[0] with { Lineage = new Lineage(0xEE) };
        return control with { Lineage = root.Lineage, History = [root] };
    }

    private void ThreeSets()
    {
        PutAndFlush(0, 300);
        _lab.Backup("b1", isFull: true);
        PutAndFlush(100, 30, fill: 2);
        _lab.Backup("b2");
        PutAndFlush(150, 30, fill: 3);
        _lab.Backup("b3");
    }

    /// <summary>A base's bytes that no set above it takes may be anything: then the file is what it was.</summary>
    private void RequireDamageOrSame(string name, byte[] bad)
    {
        byte[] was = _lab.Store.Get(name).ToArray();
        byte[] before = IncrementalLab.Composed(_lab.Set("b3"));
        _lab.Store.Put(name, bad);
        try
        {
            Assert.Equal(before, IncrementalLab.Composed(_lab.Set("b3")));
            Assert.DoesNotContain("/b3/", name, StringComparison.Ordinal);
        }
        catch (DamageException damage)
        {
            Assert.Equal(ErrorCode.BackupDamaged, damage.Code);
        }

        string owner = name.Split('/')[1];
        Assert.Contains(Verify(owner), report => report.Problems.Any(problem => problem.Code == ErrorCode.BackupDamaged));
        _lab.Store.Put(name, was);
    }

    private IReadOnlyList<VerifyReport> Verify(string? id = null) =>
        BackupVerifier.Verify(_lab.Store, [_lab.Store], id, _lab.Draw, CancellationToken.None);

    private PlanRequest Request() => new()
    {
        Target = RecoveryTarget.Immediate,
        SetStore = _lab.Store,
        Archives = [],
        Random = _lab.Draw,
    };

    private long Bytes(string id) => _lab.Store.Stat(
        $"backups/{id}/{_lab.Set(id).Label.Files[0].ObjectName}")!.LengthBytes;

    private void PutAndFlush(int from, int count, byte fill = 1)
    {
        It.PutMany(from, count, fill: fill);
        It.Flush();
    }

    private void Change(Random random)
    {
        string key = $"k{random.Next(600):D5}";
        if (random.Next(3) == 0)
            It.Delete(key);
        else
            It.Put(key, new byte[random.Next(20) == 0 ? random.Next(40_000) : random.Next(900)]);
    }
}
