using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.MixedLab;

namespace Pitr.Tests;

/// <summary>
/// A database that is recovered where it lies with the control file of a backup set, while its files are there, partly
/// there, or others than they should be (design §10; H14, H16, H29, H30, H34, H43).
/// </summary>
public sealed class BackupControlFileTests
{
    // ---- files that are there, born, dropped ------------------------------------------------------

    /// <summary>Nothing is copied: each file is brought up from what it has, to the last commit that was acknowledged.</summary>
    [Theory]
    [MixedCase("X12"), MixedCase("X14")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Files_newer_than_the_set_are_kept_and_brought_to_the_end(bool isKilled)
    {
        MixedLab lab = await RecordedAsync(isKilled: isKilled);
        lab.Disk.Delete(MixedLab.Control);
        Incarnation before = Datafile.Inspect(lab.Disk, Late).Incarnation;

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Empty(plan.Files);
        Assert.Empty(plan.MadeByReplay);
        Assert.Equal(["early", "late", "main"], plan.KeptFiles.Select(file => file.Name).Order());
        Assert.NotEqual(before, Datafile.Inspect(lab.Disk, Late).Incarnation); // H15
        Assert.DoesNotContain(lab.Disk.List(Folder), name => name.Contains("aside", StringComparison.Ordinal));
    }

    [Fact]
    [MixedCase("X13")]
    public async Task A_lost_file_comes_from_the_set()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        lab.Disk.Delete(Early);

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Equal(["early"], plan.Files.Select(file => file.Name));
        Assert.Equal(["late", "main"], plan.KeptFiles.Select(file => file.Name).Order());
    }

    /// <summary>H38: an incremental set needs what it builds on; that is read before a byte is written, and not after.</summary>
    [Fact]
    [MixedCase("X13")]
    public async Task A_plan_finds_the_damage_of_the_object_that_a_lost_files_copy_builds_on()
    {
        string older = "";
        MixedLab lab = await RecordedAsync(before: async (_, database) =>
        {
            var incremental = new BackupRequest { Store = RecoveryLab.Archive, Incremental = true };
            Table archived = database.GetTable("archived");
            for (byte n = 0; n < 40; n++)
                await database.PutAsync(archived, new[] { n }, new byte[1000]); // over several pages
            older = (await database.BackupAsync(incremental).WaitAsync(Patience)).BackupId;
            await database.PutAsync(archived, new byte[1], new byte[10]); // the others stay where the older set has them
            BackupResult newest = await database.BackupAsync(incremental).WaitAsync(Patience);
            Assert.Equal(older, newest.BaseId);
        });
        lab.Disk.Delete(MixedLab.Control);
        lab.Disk.Delete(Early);
        Assert.Equal(["early"], (await lab.PlanAsync(lab.Request())).Files.Select(file => file.Name));
        lab.Disk.Damage($"{RecoveryLab.Archive}/{BackupSet.PrefixOf(older)}{BackupSet.ChangedPagesName("early")}", 0);

        lab.Disk.Log.Start();
        DamageException damaged = await Assert.ThrowsAsync<DamageException>(() => PitrRecovery
            .PlanInPlaceAsync(lab.Request(), RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience));

        Assert.DoesNotContain(lab.Disk.Log.Operations, operation => SimulatedDisk.ChangesTheDisk(operation.Op));
        Assert.Equal(ErrorCode.BackupDamaged, damaged.Code);
        Assert.Contains(older, damaged.Message, StringComparison.Ordinal);
        Assert.Contains(BackupSet.ChangedPagesName("early"), damaged.Message, StringComparison.Ordinal);
    }

    [Fact]
    [MixedCase("X15")]
    public async Task A_lost_file_that_was_born_after_the_set_is_made_by_the_WAL()
    {
        MixedLab lab = await RecordedAsync();
        lab.Disk.Delete(MixedLab.Control);
        lab.Disk.Delete(Late);

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Equal(["late"], plan.MadeByReplay);
        Assert.Contains("makes by replay       late", plan.ToText(), StringComparison.Ordinal);
    }

