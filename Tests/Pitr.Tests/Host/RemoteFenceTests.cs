using Akka.Actor;
using Pitr.Actors;
using Pitr.Hosting;
using static Pitr.Actors.AdminProtocol;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// Fences whose holder is far away (design §5, promise 6): the Administrator's watch on the client ends those that are
/// bound to its session; leases end the others.
/// </summary>
public sealed class RemoteFenceTests
{
    private static readonly CancellationToken None = CancellationToken.None;
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    [Fact]
    public async Task A_fence_that_is_bound_to_a_session_breaks_with_it_and_the_others_live_on()
    {
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk());
        await using var server = new RemoteServer(new LocalTarget(database));
        await using var end = new ForcedEnd(database); // before the server, which ends in order
        await server.StartAsync();
        PitrAdmin admin = await server.ConnectAsync();
        FenceGrant bound = await admin.FenceAsync("main", Lease, "a copy", FenceBond.Session, None).Within();
        FenceGrant free = await admin.FenceAsync("main", Lease, "another", FenceBond.Lease, None).Within();
        IReadOnlyList<FenceStatus> held = (await FileAsync(database, "main")).Fences;
        Assert.StartsWith(
            "pitr ", held.Single(fence => fence.FenceId == bound.FenceId).Holder, StringComparison.Ordinal);

        await admin.DisposeAsync();

