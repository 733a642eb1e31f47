using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// What a fence promises of the file, of commits, of checkpoints and of a crash (design §5, promises 1 to 4, 7).
/// </summary>
public sealed class FencePromiseTests
{
    private const string MainFile = Folder + "/main.pitr";
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    /// <summary>
    /// Promise 1, I6: no write, truncation, sync or rename reaches the file, whatever the engine does.
    /// </summary>
    [Fact]
    public async Task Between_Fenced_and_Unfenced_not_one_byte_nor_the_length_of_the_file_changes()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        byte[] then = disk.ReadAll(MainFile);
        Assert.Equal(grant.LengthBytes, then.Length);

        disk.Log.Start();
        await PutManyAsync(database, "t", 50);
        await database.DropTableAsync("gone").Within();
        await database.CheckpointAsync().Within();
        await PutManyAsync(database, "t", 50);
        await database.CheckpointAsync().Within();
        LoggedOperation[] meanwhile = [.. disk.Log.Operations];
        disk.Log.Stop();

        Assert.NotEmpty(meanwhile);
        Assert.DoesNotContain(meanwhile, operation => operation.Path.Contains("main.pitr", StringComparison.Ordinal));
        Assert.Equal(then, disk.ReadAll(MainFile));
        await database.UnfenceAsync(grant.FenceId).Within();
        Assert.NotEqual(then, disk.ReadAll(MainFile));
    }

    /// <summary>Promise 1, H13: the answer comes only after a flush that was under way has ended.</summary>
    [Fact]
    public async Task A_fence_that_is_asked_for_during_a_flush_is_granted_when_the_flush_has_ended()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        using HeldSync gate = HoldSync(disk);
        await database.PutAsync("t", "k", "flushing");
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await gate.Reached.Within();
        Task<FenceGrant> asked = database.FenceAsync("main", Lease);
        await database.PutAsync("t", "k", "behind the fence"); // its group passed the datafile after the request

        Assert.False(asked.IsCompleted);
        gate.Release();
        FenceGrant grant = await asked.Within();
        await checkpoint.Within();
        Assert.Equal(grant.CheckpointLsn, Datafile.Inspect(disk, MainFile).CheckpointLsn);
    }

    /// <summary>Promise 3: a barrier that meets the last one out's flush, with nothing newer for the file.</summary>
    [Fact]
    public async Task A_checkpoint_that_meets_a_flush_and_nothing_newer_for_the_file_ends_with_the_flush()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        await database.PutAsync("t", "k", "v");
        using HeldSync gate = HoldSync(disk);
        Task<UnfenceResult> unfence = database.UnfenceAsync(grant.FenceId);
        await gate.Reached.Within();
        CommitResult last = await database.PutAsync("o", "k", "v");
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await UntilAsync(database, "other", file => file.CheckpointLsn >= last.Lsn); // the barrier has passed all files

        gate.Release();
        await unfence.Within();
        Assert.Equal(["main", "other"], (await checkpoint.Within()).Flushed);
    }

    /// <summary>
    /// Promise 1: the copy is a valid datafile, with everything up to its checkpoint LSN and nothing above.
    /// </summary>
    [Fact]
    public async Task A_copy_taken_while_fenced_is_a_datafile_as_of_its_checkpoint_LSN()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.CheckpointAsync().Within();
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        await database.PutAsync("t", "k0001", "above");
        await database.PutAsync("t", "new", "above");
        byte[] copy = disk.ReadAll(grant.Path);
        await database.UnfenceAsync(grant.FenceId).Within();

        SimulatedDisk other = NewDisk(2);
        using (IFileHandle handle = other.Open("/copy.pitr", FileOpen.CreateNew))
            handle.Write(0, copy);
        DatafileEnvironment environment = EngineFactory.ContextFor("/", OptionsFor(other)).Environment;
        DatafileReport report = DatafileCheck.Run(environment, "/copy.pitr");
        Assert.Empty(report.Problems);
        Assert.Equal(grant.CheckpointLsn, report.Meta.CheckpointLsn);
        using Datafile opened = Datafile.Open(
            environment, "/copy.pitr", "copy", new DatafileExpectation(database.SystemId, FileId.Main));
        Assert.Equal("v", ValueIn(environment, opened, database.GetTable("t"), "k0001"));
        Assert.Null(ValueIn(environment, opened, database.GetTable("t"), "new"));
    }

    /// <summary>I7: the copy and the WAL from its LSN are the database.</summary>
    [Fact]
    public async Task A_copy_taken_while_fenced_and_the_WAL_from_its_LSN_equal_the_oracle()
    {
        SimulatedDisk disk = NewDisk();
        var lab = new RecoveryLab { Disk = disk };
        await using PitrDatabase database = await CreateAsync(disk);
        await using var end = new ForcedEnd(database);
        await lab.CreateTableAsync(database, "t");
        await lab.CreateTableAsync(database, "u");
        await lab.CommitManyAsync(database, 30);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        await lab.CommitManyAsync(database, 10);
        byte[] copy = disk.ReadAll(grant.Path);
        await lab.DropTableAsync(database, "u");
        await database.CheckpointAsync().Within();
        await lab.CommitManyAsync(database, 10);

        // The machine burns down before the unfence: what is left is the copy, the control file and the WAL.
        SimulatedDisk left = disk.CrashCopy(3);
        left.Delete(grant.Path);
        using (IFileHandle handle = left.Open(grant.Path, FileOpen.CreateNew))
            handle.Write(0, copy);
        await using PitrDatabase after = await OpenAsync(left);
        Assert.Equal(lab.Content, RecoveryLab.ContentOf(after));
    }

    /// <summary>H22: the file's own meta page is as new as what the control file says of it.</summary>
    [Fact]
    public async Task A_fence_brings_the_meta_page_of_an_idle_file_up_to_date()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("idle").Within();
        await PutManyAsync(database, "t", 20);
        CheckpointResult checkpoint = await database.CheckpointAsync().Within();

        FenceGrant grant = await database.FenceAsync("idle", Lease).Within();
        Assert.True(grant.CheckpointLsn >= checkpoint.CheckpointLsn, $"{grant.CheckpointLsn} is old.");
        Assert.Equal(grant.CheckpointLsn, Datafile.Inspect(disk.CrashCopy(1), grant.Path).CheckpointLsn);
    }

    /// <summary>H22: also if what was replayed into it since still waits for its flush.</summary>
    [Fact]
    public async Task A_fence_after_a_crash_brings_the_meta_page_of_a_file_that_had_been_idle_up_to_date()
    {
        SimulatedDisk disk = NewDisk();
        CheckpointResult checkpoint;
        SimulatedDisk left;
        await using (PitrDatabase database = await StartedAsync(disk))
        {
            await database.CreateDatafileAsync("idle").Within();
            await database.CreateTableAsync("i", "idle").Within();
            await PutManyAsync(database, "t", 20);
            checkpoint = await database.CheckpointAsync().Within();
            await PutManyAsync(database, "i", 20);
            left = disk.CrashCopy(1);
        }

        await using PitrDatabase again = await OpenAsync(left);
        await using var end = new ForcedEnd(again);
        FenceGrant grant = await again.FenceAsync("idle", Lease).Within();
        Assert.True(grant.CheckpointLsn >= checkpoint.RedoLsn, $"{grant.CheckpointLsn} is old.");
        Assert.Equal(grant.CheckpointLsn, Datafile.Inspect(left.CrashCopy(1), grant.Path).CheckpointLsn);
        await again.UnfenceAsync(grant.FenceId).Within();
        Assert.Equal(20, again.Count(again.GetTable("i")));
    }

    /// <summary>H16: what the control file names when Fenced is answered is the file as it is copied.</summary>
    [Fact]
    public async Task The_control_file_knows_the_generation_before_a_fence_is_granted()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();

        SimulatedDisk left = disk.CrashCopy(1);
        MetaPage meta = Datafile.Inspect(left, grant.Path);
        CatalogueFile noted = new ControlFileStore(left, Folder).ReadLive().Catalogue.File(FileId.Main)!;
        Assert.Equal((meta.Generation, meta.Incarnation, meta.CheckpointLsn),
            (noted.Generation, noted.Incarnation, noted.CheckpointLsn));
    }

    /// <summary>Promise 2.</summary>
    [Fact]
    public async Task Commits_and_reads_of_a_fenced_file_go_on()
    {
        await using PitrDatabase database = await StartedAsync(NewDisk());
        await using var end = new ForcedEnd(database);
        await database.FenceAsync("main", Lease).Within();
        for (int i = 0; i < 200; i++)
        {
            await database.PutAsync("t", $"f{i}", $"{i}");
            Assert.Equal($"{i}", database.Get("t", $"f{i}"));
        }

        Assert.Equal(300, database.Count(database.GetTable("t")));
    }

    /// <summary>H45, promises 2 and 8: what memory has no room for is spilled beside the files, and read from there.</summary>
    [Fact]
    public async Task Commits_go_on_far_beyond_what_memory_holds_of_fenced_files()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(
            disk, options => options with { WriteBufferBytesMax = 4 << 20 });
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        FenceGrant main = await database.FenceAsync("main", Lease).Within();
        FenceGrant other = await database.FenceAsync("other", Lease).Within();
        byte[] files = [.. disk.ReadAll(main.Path), .. disk.ReadAll(other.Path)];
        for (int i = 0; i < 120; i++)
        {
            Table table = database.GetTable(i % 3 == 0 ? "t" : "o");
            await database.PutAsync(table, Bytes($"large{i}"), Large(i)).Within();
            if (i % 5 == 4)
                await database.DeleteAsync(database.GetTable((i - 4) % 3 == 0 ? "t" : "o"), Bytes($"large{i - 4}")).Within();
            Assert.True(database.Engine.Slots.FencedBytes < 3 << 20, "Memory is not bounded.");
        }

        RequireLarge(database);
        byte[] still = [.. disk.ReadAll(main.Path), .. disk.ReadAll(other.Path)];
        Assert.Equal(files, still);
        Assert.Equal(["main", "other"], (await database.CheckpointAsync().Within()).Skipped.Order());
        await using (PitrDatabase left = await OpenAsync(disk.CrashCopy(3)))
            RequireLarge(left); // promise 7: from the WAL, since a spill is nothing after a crash
        Assert.Equal(0, (await database.UnfenceAsync(other.FenceId).Within()).HoldersRemaining);
        Assert.Equal(0, (await database.UnfenceAsync(main.FenceId).Within()).HoldersRemaining);
        RequireLarge(database);
        await database.ShutdownAsync().Within();
        await TestDatabase.NothingIsOpenAsync(disk);
        await using PitrDatabase after = await OpenAsync(disk);
        RequireLarge(after);
    }

    /// <summary>Promises 2 and 8: without a place to spill to, commits still do not wait for the end of a fence.</summary>
    [Fact]
    public async Task A_fenced_file_that_can_not_spill_loses_its_fence_before_commits_have_to_wait()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(
            disk, options => options with { WriteBufferBytesMax = 4 << 20 });
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        FenceGrant main = await database.FenceAsync("main", Lease).Within();
        FenceGrant other = await database.FenceAsync("other", Lease).Within();
        disk.Faults.On(FileOp.Create).Of(".spill").Always().Fail(Errno.EROFS);
        for (int i = 0; i < 60; i++)
        {
            Table table = database.GetTable(i % 3 == 0 ? "t" : "o");
            await database.PutAsync(table, Bytes($"large{i}"), new byte[100_000]).Within();
        }

        RefusedException broken =
            await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(other.FenceId).Within());
        Assert.Equal(ErrorCode.FenceBroken, broken.Code);
        Assert.Contains("memory", broken.Message, StringComparison.Ordinal);
        Assert.Equal(0, (await database.UnfenceAsync(main.FenceId).Within()).HoldersRemaining);
    }

    /// <summary>H13, H45: the flush after a fence waits for the worker of a spill; who asked for it is answered.</summary>
    [Fact]
    public async Task An_unfence_while_changes_are_being_spilled_is_answered_when_the_flush_is_durable()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(
            disk, options => options with { WriteBufferBytesMax = 4 << 20 });
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".spill").Hold();
        using var held = new HeldSync(gate);
        int next = 0;
        while (!held.Reached.IsCompleted)
            await database.PutAsync(database.GetTable("t"), Bytes($"large{next}"), Large(next++)).Within();
        CommitResult last = await database.PutAsync("t", "k", "v");
        Task<UnfenceResult> unfence = database.UnfenceAsync(grant.FenceId);
        Assert.Equal("flushing", (await FileAsync(database, "main")).State);
        Assert.False(unfence.IsCompleted);
        held.Release();
        Assert.True((await unfence.Within()).FlushedLsn >= last.Lsn);
        for (int i = 0; i < next; i++)
            Assert.Equal(Large(i), database.Get(database.GetTable("t"), Bytes($"large{i}")));
    }

    /// <summary>Promise 3: what a fenced file needs is kept, here over several segments.</summary>
    [Fact]
    public async Task A_checkpoint_completes_while_a_file_is_fenced_and_keeps_the_WAL_that_it_needs()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        string first = disk.List(Folder + "/wal")[0];
        for (int i = 0; i < 60; i++)
            await database.PutAsync("t", $"big{i}", new string('x', 4000));
        await database.PutAsync("o", "k", "v");

        CheckpointResult checkpoint = await database.CheckpointAsync().Within();
        Assert.Equal(["main"], checkpoint.Skipped);
        Assert.Equal(["other"], checkpoint.Flushed);
        Assert.True(checkpoint.RedoLsn <= grant.CheckpointLsn,
            $"Redo point {checkpoint.RedoLsn} passed {grant.CheckpointLsn}.");
        Assert.True(disk.List(Folder + "/wal").Count > 3, "The log is too short to show anything.");
        Assert.Contains(first, disk.List(Folder + "/wal"));

        await database.UnfenceAsync(grant.FenceId).Within();
        checkpoint = await database.CheckpointAsync().Within();
        Assert.Empty(checkpoint.Skipped);
        Assert.True(checkpoint.RedoLsn > grant.CheckpointLsn, "The redo point stayed.");
    }

    /// <summary>Promise 4.</summary>
    [Fact]
    public async Task Who_leaves_while_others_stay_is_answered_at_once_and_the_last_one_out_when_the_flush_is_durable()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant one = await database.FenceAsync("main", Lease).Within();
        FenceGrant two = await database.FenceAsync("main", Lease).Within();
        CommitResult last = await database.PutAsync("t", "k", "v");
        byte[] then = disk.ReadAll(MainFile);

        UnfenceResult left = await database.UnfenceAsync(one.FenceId).Within();
        Assert.Equal((one.CheckpointLsn, 1), (left.FlushedLsn, left.HoldersRemaining));
        Assert.Equal(then, disk.ReadAll(MainFile));

        left = await database.UnfenceAsync(two.FenceId).Within();
        Assert.Equal(0, left.HoldersRemaining);
        Assert.True(left.FlushedLsn >= last.Lsn, "It was answered before the flush.");
        Assert.Equal(left.FlushedLsn, Datafile.Inspect(disk.CrashCopy(1), MainFile).CheckpointLsn);
    }

    /// <summary>Promise 7.</summary>
    [Fact]
    public async Task A_crash_while_fenced_loses_nothing_and_leaves_no_fence()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        await PutManyAsync(database, "t", 30, "after");
        await database.CheckpointAsync().Within();
        await database.PutAsync("t", "last", "one");

        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(5));
        Assert.Equal("after", after.Get("t", "k0029"));
        Assert.Equal("v", after.Get("t", "k0099"));
        Assert.Equal("one", after.Get("t", "last"));
        Assert.Empty((await after.GetStatusAsync().Within()).Datafiles.Single().Fences);
        RefusedException refused =
            await Assert.ThrowsAsync<RefusedException>(() => after.UnfenceAsync(grant.FenceId).Within());
        Assert.Equal(ErrorCode.FenceUnknown, refused.Code);
    }

    internal static HeldSync HoldSync(SimulatedDisk disk) =>
        new(disk.Faults.On(FileOp.SyncData).Of("main.pitr").Hold());

    /// <summary>A database with a hundred rows in table t, and an empty table gone.</summary>
    internal static async Task<PitrDatabase> StartedAsync(
        SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateTableAsync("gone").Within();
        await PutManyAsync(database, "t", 100);
        return database;
    }

    internal static async Task PutManyAsync(PitrDatabase database, string table, int count, string value = "v")
    {
        var batch = new WriteBatch();
        for (int i = 0; i < count; i++)
            batch.Put(database.GetTable(table), Bytes($"k{i:D4}"), Bytes(value));
        await database.CommitAsync(batch).Within();
    }

    private static string? ValueIn(DatafileEnvironment environment, Datafile file, Table table, string key)
    {
        using EpochGuard guard = environment.Epochs.Enter();
        byte[] treeKey = TreeKey.Of(table.Id, Bytes(key));
        return Reading.Get(file.View, treeKey, Lsn.MaxValue) is { } value ? System.Text.Encoding.ASCII.GetString(value)
            : null;
    }

    private static byte[] Large(int number)
    {
        byte[] value = new byte[100_000];
        value.AsSpan().Fill((byte)number);
        return value;
    }

    /// <summary>Of 120 large rows each fifth was deleted again.</summary>
    private static void RequireLarge(PitrDatabase database)
    {
        for (int i = 0; i < 120; i++)
        {
            byte[]? found = database.Get(database.GetTable(i % 3 == 0 ? "t" : "o"), Bytes($"large{i}"));
            Assert.Equal(i % 5 == 0 ? null : Large(i), found);
        }
    }
}
