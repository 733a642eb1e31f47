using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.MixedLab;

namespace Pitr.Tests;

/// <summary>
/// A control file that is lost is made anew from the WAL in the folder and the datafiles' headers; what they do not say is
/// refused (design §10; H3, H7, H16, H22, H43).
/// </summary>
public sealed class RebuiltControlFileTests
{
    /// <summary>Every acknowledged commit is there, on the same timeline, with what was born and dropped since.</summary>
    [Theory]
    [MixedCase("X31")]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task A_lost_control_file_is_made_anew_and_the_database_goes_on(bool isKilled, bool isArchived)
    {
        MixedLab lab = await RecordedAsync(isArchived, isKilled);
        ControlFile before = new ControlFileStore(lab.Disk, Folder).ReadLive();
        lab.Disk.Delete(MixedLab.Control);
        Assert.Equal(
            ErrorCode.NotADatabase, (await Assert.ThrowsAnyAsync<PitrException>(() => lab.OpenAsync())).Code);

        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.NotNull(plan.CheckpointRecord);
        Assert.All(plan.Files, file => Assert.Null(file.NeedsRecovery));
        Assert.Equal(["early", "late", "main"], plan.Files.Select(file => file.Name).Order());
        ControlFile made = new ControlFileStore(lab.Disk, Folder).ReadLive();
        Assert.Equal(
            (before.SystemId, before.Lineage, before.Catalogue.Lsn, before.Catalogue.NextFileId, before.Catalogue.NextTableId),
            (made.SystemId, made.Lineage, made.Catalogue.Lsn, made.Catalogue.NextFileId, made.Catalogue.NextTableId));
        Assert.True(made.KnownEndOfWal <= plan.EndOfWal);
        await lab.RequireServesAsync(lab.Content, 1);
        Assert.Contains("rebuilt from the checkpoint", plan.ToText(), StringComparison.Ordinal);
    }

    /// <summary>Damaged, also with a half-made one beside it, which is never read; or one of a backup set.</summary>
    [Theory]
    [MixedCase("X32")]
    [InlineData("damaged")]
    [InlineData("of a set")]
    [InlineData("of another database")]
    public async Task A_control_file_that_is_no_use_is_replaced_and_stays_beside(string kind)
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Damage(MixedLab.Control, 60);
        lab.Put(MixedLab.Control + ".new", lab.OlderControl);
        if (kind == "of a set")
            lab.Put(MixedLab.Control, lab.Disk.ReadAll(
                FilesUnder(lab.Disk, RecoveryLab.Archive).Single(path => path.EndsWith("/pitr.control", StringComparison.Ordinal))));
        if (kind == "of another database")
        {
            await lab.ForeignFileAsync();
            lab.Put(MixedLab.Control, lab.Disk.ReadAll("/other/pitr.control"));
        }