        await UntilAsync(database, "main", file => file.Fences.Count == 1);
        RefusedException broken =
            await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(bound.FenceId).Within());
        Assert.Equal(ErrorCode.FenceBroken, broken.Code);
        await using PitrAdmin later = await server.ConnectAsync();
        Assert.Equal(0, (await later.UnfenceAsync(null, free.FenceId, None).Within()).HoldersRemaining);
    }

    [Fact]
    public async Task A_client_is_told_of_a_fence_of_its_session_that_breaks_and_of_no_other()
    {
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk());
        await using var server = new RemoteServer(new LocalTarget(database));
        await using var end = new ForcedEnd(database); // before the server, which ends in order
        await server.StartAsync();
        await using PitrAdmin admin = await server.ConnectAsync();
        FenceGrant left = await admin.FenceAsync("main", Lease, "", FenceBond.Session, None).Within();
        Task<BrokenFence> ofLeft = admin.FenceBrokenAsync(left.FenceId);
        await admin.UnfenceAsync(null, left.FenceId, None).Within();
        var heard = new TaskCompletionSource<BrokenFence>();
        using IFenceHolder holder = ((IDatabaseTarget)admin).HoldFences("a copy", heard.SetResult);
        FenceGrant fence = await holder.FenceAsync("main", TimeSpan.FromSeconds(1), "", None).Within();

        BrokenFence broken = await admin.FenceBrokenAsync(fence.FenceId).Within();

        Assert.Equal((fence.FenceId, "main", ErrorCode.FenceBroken), (broken.FenceId, broken.Datafile, broken.Why.Code));
        Assert.Equal(fence.FenceId, (await heard.Task.Within()).FenceId);
        Assert.False(ofLeft.IsCompleted);
        Assert.Equal(broken.Why.Message, (await Assert.ThrowsAsync<RefusedException>(
            () => admin.UnfenceAsync(null, fence.FenceId, None).Within())).Message);
    }

    /// <summary>Promise 5: by force the engine ends at once, and the holders hear that their copies are void.</summary>
    [Fact]
    public async Task A_forced_shutdown_tells_a_client_that_its_copy_is_void()
    {
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk());
        await using var server = new RemoteServer(new LocalTarget(database));
        await server.StartAsync();
        await using PitrAdmin admin = await server.ConnectAsync();
        FenceGrant fence = await admin.FenceAsync("main", Lease, "a copy", FenceBond.Session, None).Within();
        Task<BrokenFence> broken = admin.FenceBrokenAsync(fence.FenceId);
        await database.ShutdownAsync(force: true).Within();
        Assert.Equal(ErrorCode.FenceBroken, (await broken.Within()).Why.Code);
    }

    [Fact]
    public async Task A_session_that_unfences_in_time_has_a_good_copy_and_may_fence_again()
    {
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk());
        await using var server = new RemoteServer(new LocalTarget(database));
        await using var end = new ForcedEnd(database); // before the server, which ends in order
        await server.StartAsync();
        await using PitrAdmin admin = await server.ConnectAsync();
        for (int n = 0; n < 3; n++)
        {
            FenceGrant fence = await admin.FenceAsync("main", Lease, "", FenceBond.Session, None).Within();
            CommitResult last = await database.PutAsync("t", "k", $"{n}");
            Assert.True((await admin.UnfenceAsync(null, fence.FenceId, None).Within()).FlushedLsn >= last.Lsn);
        }
    }

    [Fact]
    public async Task A_lease_is_renewed_from_afar_and_one_out_of_range_or_of_a_stale_token_is_refused()
    {
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk());
        await using var server = new RemoteServer(new LocalTarget(database));
        await using var end = new ForcedEnd(database); // before the server, which ends in order
        await server.StartAsync();
        await using PitrAdmin admin = await server.ConnectAsync();
        FenceGrant fence = await admin.FenceAsync("main", TimeSpan.FromMinutes(1), "", None).Within();

        DateTimeOffset until = await admin.RenewFenceAsync(fence.FenceId, Lease, None).Within();

        Assert.True(until > fence.Until + TimeSpan.FromMinutes(30), $"{until} is not an hour from now.");
        Assert.Equal(until, Assert.Single((await FileAsync(database, "main")).Fences).Until);
        foreach (double hours in new[] { 0, -1, 24.001, 1_000_000 })
            Assert.Equal(ErrorCode.LeaseOutOfRange, await RefusedAsync(fence.FenceId, TimeSpan.FromHours(hours)));
        await admin.UnfenceAsync("main", null, None).Within();
        Assert.Equal(ErrorCode.FenceUnknown, await RefusedAsync(fence.FenceId, Lease));
        Assert.Equal(ErrorCode.FenceUnknown, await RefusedAsync(Guid.NewGuid(), Lease));

        async Task<ErrorCode> RefusedAsync(Guid id, TimeSpan lease) => (await Assert.ThrowsAsync<RefusedException>(
            () => admin.RenewFenceAsync(id, lease, None).Within())).Code;
    }

    /// <summary>A client that hangs, or a network that lets nothing through: nobody tells of its death.</summary>
    [Fact]
    public async Task A_fence_that_is_bound_to_a_session_breaks_when_its_client_is_silent_for_a_minute()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk(), time.In);
        await using var end = new ForcedEnd(database);
        IActorRef administrator = AdministratorOf(database, time);
        var client = new RemoteInbox(time.System);
        await FencedAsync(administrator, client);

        for (int n = 0; n < 10; n++) // heard in time
        {
            time.Advance(Administrator.SilenceMax / 2);
            administrator.Tell(new Ping(), client.Ref);
            Assert.True(Assert.IsType<Pong>(await client.NextAsync()).SessionIsOpen);
        }

        Assert.Single((await FileAsync(database, "main")).Fences);
        time.Advance(Administrator.SilenceMax * 2);
        await UntilAsync(database, "main", file => file.Fences.Count == 0);
    }

    [Fact]
    public async Task A_fence_that_is_bound_to_a_session_breaks_when_its_client_dies()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk(), time.In);
        await using var end = new ForcedEnd(database);
        IActorRef administrator = AdministratorOf(database, time);
        var client = new RemoteInbox(time.System);
        FenceGrant fence = await FencedAsync(administrator, client);

        time.System.Stop(client.Ref);

        await UntilAsync(database, "main", file => file.Fences.Count == 0);
        Assert.Equal(
            ErrorCode.FenceBroken,
            (await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(fence.FenceId).Within())).Code);
    }

    /// <summary>Status and log are others' screens: a client's text moves no cursor there, and begins no line.</summary>
    [Fact]
    public async Task The_reason_of_a_set_is_shown_without_control_characters()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(NewDisk(), time.In);
        await using var end = new ForcedEnd(database);
        IActorRef administrator = AdministratorOf(database, time);
        var client = new RemoteInbox(time.System);
        administrator.Tell(new OpenSession(ProtocolVersion, "token", "test"), client.Ref);
        Assert.IsType<SessionOpened>(await client.NextAsync());
        administrator.Tell(new BeginSet(1, "pgtar\u001b[2J\n4711" + new string('x', 1000)), client.Ref);
        SetBegun set = Assert.IsType<SetBegun>(await client.NextAsync());
        administrator.Tell(new FenceForSet(2, set.Set, FileId.Main), client.Ref);
        Assert.IsType<SetFileFenced>(await client.NextAsync());

        string shown = Assert.Single((await FileAsync(database, "main")).Fences).Reason;

        Assert.StartsWith("pgtar [2J 4711x", shown, StringComparison.Ordinal);
        Assert.True(shown.Length <= 500, shown);
    }

    /// <summary>One that waits behind a flush is not granted to a session that is no more.</summary>
    [Fact]
    public async Task A_fence_that_was_asked_for_by_a_session_that_ended_meanwhile_is_not_left_behind()
    {
        await using var time = new VirtualTime();
        Pitr.Simulation.SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(disk, time.In);
        await using var end = new ForcedEnd(database);
        IActorRef administrator = AdministratorOf(database, time);
        var client = new RemoteInbox(time.System);
        administrator.Tell(new OpenSession(ProtocolVersion, "token", "test"), client.Ref);
        Assert.IsType<SessionOpened>(await client.NextAsync());
        using HeldSync flushing = FencePromiseTests.HoldSync(disk);
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await flushing.Reached.Within();
        administrator.Tell(new FenceForSession(1, "main", Lease.TotalSeconds, ""), client.Ref);
        administrator.Tell(new CloseSession(), client.Ref);
        administrator.Tell(new Ping(), client.Ref);
        while (await client.NextAsync() is not Pong)
        {
        }

        flushing.Release();
        await checkpoint.Within();
        await database.ShutdownAsync().Within(); // it would wait for the fence
    }

    /// <summary>As in the engine's own process: a caller who does not wait any more has no use for it.</summary>
    [Theory]
    [InlineData(FenceBond.Lease)]
    [InlineData(FenceBond.Session)]
    public async Task A_fence_that_a_client_does_not_wait_for_any_more_is_given_back(FenceBond bond)
    {
        Pitr.Simulation.SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(disk);
        await using var server = new RemoteServer(new LocalTarget(database));
        await using var end = new ForcedEnd(database); // before the server, which ends in order
        await server.StartAsync();
        await using PitrAdmin admin = await server.ConnectAsync();
        using HeldSync flushing = FencePromiseTests.HoldSync(disk);
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await flushing.Reached.Within();
        using var cancel = new CancellationTokenSource();
        Task<FenceGrant> waiting = admin.FenceAsync("main", TimeSpan.FromHours(24), "", bond, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within());

        flushing.Release();
        await checkpoint.Within();
        await admin.SwitchWalAsync(None).Within(); // the session lives: it is not its end that gives the fence back
        await database.ShutdownAsync().Within(); // it would wait for the fence
    }

    /// <summary>Its grant was on the way to the Administrator when its client gave it up: nobody is told of it.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_fence_that_is_granted_to_a_request_that_was_given_up_is_given_back_by_the_engine(bool bySessionsEnd)
    {
        await using var time = new VirtualTime();
        var granted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var engine = new MemoryTarget { FenceGate = _ => granted.Task };
        IActorRef administrator = AdministratorOf(engine, new SystemIdentifier(1), time);
        var client = new RemoteInbox(time.System);
        administrator.Tell(new OpenSession(ProtocolVersion, "token", "test"), client.Ref);
        Assert.IsType<SessionOpened>(await client.NextAsync());
        administrator.Tell(new FenceDatafile(1, "main", Lease.TotalSeconds, ""), client.Ref);
        administrator.Tell(new CancelRequest(2), client.Ref); // there is none: nothing happens
        administrator.Tell(bySessionsEnd ? new CloseSession() : new CancelRequest(1), client.Ref);
        administrator.Tell(new Ping(), client.Ref);
        Assert.Equal(!bySessionsEnd, Assert.IsType<Pong>(await client.NextAsync()).SessionIsOpen);

        granted.SetResult();

        Assert.Equal(MemoryTarget.FenceId, await engine.Unfenced.Task.Within());
        Assert.Equal(1, Assert.IsType<Failed>(await client.NextAsync()).RequestId);
    }

    /// <summary>An engine that does not know the message: nothing ends by it, and the client gives back what comes late.</summary>
    [Fact]
    public async Task A_fence_of_an_engine_of_an_earlier_release_is_given_back_by_the_client_that_gave_it_up()
    {
        var told = new TaskCompletionSource<Guid?>(TaskCreationOptions.RunContinuationsAsynchronously);
        using ActorSystem system = ActorSystem.Create(
            RemotingConfig.SystemName,
            RemotingConfig.ForEngine(ListenAddress.Parse("127.0.0.1:0"), null, Serilog.Core.Logger.None));
        system.ActorOf(Props.Create(() => new EarlierEngine(told)), RemotingConfig.AdministratorName);
        Address address = ((ExtendedActorSystem)system).Provider.DefaultAddress;
        await using PitrAdmin admin = await PitrAdmin.ConnectAsync(
            $"{address.Host}:{address.Port}", new PitrAdminOptions { Token = "token" }, None);
        using var cancel = new CancellationTokenSource();
        Task<FenceGrant> waiting = admin.FenceAsync("main", Lease, "", FenceBond.Lease, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within());
        Assert.Equal(MemoryTarget.FenceId, await told.Task.Within());
        Assert.Equal(new Lsn(0x1000), await admin.SwitchWalAsync(None).Within());
        await system.Terminate();
    }

    /// <summary>It knows no CancelRequest, and grants a fence when one comes.</summary>
    private sealed class EarlierEngine(TaskCompletionSource<Guid?> unfenced) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case OpenSession:
                    Sender.Tell(new SessionOpened(
                        ProtocolVersion, new SystemIdentifier(1), "/db", "127.0.0.1:1", AdminRole.Operator));
                    break;
                case CancelRequest cancel:
                    Sender.Tell(new Failed(0, AdminProblems.Of(AdminErrors.Unintelligible("not known"))));
                    Sender.Tell(new DatafileFenced(cancel.Cancelled, new FenceGrant(
                        MemoryTarget.FenceId, "main", "/db/main.pitr", 0, Lsn.Zero, DateTimeOffset.UnixEpoch)));
                    break;
                case UnfenceDatafile unfence:
                    unfenced.TrySetResult(unfence.FenceId);
                    break;
                case SwitchWal request:
                    Sender.Tell(new WalSwitched(request.RequestId, new Lsn(0x1000)));
                    break;
            }
        }
    }

    private static IActorRef AdministratorOf(PitrDatabase database, VirtualTime time) =>
        AdministratorOf(new LocalTarget(database), database.SystemId, time);

    private static IActorRef AdministratorOf(
        IDatabaseTarget engine, SystemIdentifier id, VirtualTime time) => time.System.ActorOf(
        Administrator.PropsFor(
            engine,
            new AdministratorSettings(
                id, Folder, "127.0.0.1:0", _ => AdminRole.Operator, _ => true, _ => true,
                _ => Task.CompletedTask),
            time.Clock));

    private static async Task<FenceGrant> FencedAsync(IActorRef administrator, RemoteInbox client)
    {
        administrator.Tell(new OpenSession(ProtocolVersion, "token", "test"), client.Ref);
        Assert.IsType<SessionOpened>(await client.NextAsync());
        administrator.Tell(new FenceForSession(1, "main", Lease.TotalSeconds, "a copy"), client.Ref);
        return Assert.IsType<DatafileFenced>(await client.NextAsync()).Fence;
    }
}
