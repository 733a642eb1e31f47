using Akka.Actor;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>The promises of design §7, and what a checkpoint that fails leaves.</summary>
public sealed class CheckpointTests
{
    [Fact]
    public async Task A_checkpointer_that_dies_answers_whoever_waits_and_another_one_goes_on()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of("main.pitr").Hold();
        Task<CheckpointResult> first = database.CheckpointAsync();
        await gate.Reached.Within();
        Task<CheckpointResult> second = database.CheckpointAsync();
        database.Child("checkpointer").Tell(PoisonPill.Instance);
        await Assert.ThrowsAsync<BugException>(() => first.Within());
        await Assert.ThrowsAsync<BugException>(() => second.Within());
        gate.Release();
        CheckpointResult after = await database.CheckpointAsync().Within();
        Assert.Equal(["main", "other"], after.Flushed);
    }

    [Fact]
    public async Task A_checkpoint_that_meets_another_one_is_answered_by_one_that_began_after_it_was_asked_for()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of("main.pitr").Hold();
        Task<CheckpointResult> first = database.CheckpointAsync();
        await gate.Reached.Within();
        CommitResult late = await database.PutAsync("t", "late", "v");
        Task<CheckpointResult> second = database.CheckpointAsync();
        gate.Release();
        Assert.True((await first.Within()).CheckpointLsn < late.Lsn);
        Assert.True((await second.Within()).CheckpointLsn >= late.Lsn);
    }

    [Fact]
    public async Task A_file_without_changes_is_not_touched_and_is_clean_up_to_the_checkpoint()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        await database.CheckpointAsync().Within();
        await database.PutAsync("t", "k", "w");
        disk.Log.Start();
        CheckpointResult result = await database.CheckpointAsync().Within();
        disk.Log.Stop();
        string done = disk.Log.Text(TestEngine.Folder);
        Assert.Contains("write main.pitr", done, StringComparison.Ordinal);
        Assert.DoesNotContain("other.pitr", done, StringComparison.Ordinal);
        Assert.Equal(result.CheckpointLsn, result.RedoLsn);
    }

    [Fact]
    public async Task A_fenced_file_is_skipped_and_holds_the_redo_point_back_until_it_is_flushed()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        await database.CheckpointAsync().Within();
        FenceGrant fence = await database.FenceAsync("other", TimeSpan.FromMinutes(5), "copy").Within();
        await database.PutAsync("u", "k", "w");
        CommitResult last = await database.PutAsync("t", "k", "w");

        CheckpointResult result = await database.CheckpointAsync().Within();
        Assert.Equal(["main"], result.Flushed);
        Assert.Equal(["other"], result.Skipped);
        Assert.True(result.RedoLsn <= fence.CheckpointLsn);
        Assert.True(result.CheckpointLsn >= last.Lsn);

        await database.UnfenceAsync("other").Within();
        result = await database.CheckpointAsync().Within();
        Assert.Empty(result.Skipped);
        Assert.Equal(result.CheckpointLsn, result.RedoLsn);
    }

    /// <summary>H24</summary>
    [Fact]
    public async Task A_file_that_went_offline_is_skipped_and_keeps_its_WAL()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        CheckpointResult before = await database.CheckpointAsync().Within();
        CommitResult kept = await database.PutAsync("u", "k", "kept");
        disk.Faults.On(FileOp.SyncData).Of("other.pitr").Fail(Errno.EIO);
        CheckpointResult result = await database.CheckpointAsync().Within();
        Assert.Equal(["other"], result.Skipped);

        await database.PutAsync("t", "k", "more");
        result = await database.CheckpointAsync().Within();
        Assert.Equal(["main"], result.Flushed);
        Assert.Equal(["other"], result.Skipped);
        Assert.True(result.RedoLsn < kept.Lsn, $"{result.RedoLsn} has passed {kept.Lsn}");
        Assert.True(result.RedoLsn >= before.RedoLsn);
        Assert.Equal("kept", database.Get("u", "k"));
        await Assert.ThrowsAsync<RefusedException>(() => database.PutAsync("u", "k", "refused"));
        await database.ShutdownAsync().Within();

        await using PitrDatabase after = await TestEngine.OpenAsync(disk);
        Assert.Equal("kept", after.Get("u", "k"));
    }

    /// <summary>H24: nobody breaks a fence of his, so the bound on kept WAL is the operator's choice.</summary>
    [Theory]
    [InlineData(KeptWalChoice.RefuseCommits)]
    [InlineData(KeptWalChoice.GiveFileUp)]
    public async Task Past_the_bound_on_kept_WAL_commits_are_refused_or_the_file_that_went_offline_is_given_up(
        KeptWalChoice choice)
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(
            disk, options => time.In(options) with { FencedWalBytesMax = 300_000, KeptWalChoice = choice });
        await database.CheckpointAsync().Within();
        CommitResult kept = await database.PutAsync("u", "k", "kept");
        disk.Faults.On(FileOp.SyncData).Of("other.pitr").Fail(Errno.EIO);
        Assert.True((await database.CheckpointAsync().Within()).RedoLsn < kept.Lsn);
        time.Advance(TimeSpan.FromSeconds(1));
        for (int i = 0; i < 4; i++)
            await database.PutAsync(database.GetTable("t"), TestEngine.Bytes("large"), new byte[100_000]).Within();
        time.Advance(TimeSpan.FromSeconds(1));
        if (choice == KeptWalChoice.RefuseCommits)
        {
            await TestEngine.Until(() => database.Engine.WalKept is not null, "the bound is met");
            RefusedException refused =
                await Assert.ThrowsAsync<RefusedException>(() => database.PutAsync("t", "k", "refused"));
            Assert.Equal(ErrorCode.WalKept, refused.Code);
            Assert.True((await database.CheckpointAsync().Within()).RedoLsn < kept.Lsn);
        }
        else
        {
            CheckpointResult after = await database.CheckpointAsync().Within();
            Assert.Equal(after.CheckpointLsn, after.RedoLsn);
            await database.PutAsync("t", "k", "goes on");
        }

        Assert.Equal("kept", database.Get("u", "k"));
        await database.ShutdownAsync().Within();

        await using PitrDatabase again = await TestEngine.OpenAsync(disk);
        if (choice == KeptWalChoice.RefuseCommits)
        {
            Assert.Equal("kept", again.Get("u", "k")); // it was replayed
            await again.PutAsync("t", "k", "taken again");
        }
        else
        {
            Assert.Equal("goes on", again.Get("t", "k"));
            RefusedException lost = Assert.Throws<RefusedException>(() => again.Get("u", "k"));
            Assert.Equal(ErrorCode.DatafileNeedsRecovery, lost.Code);
            Assert.Contains("bytes of WAL are kept", lost.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Its buffers serve its readers until the end; those of the others have the limit to themselves.</summary>
    [Fact]
    public async Task Commits_to_the_others_do_not_wait_for_what_an_offline_file_buffers()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(
            disk, options => options with { WriteBufferBytesMax = 4 << 20 });
        disk.Faults.On(FileOp.SyncData).Of("other.pitr").Fail(Errno.EIO);
        await database.PutAsync(database.GetTable("u"), TestEngine.Bytes("large"), new byte[6 << 20]).Within();
        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);

        Assert.True(database.Engine.Slots.BufferedBytes < 2 << 20);
        await database.PutAsync("t", "k", "goes on");
        Assert.Equal("goes on", database.Get("t", "k"));
        Assert.Equal(6 << 20, database.Get(database.GetTable("u"), TestEngine.Bytes("large"))!.Length);
    }

    /// <summary>H24</summary>
    [Fact]
    public async Task A_file_that_needs_recovery_is_skipped_and_keeps_its_WAL()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        Lsn kept;
        await using (PitrDatabase before = await WithTwoFiles(disk))
        {
            kept = (await before.CheckpointAsync().Within()).RedoLsn;
            await before.ShutdownAsync().Within();
        }

        disk.Delete(TestEngine.Folder + "/other.pitr");
        await using PitrDatabase database = await TestEngine.OpenAsync(disk);
        await database.PutAsync("t", "k", "w");
        CheckpointResult result = await database.CheckpointAsync().Within();
        Assert.Equal(["main"], result.Flushed);
        Assert.Equal(["other"], result.Skipped);
        Assert.True(result.RedoLsn < result.CheckpointLsn);
        Assert.True(result.RedoLsn >= kept);
    }

    [Fact]
    public async Task A_full_disk_in_a_flush_drops_it_commits_go_on_and_a_later_one_completes()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        disk.Faults.On(FileOp.Write).Of("main.pitr").Full();
        CheckpointResult result = await database.CheckpointAsync().Within();
        Assert.Equal(["main"], result.Skipped);
        await database.PutAsync("t", "k", "goes on");
        result = await database.CheckpointAsync().Within();
        Assert.Empty(result.Skipped);
        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(7));
        Assert.Equal("goes on", after.Get("t", "k"));
    }

    /// <summary>A checkpoint brings none of it into the file: one after the other would be in vain.</summary>
    [Fact]
    public async Task What_a_fenced_file_buffers_asks_for_no_checkpoint()
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(
            disk, options => time.In(options) with { WriteBufferBytesMax = 4 << 20 });
        await using var end = new ForcedEnd(database);
        await database.CheckpointAsync().Within();
        await database.FenceAsync("other", TimeSpan.FromHours(1)).Within();
        await database.PutAsync(database.GetTable("u"), TestEngine.Bytes("large"), new byte[5 << 19]).Within();
        Assert.InRange(database.Engine.Slots.BufferedBytes, 2 << 20, 3 << 20);

        disk.Log.Start();
        for (int second = 0; second < 5; second++)
            time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped); // the looks came before it
        disk.Log.Stop();
        Assert.Single(disk.Log.Operations, operation => operation.Op == FileOp.Rename
            && operation.Path.Contains("pitr.control", StringComparison.Ordinal));
    }

    private static async Task<PitrDatabase> WithTwoFiles(
        SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await TestEngine.CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("u", "other").Within();
        await database.PutAsync("t", "k", "v");
        await database.PutAsync("u", "k", "v");
        return database;
    }
}
