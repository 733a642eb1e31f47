using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>The former file of a move is cut in steps if it is large, has no name any more, and nobody reads it.</summary>
public sealed partial class MoveTests
{
    /// <summary>DM4: nobody waits for the disk to take 40 MiB back; an orderly end ends it after the step under way.</summary>
    [Fact]
    public async Task A_move_has_ended_and_the_next_one_may_begin_while_the_former_files_room_is_given_back()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        FaultGate cutting = disk.Faults.On(FileOp.SetLength).Of("/db/b.pitr").Nth(2).Hold(); // the first makes it large
        using var cut = new HeldSync(cutting);
        Task<MoveResult> move = await MovedWhenLargeAsync(disk, database);
        Assert.Equal(Target, (await move.Within()).To);
        await cut.Reached.Within();
        Assert.Equal("/data3/b.pitr", (await database.MoveAsync(To("/data3/b.pitr")).Within()).To);
        Assert.Equal("put", database.Get("b", "while it was copied"));

        Task shutdown = database.ShutdownAsync();
        await Until(() => HasClosed(disk), "all else has ended");
        Assert.False(shutdown.IsCompleted);
        cut.Release();
        await shutdown.Within();
        Assert.Equal([24L << 20], CutsOf(disk, "/db/b.pitr"));
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>H41: what is cut under a reader looks damaged to him.</summary>
    [Fact]
    public async Task The_former_file_is_cut_in_steps_when_its_last_reader_has_left()
    {
        SimulatedDisk disk = WithFolders();
        PitrOptions options = OptionsFor(disk);
        using DatafileEnvironment memory = EngineFactory.EnvironmentFor(options);
        await using (PitrDatabase database = await StartedAsync(disk, given => given with { Environment = memory }))
        {
            using (EpochHold reader = memory.Epochs.Hold())
            {
                await (await MovedWhenLargeAsync(disk, database)).Within();
                memory.Epochs.Collect();
                await database.GetStatusAsync().Within();
                Assert.Empty(CutsOf(disk, "/db/b.pitr"));
            }

            memory.Epochs.CollectSoon();
            await Until(() => CutsOf(disk, "/db/b.pitr").Length == 2, "its room is given back");
            Assert.Equal([24L << 20, 8L << 20], CutsOf(disk, "/db/b.pitr"));
            await Until(() => !disk.OpenHandlePaths.Contains("/db/b.pitr"), "it is closed");
            await database.ShutdownAsync().Within();
        }

        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>What a later move leaves has a name until the mover removes it.</summary>
    [Fact]
    public async Task The_file_that_a_later_move_leaves_over_is_cut_in_steps_too()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await database.MoveAsync(To(Target)).Within();
        await (await MovedWhenLargeAsync(disk, database, Target, "/data3/b.pitr")).Within();
        await Until(() => CutsOf(disk, Target).Length == 2, "its room is given back");
        Assert.Equal([24L << 20, 8L << 20], CutsOf(disk, Target));
        await database.ShutdownAsync().Within();
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>GR1: a hard link is as good a copy as any; it may be made in the last moment.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_former_file_that_somebody_has_given_another_name_is_not_cut(bool isLate)
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        using var held = new HeldSync(disk.Faults.On(FileOp.Rename).Of("b.pitr.moving").Hold());
        if (!isLate)
            disk.Link("/db/b.pitr", "/data3/kept");
        Task<MoveResult> move = await MovedWhenLargeAsync(disk, database);
        await held.Reached.Within();
        if (isLate)
            disk.Link("/db/b.pitr", "/data3/kept");
        held.Release();
        await move.Within();
        await database.ShutdownAsync().Within();
        Assert.Empty(CutsOf(disk, "/db/b.pitr"));
        Assert.Equal(40L << 20, disk.Stat("/data3/kept")!.LengthBytes);
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>Without a control file that names the winner nothing of the former file is touched.</summary>
    [Fact]
    public async Task A_former_file_is_not_cut_if_the_control_file_could_not_say_that_it_is_one()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        using var held = new HeldSync(disk.Faults.On(FileOp.Rename).Of("b.pitr.moving").Hold());
        Task<MoveResult> move = await MovedWhenLargeAsync(disk, database);
        await held.Reached.Within();
        disk.Faults.On(FileOp.Write).Of("pitr.control").Full();
        held.Release();
        Assert.Equal(Target, (await move.Within()).To);
        Assert.Empty(CutsOf(disk, "/db/b.pitr"));
        await Until(() => !disk.OpenHandlePaths.Contains("/db/b.pitr"), "it is closed");
        await database.ShutdownAsync().Within();
        Assert.Empty(CutsOf(disk, "/db/b.pitr"));
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>It comes to whoever gives room back when the engine ends already: it is closed, and the end waits for that.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_former_file_that_is_read_until_the_engine_ends_is_closed(bool isForced)
    {
        SimulatedDisk disk = WithFolders();
        PitrOptions options = OptionsFor(disk);
        using DatafileEnvironment memory = EngineFactory.EnvironmentFor(options);
        await using (PitrDatabase database = await StartedAsync(disk, given => given with { Environment = memory }))
        {
            EpochHold reader = memory.Epochs.Hold();
            await (await MovedWhenLargeAsync(disk, database)).Within();
            Task shutdown = database.ShutdownAsync(isForced);
            await Until(() => HasClosed(disk), "all but the datafiles has ended");
            Assert.Empty(CutsOf(disk, "/db/b.pitr"));
            reader.Dispose();
            await shutdown.Within();
            Assert.DoesNotContain("/db/b.pitr", disk.OpenHandlePaths);
        }

        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>
    /// A move that goes on by itself, of a file that is 40 MiB long, most of it room behind its last page; one row comes in
    /// while it is copied.
    /// </summary>
    private static async Task<Task<MoveResult>> MovedWhenLargeAsync(
        SimulatedDisk disk, PitrDatabase database, string from = "/db/b.pitr", string to = Target)
    {
        using var held = new HeldSync(disk.Faults.On(FileOp.Write).Of(to).Nth(3).Hold());
        Task<MoveResult> move = database.MoveAsync(To(to));
        await held.Reached.Within();
        MakeLarge(disk, from);
        await database.PutAsync("b", "while it was copied", "put");
        return move;
    }

    /// <summary>40 MiB long; from here on <see cref="CutsOf"/> tells what becomes of it.</summary>
    internal static void MakeLarge(SimulatedDisk disk, string path)
    {
        using (IFileHandle file = disk.Open(path, FileOpen.ReadWrite))
            file.SetLength(40L << 20);
        disk.Log.Start();
    }

    internal static long[] CutsOf(SimulatedDisk disk, string path) => [.. disk.Log.Operations.ToArray()
        .Where(done => done.Op == FileOp.SetLength && done.Path == path && done.Offset >= 8L << 20)
        .Select(done => done.Offset)];

    private static bool HasClosed(SimulatedDisk disk) =>
        new ControlFileStore(disk, Folder).ReadLive().State == EngineState.CleanShutdown;
}