    [Fact]
    [MixedCase("X16")]
    public async Task A_file_that_was_dropped_after_the_set_does_not_come_back_and_is_removed_if_it_lies_there()
    {
        MixedLab lab = await RecordedAsync();
        lab.Disk.Delete(MixedLab.Control);
        lab.Put(Old, lab.DroppedFile);

        await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Null(lab.Disk.Stat(Old));
    }

    /// <summary>Only the WAL of the folder is left, and the set: all of it comes back.</summary>
    [Fact]
    [MixedCase("X13")]
    public async Task All_datafiles_are_lost_and_the_folder_has_its_WAL_alone()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        foreach (string path in new[] { MixedLab.Control, Early, Late, "/db/main.pitr" })
            lab.Disk.Delete(path);

        await lab.RequireRecoversAsync(lab.Request(), lab.Content);
    }

    // ---- files that were moved --------------------------------------------------------------------

    /// <summary>Outside, by a link or without one: kept where they are, once it is said that they are its own.</summary>
    [Theory]
    [MixedCase("X17")]
    [InlineData(true, "/data2")]
    [InlineData(false, "/data2")]
    [InlineData(true, "/data3")]
    public async Task A_file_that_was_moved_outside_is_kept_there_if_it_is_said_to_be_its_own(bool isLinked, string now)
    {
        MixedLab lab = await MovedAsync(isLinked);
        lab.Disk.Delete(MixedLab.Control);
        if (now != "/data2")
        {
            lab.Disk.CreateFolders(now);
            lab.Disk.Rename("/data2/early.pitr", $"{now}/early.pitr");
        }

        RecoveryPlan plan = await lab.RequireRecoversAsync(
            lab.Request() with { Moved = new Dictionary<string, string> { ["/data2"] = now } }, lab.Content);

        Assert.Empty(plan.Files);
        Assert.NotNull(lab.Disk.Stat($"{now}/early.pitr"));
        Assert.Equal(3, plan.KeptFiles.Count);
    }

    /// <summary>H19, H10: the name that the control file rests on is durable; what is left over stays, and is told.</summary>
    [Theory]
    [MixedCase("X46")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_a_move_that_was_cut_off_has_left_is_told_and_stays(bool isRenamed)
    {
        const string Name = "/data3/early.pitr";
        const string To = "/data2/early.pitr";
        MixedLab lab = await CutOffAsync(isRenamed);
        var moved = new Dictionary<string, string> { ["/data2"] = "/data2", ["/data3"] = "/data3" };

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request() with { Moved = moved }, lab.Content);

        Assert.Empty(plan.Files);
        Assert.Contains(plan.KeptFiles, file => file.Path == Name);
        Assert.All(
            Enumerable.Range(0, 8),
            seed => Assert.Equal(isRenamed, lab.Disk.CrashCopy(seed).Stat(Name)!.IsSymlink));
        Assert.NotNull(lab.Disk.Stat(To));
        Assert.Equal(!isRenamed, plan.Findings.Any(
            finding => finding.Contains($"'{To}' is left over from moving datafile 'early'", StringComparison.Ordinal)));
    }

    /// <summary>H26, H30: the folder may be a copy; what lies outside is then its source's.</summary>
    [Theory]
    [MixedCase("X18")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_file_outside_that_is_not_said_to_be_its_own_is_not_touched(bool isLinked)
    {
        MixedLab lab = await MovedAsync(isLinked);
        lab.Disk.Delete(MixedLab.Control);
        byte[] outside = lab.Disk.ReadAll("/data2/early.pitr");

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Equal(["early"], plan.Files.Select(file => file.Name));
        Assert.Contains(plan.Findings, finding => finding.Contains("--moved /data2=/data2", StringComparison.Ordinal));
        Assert.Equal(outside, lab.Disk.ReadAll("/data2/early.pitr"));
        Assert.False(lab.Disk.Stat(Early)!.IsSymlink);
    }

    [Fact]
    [MixedCase("X19")]
    public async Task A_file_under_another_name_of_the_folder_is_known_by_its_header()
    {
        MixedLab lab = await RecordedAsync();
        lab.Disk.Delete(MixedLab.Control);
        lab.Disk.Rename(Late, "/db/renamed.pitr");

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Empty(plan.MadeByReplay);
        Assert.Contains(plan.KeptFiles, file => file.Path == "/db/renamed.pitr");
    }

    // ---- back to a moment -------------------------------------------------------------------------

    /// <summary>
    /// H34, H43: a file beyond the target takes no part, nor does the control file that is there; both stay beside.
    /// </summary>
    [Theory]
    [MixedCase("X20")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_database_goes_back_where_it_lies_and_keeps_what_is_beyond_the_target(bool isLost)
    {
        MixedLab lab = await RecordedAsync();
        byte[] control = lab.Disk.ReadAll(MixedLab.Control);
        byte[] late = lab.Disk.ReadAll(Late);
        if (isLost)
            lab.Disk.Delete(MixedLab.Control);

        RecoveryPlan plan = await lab.RequireRecoversAsync(
            lab.Request(RecoveryTarget.Including(lab.Middle.Lsn)), lab.Middle.Content);

        Assert.Equal(["late"], plan.MadeByReplay);
        Assert.Equal(["early", "main"], plan.Files.Select(file => file.Name).Order());
        Assert.Equal(late, lab.Disk.ReadAll(Late + RecoveredFile.AsideSuffix));
        if (!isLost)
            Assert.Equal(control, lab.Disk.ReadAll(MixedLab.Control + RecoveredFile.AsideSuffix));
    }

    /// <summary>H43: before the drop of a datafile it is there again, with its tables.</summary>
    [Fact]
    [MixedCase("X20")]
    public async Task To_every_moment_behind_the_set_a_database_goes_back_where_it_lies()
    {
        MixedLab lab = await RecordedAsync();
        SimulatedDisk recorded = lab.Disk;
        Moment[] reachable = [.. lab.Moments.Skip(8)];
        Assert.True(reachable.Length > 10, $"Only {reachable.Length} moments.");
        foreach (Moment moment in reachable)
        {
            SimulatedDisk disk = recorded.KillCopy();
            InPlaceRecoveryRequest request = lab.Request(RecoveryTarget.Including(moment.Lsn));
            await PitrRecovery.RecoverInPlaceAsync(request, RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);
            Assert.Equal(moment.Content, await RecoveryLab.ContentAtAsync(disk, Folder));
        }
    }

    /// <summary>
    /// The branch that is left stays in the folder, though no store knows it: its number is not given again, nor its WAL
    /// written over.
    /// </summary>
    [Fact]
    public async Task A_branch_that_was_left_keeps_its_number_and_its_WAL()
    {
        MixedLab lab = await RecordedAsync();
        InPlaceRecoveryRequest back = lab.Detached(RecoveryTarget.Including(lab.Middle.Lsn));
        await lab.RequireRecoversAsync(back, lab.Middle.Content);
        byte[] second = SegmentOf(lab.Disk, 2);

        await PitrRecovery.RecoverInPlaceAsync(back with { Timeline = "1" }, RecoveryLab.OptionsOn(lab.Disk))
            .WaitAsync(Patience);

        await lab.RequireServesAsync(lab.Middle.Content, 3);
        Assert.Equal(second, SegmentOf(lab.Disk, 2));
    }

    [Theory]
    [MixedCase("X27")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_target_that_no_set_or_WAL_reaches_is_refused(bool isBefore)
    {
        MixedLab lab = await RecordedAsync();
        RecoveryTarget target = isBefore
            ? RecoveryTarget.Including(lab.BeforeSet.Lsn)
            : RecoveryTarget.Including(lab.Moments[^1].Lsn + (1 << 30));
        await lab.RequireRefusedAsync<RefusedException>(lab.Request(target), ErrorCode.TargetUnreachable);
    }

    // ---- files that are others than they should be -------------------------------------------------

    /// <summary>H7: the WAL lost its end; without a target that is no end to recover to.</summary>
    [Fact]
    [MixedCase("X21")]
    public async Task A_file_ahead_of_the_WAL_is_refused_unless_that_end_is_named()
    {
        MixedLab lab = await RecordedAsync(isArchived: false);
        byte[] ahead = lab.Disk.ReadAll(Early);
        lab.Disk.Log.Stop();
        MixedLab left = lab.WithDisk(lab.AtCheckpoint);
        left.Put(Early, ahead);
        left.Disk.Delete(MixedLab.Control);

        RefusedException refused = await left.RequireRefusedAsync<RefusedException>(
            left.Request() with { Store = Sets }, ErrorCode.WalTooShort);

        Lsn end = Lsn.Parse(refused.Hint.Split("--target-lsn ")[1]);
        RecoveryPlan plan = await left.PlanAsync(
            left.Request(RecoveryTarget.Including(end)) with { Store = Sets });
        Assert.Equal(["early"], plan.Files.Select(file => file.Name));
    }

    [Fact]
    [MixedCase("X22")]
    public async Task A_file_of_another_database_in_its_place_is_refused()
    {
        MixedLab lab = await RecordedAsync();
        lab.Disk.Delete(MixedLab.Control);
        lab.Put(Early, await lab.ForeignFileAsync());
        RefusedException refused = await lab.RequireRefusedAsync<RefusedException>(lab.Request(), ErrorCode.ForeignSystem);
        Assert.Contains(Early, refused.Message, StringComparison.Ordinal);
    }

    /// <summary>H14: its LSN is of a branch that this database never was on.</summary>
    [Fact]
    [MixedCase("X23")]
    public async Task A_file_of_an_abandoned_branch_is_not_used()
    {
        MixedLab lab = await RecordedAsync();
        byte[] sibling = await lab.FileOfSiblingAsync();
        lab.Put(Early, sibling);
        lab.Disk.Delete(MixedLab.Control);

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request() with { Timeline = "1" }, lab.Content);

        Assert.Contains(plan.Findings, finding => finding.Contains("case C6", StringComparison.Ordinal));
        Assert.Equal(sibling, lab.Disk.ReadAll(Early + RecoveredFile.AsideSuffix));
    }

    [Fact]
    [MixedCase("X24")]
    public async Task A_file_with_a_damaged_page_is_not_used()
    {
        MixedLab lab = await RecordedAsync();
        lab.Disk.Damage(Early, (long)Datafile.Inspect(lab.Disk, Early).Root.Page * PageLayout.PageBytes + 100);
        lab.Disk.Delete(MixedLab.Control);

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Equal(["early"], plan.Files.Select(file => file.Name));
    }

    /// <summary>An older copy that is not older than the set is brought up from itself.</summary>
    [Fact]
    [MixedCase("X25")]
    public async Task An_older_copy_is_brought_up_from_itself()
    {
        MixedLab lab = await RecordedAsync();
        lab.Put(Early, lab.OlderEarly);
        lab.Disk.Delete(MixedLab.Control);

        RecoveryPlan plan = await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Equal(3, plan.KeptFiles.Count);
    }

    // ---- control files that are there --------------------------------------------------------------

    /// <summary>What it says is not used; it stays beside the new one.</summary>
    [Theory]
    [MixedCase("X26")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_control_file_that_is_damaged_or_older_stays_beside_the_new_one(bool isDamaged)
    {
        MixedLab lab = await RecordedAsync();
        if (isDamaged)
            lab.Disk.Damage(MixedLab.Control, 40);
        else
            lab.Put(MixedLab.Control, lab.OlderControl);
        byte[] before = lab.Disk.ReadAll(MixedLab.Control);

        await lab.RequireRecoversAsync(lab.Request(), lab.Content);

        Assert.Equal(before, lab.Disk.ReadAll(MixedLab.Control + RecoveredFile.AsideSuffix));
    }

    /// <summary>H28: what was committed on a branch that only the folder's WAL knows is not left out silently.</summary>
    [Fact]
    [MixedCase("X28")]
    public async Task WAL_of_a_branch_that_the_set_does_not_lead_to_is_not_left_out_silently()
    {
        MixedLab lab = await RecordedAsync();
        InPlaceRecoveryRequest back = lab.Detached(RecoveryTarget.Including(lab.Middle.Lsn));
        await lab.RequireRecoversAsync(back, lab.Middle.Content);
        lab.Disk.Delete(MixedLab.Control);
        InPlaceRecoveryRequest toTheEnd = back with { Target = RecoveryTarget.Latest };

        RefusedException refused = await lab.RequireRefusedAsync<RefusedException>(toTheEnd, ErrorCode.BranchAmbiguous);

        Assert.Contains("--control-file rebuild", refused.Hint, StringComparison.Ordinal);
        lab.Put(MixedLab.Control, lab.OlderControl); // of the first timeline
        await lab.RequireRefusedAsync<RefusedException>(toTheEnd, ErrorCode.BranchAmbiguous);
        await lab.RebuiltAsync();
        await using PitrDatabase database = await lab.OpenAsync();
        Assert.Equal(2u, (await database.GetStatusAsync().WaitAsync(Patience)).Timeline.Value);
        Assert.Equal("1"u8.ToArray(), database.Get(database.GetTable("orders"), "after"u8.ToArray()));
    }

    /// <summary>
    /// H6: with a later group behind it, or later segments, also if they are only made ready, it is no end; a moment before
    /// it is reached all the same.
    /// </summary>
    [Theory]
    [MixedCase("X44")]
    [InlineData("damaged")]
    [InlineData("a hole")]
    [InlineData("nothing but ready segments")]
    public async Task WAL_of_the_folder_that_is_damaged_or_has_a_hole_is_a_gap_and_never_the_end(string kind)
    {
        MixedLab lab = await RecordedAsync(isKilled: true, before: async (recovery, database) =>
        {
            await database.SwitchWalAsync().WaitAsync(Patience);
            await recovery.CommitManyAsync(database, 3);
        });
        var geometry = new WalGeometry(16 << 10);
        Lsn bad = lab.Moments[^4].Lsn;
        ulong number = geometry.NumberOf(bad);
        foreach (string path in FilesUnder(lab.Disk, RecoveryLab.Archive).Concat(FilesUnder(lab.Disk, "/db/wal"))
            .Where(path => IsOf(path, number, isHole: kind != "damaged", isAllOfFolder: kind.StartsWith('n'))).ToArray())
            lab.Disk.Delete(path);
        if (kind == "damaged")
            lab.Disk.Damage($"/db/wal/{new SegmentName(TimelineId.First, number)}", geometry.OffsetOf(bad) + 8);
        foreach (string path in new[] { MixedLab.Control, Early, Late, "/db/main.pitr" })
            lab.Disk.Delete(path);

        await lab.RequireRefusedAsync<RefusedException>(lab.Request(), ErrorCode.WalGap);
        if (kind == "damaged")
            await lab.RequireRecoversAsync(lab.Request(RecoveryTarget.Including(lab.Middle.Lsn)), lab.Middle.Content);

        static bool IsOf(string path, ulong number, bool isHole, bool isAllOfFolder)
        {
            string name = Path.GetFileName(path);
            if (name.Length < SegmentName.Length || !SegmentName.TryParse(name.AsSpan(0, SegmentName.Length), out SegmentName segment))
                return false;
            bool isOfFolder = path.StartsWith("/db/", StringComparison.Ordinal);
            return isOfFolder
                ? (isHole && segment.Number == number) || (isAllOfFolder && segment.Number <= number)
                : segment.Number >= number;
        }
    }

    [Fact]
    [MixedCase("X29")]
    public async Task A_set_or_WAL_of_another_database_is_refused()
    {
        MixedLab lab = await RecordedAsync();
        await using (PitrDatabase other = await PitrDatabase.CreateAsync("/other", RecoveryLab.OptionsOn(lab.Disk))
            .WaitAsync(Patience))
        {
            await other.BackupAsync(new BackupRequest { Store = Sets }).WaitAsync(Patience);
            await other.ShutdownAsync().WaitAsync(Patience);
        }

        await lab.RequireRefusedAsync<RefusedException>(lab.Request() with { Store = Sets }, ErrorCode.ForeignSystem);
        lab.Disk.Delete(MixedLab.Control);
        await lab.RequireRefusedAsync<RefusedException>(lab.Request() with { Store = Sets }, ErrorCode.ForeignSystem);
    }

    [Fact]
    [MixedCase("X30")]
    public async Task A_recovery_that_is_under_way_is_gone_on_with_and_not_begun_anew()
    {
        MixedLab lab = await RecordedAsync();
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/paused",
                Target = RecoveryTarget.Latest,
                Pause = true,
            },
            RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => PitrRecovery.RecoverInPlaceAsync(
            new InPlaceRecoveryRequest { Folder = "/paused", Store = RecoveryLab.Archive },
            RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience));
        Assert.Equal(ErrorCode.ControlFileWhole, refused.Code);
    }

    /// <summary>A running engine keeps its folder; an empty folder is for a restore.</summary>
    [Fact]
    public async Task A_running_database_and_an_empty_folder_are_refused()
    {
        MixedLab lab = await RecordedAsync();
        await using (await lab.OpenAsync())
        {
            foreach (Func<Task> begin in new Func<Task>[]
            {
                () => PitrRecovery.RecoverInPlaceAsync(lab.Request(), RecoveryLab.OptionsOn(lab.Disk)),
                () => PitrRecovery.PlanInPlaceAsync(lab.Request(), RecoveryLab.OptionsOn(lab.Disk)),
                () => PitrRecovery.RebuildControlFileAsync(Folder, null, RecoveryLab.OptionsOn(lab.Disk)),
            })
                Assert.Equal(
                    ErrorCode.DatabaseLocked, (await Assert.ThrowsAsync<RefusedException>(begin)).Code);
        }

        lab.Disk.CreateFolders("/empty");
        NotFoundException none = await Assert.ThrowsAsync<NotFoundException>(() => PitrRecovery.RecoverInPlaceAsync(
            lab.Request() with { Folder = "/empty", Store = RecoveryLab.Archive }, RecoveryLab.OptionsOn(lab.Disk)));
        Assert.Equal(ErrorCode.NotADatabase, none.Code);
        Assert.Empty(lab.Disk.List("/empty"));
    }

    // ---- parts -------------------------------------------------------------------------------------

    /// <summary>The last move of `early`, from one place outside to another, is cut off while it copies, or renames.</summary>
    private static async Task<MixedLab> CutOffAsync(bool isRenamed)
    {
        const string To = "/data2/early.pitr";
        SimulatedDisk? left = null;
        MixedLab lab = await RecordedAsync(
            before: async (recovery, database) =>
            {
                recovery.Disk.CreateFolders("/data2");
                recovery.Disk.CreateFolders("/data3");
                await database.MoveAsync(new MoveRequest
                {
                    Datafile = "early",
                    Path = "/data3/early.pitr",
                    WithoutLink = true,
                }).WaitAsync(Patience);
            },
            last: async (recovery, database) =>
            {
                using var held = new HeldSync(isRenamed
                    ? recovery.Disk.Faults.On(FileOp.SyncFolder).Of("/data3").Hold()
                    : recovery.Disk.Faults.On(FileOp.Write).Of(To).Nth(3).Hold());
                Task<MoveResult> move = database.MoveAsync(new MoveRequest { Datafile = "early", Path = To });
                await held.Reached.WaitAsync(Patience);
                left = recovery.Disk.KillCopy();
                held.Release();
                await move.WaitAsync(Patience);
            });
        return lab.WithDisk(left!);
    }

    private static Task<MixedLab> MovedAsync(bool isLinked) => RecordedAsync(
        isKilled: true, before: async (recovery, database) =>
        {
            recovery.Disk.CreateFolders("/data2");
            await database.MoveAsync(new MoveRequest
            {
                Datafile = "early",
                Path = "/data2/early.pitr",
                WithoutLink = !isLinked,
            }).WaitAsync(Patience);
        });

    private static byte[] SegmentOf(SimulatedDisk disk, uint timeline) => disk.ReadAll(
        FilesUnder(disk, "/db/wal").First(path =>
            Path.GetFileName(path).StartsWith($"{timeline:X8}", StringComparison.Ordinal)));
}