        byte[] before = lab.Disk.ReadAll(MixedLab.Control);
        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.Contains(plan.Findings, finding => finding.Contains("kept beside", StringComparison.Ordinal));
        Assert.Equal(before, lab.Disk.ReadAll(MixedLab.Control + RecoveredFile.AsideSuffix));
        await lab.RequireServesAsync(lab.Content, 1);
    }

    /// <summary>Somebody put an earlier one back: the WAL has a newer checkpoint than it knows.</summary>
    [Fact]
    [MixedCase("X33")]
    public async Task A_control_file_older_than_its_files_is_replaced()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Put(MixedLab.Control, lab.OlderControl);

        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.Contains(plan.Findings, finding => finding.Contains("a newer one", StringComparison.Ordinal));
        await lab.RequireServesAsync(lab.Content, 1);
    }

    [Fact]
    [MixedCase("X34")]
    public async Task A_control_file_that_is_whole_is_left_as_it_is()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        await lab.RequireNotRebuiltAsync<RefusedException>(ErrorCode.ControlFileWhole);
    }

    /// <summary>The WAL went with the disk, or has no checkpoint any more: nothing says which files there were.</summary>
    [Theory]
    [MixedCase("X35")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Without_WAL_or_a_checkpoint_in_it_nothing_is_made_up(bool isGone)
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        string[] segments = [.. FilesUnder(lab.Disk, "/db/wal")];
        Lsn checkpoint = WalSurvey.Of(lab.Disk, "/db/wal").LastRuns.Single().Checkpoint!.Lsn;
        ulong of = new WalGeometry(16 << 10).NumberOf(checkpoint);
        foreach (string segment in segments.Where(path => isGone
            || (SegmentName.TryParse(Path.GetFileName(path), out SegmentName name) && name.Number <= of)))
            lab.Disk.Delete(segment);

        await lab.RequireNotRebuiltAsync<RefusedException>(ErrorCode.ControlFileUnknowable);
    }

    /// <summary>It never made a checkpoint: the WAL has all since it was created.</summary>
    [Fact]
    [MixedCase("X36")]
    public async Task A_database_without_any_checkpoint_is_made_anew_from_the_beginning_of_its_WAL()
    {
        var recovery = new RecoveryLab(33);
        SimulatedDisk left;
        string content;
        await using (PitrDatabase database = await recovery.CreateAsync().WaitAsync(Patience))
        {
            await recovery.CreateTableAsync(database, "orders");
            await database.CreateDatafileAsync("early");
            await recovery.CreateTableAsync(database, "archived", "early");
            await recovery.CommitManyAsync(database, 6);
            left = recovery.Disk.KillCopy();
            content = recovery.Content;
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        left.Delete(MixedLab.Control);
        RebuildPlan plan = await PitrRecovery.RebuildControlFileAsync(Folder, null, RecoveryLab.OptionsOn(left))
            .WaitAsync(Patience);

        Assert.Null(plan.CheckpointRecord);
        Assert.Equal(content, await RecoveryLab.ContentAtAsync(left, Folder));
    }

    /// <summary>
    /// Two branches in one folder: the WAL does not say which was in use. Files of the other one are none of the one that is
    /// named (H14).
    /// </summary>
    [Fact]
    [MixedCase("X37")]
    public async Task Of_two_branches_in_a_folder_the_one_that_is_named_is_taken()
    {
        MixedLab lab = await RecordedAsync();
        InPlaceRecoveryRequest back = lab.Detached(RecoveryTarget.Including(lab.Middle.Lsn)) with { Timeline = "1" };
        await PitrRecovery.RecoverInPlaceAsync(back, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);
        await lab.RequireRecoversAsync(back, lab.Middle.Content);
        lab.Disk.Delete(MixedLab.Control);
        SimulatedDisk left = lab.Disk.KillCopy();

        await lab.RequireNotRebuiltAsync<RefusedException>(ErrorCode.BranchAmbiguous);
        RebuildPlan third = await lab.RebuiltAsync(new TimelineId(3));
        Assert.All(third.Files, file => Assert.Null(file.NeedsRecovery));
        await using (PitrDatabase database = await lab.OpenAsync())
            Assert.Equal("1"u8.ToArray(), database.Get(database.GetTable("orders"), "after"u8.ToArray()));

        RebuildPlan second = await lab.WithDisk(left).RebuiltAsync(new TimelineId(2));
        Assert.Contains(
            "case C6", second.Files.Single(file => file.Name == "main").NeedsRecovery, StringComparison.Ordinal);
    }

    /// <summary>Control file and a datafile are lost: the one is made anew, the other then comes back.</summary>
    [Fact]
    [MixedCase("X38")]
    public async Task A_datafile_that_is_lost_too_needs_recovery_and_comes_back()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        lab.Disk.Delete(Late);

        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.Equal(["late"], plan.Files.Where(file => file.NeedsRecovery is not null).Select(file => file.Name));
        await RecoverAsync(lab, "late");
        await lab.RequireServesAsync(lab.Content, 1);
    }

    /// <summary>Compacted since the checkpoint: nobody knows that incarnation, so it is brought up as a copy (H15, H42).</summary>
    [Fact]
    [MixedCase("X39")]
    public async Task A_file_of_an_incarnation_that_the_checkpoint_does_not_name_needs_recovery_and_is_brought_up_in_place()
    {
        MixedLab lab = await RecordedAsync(isKilled: true, before: async (_, database) =>
            await database.CompactAsync(new CompactRequest { Datafile = "early" }).WaitAsync(Patience));
        lab.Disk.Delete(MixedLab.Control);

        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.Contains("C5", plan.Files.Single(file => file.Name == "early").NeedsRecovery, StringComparison.Ordinal);
        DatafileRecoveryResult result = await RecoverAsync(lab, "early");
        Assert.Null(result.BackupId);
        await lab.RequireServesAsync(lab.Content, 1);
    }

    /// <summary>Moved since the checkpoint: the WAL says where to, and the note of it is not needed.</summary>
    [Theory]
    [MixedCase("X40")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_file_that_was_moved_since_the_checkpoint_is_found_where_it_lies(bool isLinked)
    {
        MixedLab lab = await RecordedAsync(isKilled: true, before: async (recovery, database) =>
        {
            recovery.Disk.CreateFolders("/data2");
            await database.MoveAsync(new MoveRequest
            {
                Datafile = "early",
                Path = "/data2/early.pitr",
                WithoutLink = !isLinked,
            }).WaitAsync(Patience);
        });
        lab.Disk.Delete(MixedLab.Control);

        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.Equal(
            isLinked ? Early : "/data2/early.pitr", plan.Files.Single(file => file.Name == "early").Path);
        await lab.RequireServesAsync(lab.Content, 1);
    }

    /// <summary>A move that did not end has left two files: the one that is behind is left where it is (H19).</summary>
    [Fact]
    [MixedCase("X40")]
    public async Task Of_two_files_of_one_datafile_the_newer_one_is_it()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        lab.Put("/db/moved.pitr", lab.Disk.ReadAll(Early));
        lab.Put(Early, lab.OlderEarly);

        RebuildPlan plan = await lab.RebuiltAsync();

        Assert.Equal("/db/moved.pitr", plan.Files.Single(file => file.Name == "early").Path);
        await lab.RequireServesAsync(lab.Content, 1);
        Assert.Equal(lab.OlderEarly, lab.Disk.ReadAll(Early));
    }

    /// <summary>H7: the WAL lost its end, so that going on would give LSNs twice.</summary>
    [Fact]
    [MixedCase("X41")]
    public async Task A_file_ahead_of_the_WAL_keeps_the_control_file_from_being_made_anew()
    {
        MixedLab lab = await RecordedAsync(isArchived: false);
        byte[] ahead = lab.Disk.ReadAll(Early);
        lab.WithDisk(lab.AtCheckpoint);
        lab.Put(Early, ahead);
        lab.Disk.Delete(MixedLab.Control);

        RefusedException refused = await lab.RequireNotRebuiltAsync<RefusedException>(ErrorCode.WalTooShort);

        Assert.Contains("early", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    [MixedCase("X42")]
    public async Task A_file_of_another_database_keeps_the_control_file_from_being_made_anew()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        lab.Put(Early, await lab.ForeignFileAsync());
        await lab.RequireNotRebuiltAsync<RefusedException>(ErrorCode.ForeignSystem);
    }

    /// <summary>WAL of another database, or of another branch with the same number, lies among its own.</summary>
    [Theory]
    [MixedCase("X42")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Foreign_segments_keep_the_control_file_from_being_made_anew(bool isOfOther)
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        string last = FilesUnder(lab.Disk, "/db/wal")
            .Last(path => SegmentName.TryParse(Path.GetFileName(path), out _));
        SegmentHeader header = SegmentHeader.Read(lab.Disk.ReadAll(last), last);
        byte[] bytes = lab.Disk.ReadAll(last);
        (isOfOther
            ? header with { System = new SystemIdentifier(header.System.Value + 1) }
            : header with { Lineage = new Lineage(header.Lineage.Value + 1) }).Write(bytes);
        lab.Put(last, bytes);
        await lab.RequireNotRebuiltAsync<RefusedException>(
            isOfOther ? ErrorCode.ForeignSystem : ErrorCode.BranchAmbiguous);
    }

    /// <summary>Damage below what followed is told; the end is not taken for an earlier place (H6).</summary>
    [Theory]
    [MixedCase("X43")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WAL_that_is_damaged_or_has_a_hole_is_told(bool isHole)
    {
        MixedLab lab = await RecordedAsync(isKilled: true, before: async (_, database) =>
            await database.SwitchWalAsync().WaitAsync(Patience));
        lab.Disk.Delete(MixedLab.Control);
        WalRun run = WalSurvey.Of(lab.Disk, "/db/wal").LastRuns.Single();
        var geometry = new WalGeometry(16 << 10);
        string SegmentAt(Lsn lsn) => $"/db/wal/{new SegmentName(TimelineId.First, geometry.NumberOf(lsn))}";
        if (isHole)
        {
            Assert.True(geometry.NumberOf(run.To) > geometry.NumberOf(run.Checkpoint!.Lsn), "There is one segment alone.");
            lab.Disk.Delete(SegmentAt(run.Checkpoint!.Lsn));
        }
        else
        {
            lab.Disk.Damage(SegmentAt(run.Checkpoint!.Lsn), geometry.OffsetOf(run.Checkpoint.Lsn) + 8);
        }

        string[] before = lab.Fingerprints();
        PitrException told = await Assert.ThrowsAnyAsync<PitrException>(
            () => PitrRecovery.RebuildControlFileAsync(Folder, null, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience));

        Assert.Contains(
            told.Code,
            new[] { ErrorCode.WalDamaged, ErrorCode.WalGap, ErrorCode.ControlFileUnknowable, ErrorCode.WalTooShort });
        Assert.Equal(before, lab.Fingerprints());
    }

    // ---- parts -------------------------------------------------------------------------------------

    private static async Task<DatafileRecoveryResult> RecoverAsync(MixedLab lab, string datafile)
    {
        await using PitrDatabase database = await lab.OpenAsync();
        DatafileRecoveryResult result = await database
            .RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = datafile }).WaitAsync(Patience);
        await database.ShutdownAsync().WaitAsync(Patience);
        return result;
    }
}
