using Akka.Actor;
using Akka.TestKit.Xunit2;
using Pitr.Actors;
using Pitr.Simulation;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Tests.FencePromiseTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>How a fence ends, and who does not get one (design §5, promises 5, 6, 9).</summary>
public sealed class FenceLifeTests
{
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    /// <summary>Promise 6: a holder that is presumed dead cannot certify its copy.</summary>
    [Fact]
    public async Task A_lease_that_ends_breaks_the_fence_and_its_token_certifies_nothing()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await StartedAsync(NewDisk(), time.In);
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        CommitResult last = await database.PutAsync("t", "k", "v");
        Assert.Equal(time.Clock.GetUtcNow() + Lease, grant.Until);

        time.Advance(Lease - TimeSpan.FromSeconds(1));
        Assert.Equal("fenced", (await FileAsync(database, "main")).State);
        time.Advance(TimeSpan.FromSeconds(1));
        RefusedException broken =
            await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(grant.FenceId).Within());

        Assert.Equal(ErrorCode.FenceBroken, broken.Code);
        Assert.Contains("lease", broken.Message, StringComparison.Ordinal);
        broken =
            await Assert.ThrowsAsync<RefusedException>(() => database.RenewFenceAsync(grant.FenceId, Lease).Within());
        Assert.Equal(ErrorCode.FenceBroken, broken.Code);
        await UntilAsync(database, "main", file => file.Fences.Count == 0 && file.CheckpointLsn >= last.Lsn);
    }

    /// <summary>Promise 6.</summary>
    [Fact]
    public async Task A_renewed_lease_ends_later()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await StartedAsync(NewDisk(), time.In);
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        time.Advance(Lease / 2);
        Assert.Equal(time.Clock.GetUtcNow() + Lease, await database.RenewFenceAsync(grant.FenceId, Lease).Within());
        time.Advance(Lease - TimeSpan.FromSeconds(1)); // beyond the first lease
        Assert.Single((await FileAsync(database, "main")).Fences);

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => database.RenewFenceAsync(grant.FenceId, TimeSpan.FromHours(25)).Within());
        Assert.Equal(ErrorCode.LeaseOutOfRange, refused.Code);
        Assert.Equal(0, (await database.UnfenceAsync(grant.FenceId).Within()).HoldersRemaining);
    }

    /// <summary>Promise 6: the actor watches its holder; he is told nothing, but his token is void.</summary>
    [Fact]
    public async Task A_fence_does_not_outlive_its_holder()
    {
        await using PitrDatabase database = await StartedAsync(NewDisk());
        await using var end = new ForcedEnd(database);
        IActorRef holder = database.System.ActorOf(Props.Create(() => new BlackHoleActor()));
        Fenced mine = await database.Actors.Supervisor.Ask<Fenced>(new Fence("main", holder, "me", "test", Lease))
            .Within();
        FenceGrant other = await database.FenceAsync("main", Lease).Within();

        database.System.Stop(holder);
        await UntilAsync(database, "main", file => file.Fences.Count == 1);
        Assert.Equal("fenced", (await FileAsync(database, "main")).State);
        FenceBroken broken = await database.Actors.Supervisor.Ask<FenceBroken>(new Unfence(mine.Token)).Within();
        Assert.Equal(ErrorCode.FenceBroken, broken.Why.Code);
        Assert.Equal(0, (await database.UnfenceAsync(other.FenceId).Within()).HoldersRemaining);
    }

    /// <summary>Promise 6, as an application's actor sees it.</summary>
    [Fact]
    public async Task A_fence_that_is_taken_for_an_actor_ends_with_it_and_it_is_told_of_any_other_end()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await StartedAsync(NewDisk(), time.In);
        await using var end = new ForcedEnd(database);
        var mine = new RemoteInbox(time.System);
        var other = new RemoteInbox(time.System);
        FenceGrant first = await database.FenceAsync("main", Lease, "a copy", mine.Ref).Within();
        FenceGrant second = await database.FenceAsync("main", Lease * 2, "another", other.Ref).Within();
        Assert.Contains(
            (await FileAsync(database, "main")).Fences, fence => fence.Holder == mine.Ref.Path.ToString());

        time.Advance(Lease);
        var broken = Assert.IsType<BrokenFence>(await mine.NextAsync());
        Assert.Equal(
            (first.FenceId, "main", ErrorCode.FenceBroken), (broken.FenceId, broken.Datafile, broken.Why.Code));
        Assert.Equal("fenced", (await FileAsync(database, "main")).State);

        time.System.Stop(other.Ref);
        await UntilAsync(database, "main", file => file.Fences.Count == 0);
        Assert.Equal(
            ErrorCode.FenceBroken,
            (await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(second.FenceId).Within())).Code);
    }

    /// <summary>Promise 5.</summary>
    [Fact]
    public async Task Shutdown_waits_for_a_held_fence_and_refuses_new_ones()
    {
        SimulatedDisk disk = NewDisk();
        PitrDatabase database = await StartedAsync(disk);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        Task shutdown = database.ShutdownAsync();

        RefusedException refused =
            await Assert.ThrowsAsync<RefusedException>(() => database.FenceAsync("main", Lease).Within());
        Assert.Equal(ErrorCode.ShuttingDown, refused.Code);
        await database.PutAsync("t", "k", "while it waits");
        Assert.False(shutdown.IsCompleted);
        Assert.Equal(0, (await database.UnfenceAsync(grant.FenceId).Within()).HoldersRemaining);
        await shutdown.Within();

        await using PitrDatabase after = await OpenAsync(disk);
        Assert.Equal("while it waits", after.Get("t", "k"));
    }

    /// <summary>Promise 5: the holder hears that his copy is void.</summary>
    [Fact]
    public async Task A_forced_shutdown_breaks_held_fences_and_tells_their_holders()
    {
        SimulatedDisk disk = NewDisk();
        await using var time = new VirtualTime();
        PitrDatabase database = await StartedAsync(disk, time.In);
        using var kit = new TestKit(time.System);
        await database.Actors.Supervisor.Ask<Fenced>(new Fence("main", kit.TestActor, "me", "test", Lease)).Within();
        await database.PutAsync("t", "k", "v");
        Task orderly = database.ShutdownAsync();
        await database.ShutdownAsync(force: true).Within();
        await orderly.Within();

        Problem why = Assert.Single(kit.ReceiveN(1).OfType<FenceBroken>()).Why;
        Assert.Equal(ErrorCode.FenceBroken, why.Code);
        Assert.Contains("forced shutdown", why.Message, StringComparison.Ordinal);
        Assert.Equal("v", (await OpenAsync(disk)).Get("t", "k"));
    }

    /// <summary>Promise 5: one that waits behind a flush is not granted any more once the engine closes.</summary>
    [Fact]
    public async Task Who_waits_for_a_fence_when_the_engine_shuts_down_is_refused()
    {
        SimulatedDisk disk = NewDisk();
        PitrDatabase database = await StartedAsync(disk);
        using HeldSync gate = HoldSync(disk);
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await gate.Reached.Within();
        Task<FenceGrant> waiting = database.FenceAsync("main", Lease);
        Task shutdown = database.ShutdownAsync();

        // The flush still stands before the gate: the refusal waits for nothing.
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => waiting.Within());
        Assert.Equal(ErrorCode.ShuttingDown, refused.Code);
        gate.Release();
        await checkpoint.Within();
        await shutdown.Within();
    }

    /// <summary>
    /// A caller who does not wait any more has no use for a fence: it must not live until its lease ends.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_fence_that_nobody_waits_for_any_more_is_given_back(bool isCancelled)
    {
        SimulatedDisk disk = NewDisk();
        await using var time = new VirtualTime();
        await using PitrDatabase database = await StartedAsync(disk, time.In);
        await using var end = new ForcedEnd(database);
        using HeldSync gate = HoldSync(disk);
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await gate.Reached.Within();
        using var cancel = new CancellationTokenSource();
        Task<FenceGrant> waiting = database.FenceAsync("main", TimeSpan.FromHours(24), "", cancel.Token);
        if (isCancelled)
            await cancel.CancelAsync();
        else
            time.Advance(TimeSpan.FromMinutes(1));
        Exception gone = await Assert.ThrowsAnyAsync<Exception>(() => waiting.Within());
        Assert.Equal(isCancelled, gone is OperationCanceledException);

        gate.Release();
        await checkpoint.Within();
        await database.ShutdownAsync().Within(); // it would wait for the fence
    }

    /// <summary>Promise 9: it loses its fences before the disk fills.</summary>
    [Fact]
    public async Task Past_the_bound_on_kept_WAL_the_fences_of_a_file_are_broken()
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(
            disk, options => time.In(options) with { FencedWalBytesMax = 100_000 });
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        await database.CheckpointAsync().Within();
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Single((await FileAsync(database, "main")).Fences);

        for (int i = 0; i < 30; i++)
            await database.PutAsync("t", $"big{i}", new string('x', 4000));
        await database.CheckpointAsync().Within();
        time.Advance(TimeSpan.FromSeconds(1));
        await UntilAsync(database, "main", file => file.Fences.Count == 0);

        RefusedException broken =
            await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(grant.FenceId).Within());
        Assert.Equal(ErrorCode.FenceBroken, broken.Code);
        Assert.Contains("WAL", broken.Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// Promise 9: b, which was held later, keeps more WAL. What is kept for main is beyond the bound too, so that its
    /// fences go first; or it is not, so that they stay.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Of_the_files_that_keep_too_much_WAL_the_one_that_is_held_longest_loses_its_fences_first(bool areBoth)
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(
            disk, options => time.In(options) with { FencedWalBytesMax = 100_000 });
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("b").Within();
        await database.CreateTableAsync("b", "b").Within();
        await database.CheckpointAsync().Within();
        await PutBytesAsync("b", areBoth ? 40_000 : 110_000);
        await database.PutAsync("t", "k", "v");
        disk.Faults.On(FileOp.Write).Of("b.pitr").Full();
        Assert.Equal(["b"], (await database.CheckpointAsync().Within()).Skipped); // its flush had no room
        await database.FenceAsync("main", Lease).Within();
        time.Advance(TimeSpan.FromMilliseconds(1));
        await database.FenceAsync("b", Lease).Within();
        await PutBytesAsync("t", areBoth ? 110_000 : 10_000);
        Assert.Equal(["b", "main"], (await database.CheckpointAsync().Within()).Skipped);

        (string first, string other) = areBoth ? ("main", "b") : ("b", "main");
        time.Advance(TimeSpan.FromSeconds(1));
        await UntilAsync(database, first, file => file.Fences.Count == 0);
        Assert.Single((await FileAsync(database, other)).Fences);
        time.Advance(TimeSpan.FromSeconds(1));
        if (areBoth)
            await UntilAsync(database, other, file => file.Fences.Count == 0);
        else
            Assert.Single((await FileAsync(database, other)).Fences);

        async Task PutBytesAsync(string table, int bytes)
        {
            for (int put = 0; put < bytes; put += 4000)
                await database.PutAsync(table, $"{table}{put}", new string('x', 4000));
        }
    }

    /// <summary>Promise 4: he waits for his flush, and for nobody who comes in behind him.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_last_one_out_whose_flush_had_no_room_does_not_wait_for_the_next_fence(bool isAskedForBefore)
    {
        await using var time = new VirtualTime(); // it stands still: the flush is not tried again
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk, time.In);
        await using var end = new ForcedEnd(database);
        FenceGrant first = await database.FenceAsync("main", Lease).Within();
        for (int i = 0; i < 60; i++)
            await database.PutAsync("t", $"big{i}", new string('x', 40_000)); // more than one write
        using var flushing = new HeldSync(disk.Faults.On(FileOp.Write).Of("main.pitr").Hold());
        disk.Faults.On(FileOp.Write).Of("main.pitr").Nth(2).Full();
        Task<UnfenceResult> left = database.UnfenceAsync(first.FenceId);
        await flushing.Reached.Within();
        Task<FenceGrant>? asked = isAskedForBefore ? database.FenceAsync("main", Lease) : null;
        if (isAskedForBefore)
            await database.PutAsync("t", "k", "v"); // its group passed the datafile after the request
        flushing.Release();
        if (!isAskedForBefore)
            await UntilAsync(database, "main", file => file.State == "open"); // the flush was dropped
        FenceGrant second = await (asked ?? database.FenceAsync("main", Lease)).Within();

        UnfenceResult answer = await left.Within();

        Assert.Equal((first.CheckpointLsn, 0), (answer.FlushedLsn, answer.HoldersRemaining));
        Assert.Equal(second.FenceId, Assert.Single((await FileAsync(database, "main")).Fences).FenceId);
        Assert.True(disk.Faults.IsEmpty);
    }

    [Fact]
    public async Task A_fence_is_refused_for_an_unknown_file_and_for_a_lease_out_of_range()
    {
        await using PitrDatabase database = await StartedAsync(NewDisk());
        await using var end = new ForcedEnd(database);
        Assert.Equal(ErrorCode.DatafileUnknown, await RefusedAsync(database, "none", Lease));
        Assert.Equal(ErrorCode.LeaseOutOfRange, await RefusedAsync(database, "main", TimeSpan.Zero));
        Assert.Equal(ErrorCode.LeaseOutOfRange, await RefusedAsync(database, "main", TimeSpan.FromSeconds(-1)));
        Assert.Equal(ErrorCode.LeaseOutOfRange,
            await RefusedAsync(database, "main", TimeSpan.FromHours(24) + TimeSpan.FromTicks(1)));

        FenceGrant longest = await database.FenceAsync("main", TimeSpan.FromHours(24)).Within();
        // also beside another holder
        Assert.Equal(ErrorCode.LeaseOutOfRange, await RefusedAsync(database, "main", TimeSpan.Zero));
        Assert.Equal(0, (await database.UnfenceAsync(longest.FenceId).Within()).HoldersRemaining);
    }

    /// <summary>H24: what is being replayed can't be held still.</summary>
    [Fact]
    public async Task A_fence_is_refused_while_the_file_is_recovering()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase before = await StartedAsync(disk);
        await before.PutAsync("t", "k", "v");
        SimulatedDisk left = disk.KillCopy();
        using ActorSystem system = ActorSystem.Create("recovering", EngineConfig.Dispatchers);
        // The opening writes the control file, and again when the replay has come to its end.
        FaultGate replayed = left.Faults.On(FileOp.Write).Of("pitr.control.new").Nth(2).Hold();
        Task<PitrDatabase> opening = OpenAsync(left, options => options with { ActorSystem = system });
        await replayed.Reached.Within();
        IActorRef owner = await system.ActorSelection("/user/*/datafile-main").ResolveOne(TimeSpan.FromSeconds(30));

        FenceRefused refused = await owner
            .Ask<FenceRefused>(new Fence("main", null, "here", "", Lease), TimeSpan.FromSeconds(30)).Within();

        Assert.Equal(ErrorCode.DatafileRecovering, refused.Why.Code);
        replayed.Release();
        await using PitrDatabase database = await opening;
        FenceGrant grant = await database.FenceAsync("main", Lease).Within();
        await database.UnfenceAsync(grant.FenceId).Within();
    }

    internal static async Task<ErrorCode> RefusedAsync(PitrDatabase database, string datafile, TimeSpan lease) =>
        (await Assert.ThrowsAnyAsync<PitrException>(() => database.FenceAsync(datafile, lease).Within())).Code;

    internal static async Task<DatafileStatus> FileAsync(PitrDatabase database, string name) =>
        (await database.GetStatusAsync().Within()).Datafiles.Single(file => file.Name == name);

    /// <summary>Asks for the status until it is so; fails loudly if it never is.</summary>
    internal static async Task UntilAsync(PitrDatabase database, string name, Func<DatafileStatus, bool> isSo)
    {
        DatafileStatus now = await FileAsync(database, name);
        for (int asked = 0; !isSo(now); asked++)
        {
            Assert.True(asked < 10_000, $"It never comes to be: {now}");
            await Task.Delay(1);
            now = await FileAsync(database, name);
        }
    }

    private sealed class BlackHoleActor : UntypedActor
    {
        protected override void OnReceive(object message)
        {
        }
    }
}
