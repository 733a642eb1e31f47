using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Akka.Actor;
using Akka.Configuration;
using Pitr.Actors;
using Pitr.Hosting;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Tests;

/// <summary>
/// A running engine as its clients see it (design §11): only the Administrator, only our messages, only with the token.
/// Real sockets on loopback, with an engine of dictionaries behind them.
/// </summary>
public sealed class RemoteAdministrationTests : IAsyncLifetime, IAsyncDisposable
{
    private static readonly CancellationToken None = CancellationToken.None;

    private readonly MemoryTarget _engine = new();
    private readonly RemoteServer _server;

    public RemoteAdministrationTests() => _server = new RemoteServer(_engine);

    public Task InitializeAsync() => _server.StartAsync();

    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task A_remote_target_answers_like_the_engine_behind_it()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        _engine.AddTable("t", ("a", "1"), ("b", "2"), ("c", "3"));

        EngineStatus here = await _engine.GetStatusAsync(None);
        EngineStatus there = await remote.GetStatusAsync(None);
        Assert.Equal(
            here with { Datafiles = [], Archive = [], Disks = [], Schedules = [] },
            there with { Datafiles = [], Archive = [], Disks = [], Schedules = [] });
        Assert.Equal(here.Archive, there.Archive);
        Assert.Equal(here.Datafiles[0].Fences, there.Datafiles[0].Fences);
        Assert.Equal(here.Datafiles[0] with { Fences = [] }, there.Datafiles[0] with { Fences = [] });

        CheckpointResult checkpoint = await remote.CheckpointAsync(None);
        Assert.Equal(["main"], checkpoint.Flushed);
        Assert.Equal(["orders"], checkpoint.Skipped);
        Assert.Equal(await _engine.SwitchWalAsync(None), await remote.SwitchWalAsync(None));
        Assert.Equal(await _engine.CreateRestorePointAsync("x", None), await remote.CreateRestorePointAsync("x", None));
        Assert.Equal(new DatafileEntry("orders", "/data/orders"),
            await remote.CreateDatafileAsync("orders", "/data/orders", None));
        Assert.Equal(new TableEntry("u", "main"), await remote.CreateTableAsync("u", null, None));
        await remote.DropTableAsync("u", None);
        Assert.Equal([new TableEntry("t", "main")], await remote.ListTablesAsync(None));
        FenceGrant fence = await remote.FenceAsync("main", TimeSpan.FromMinutes(10), "a copy", None);
        Assert.Equal(await _engine.FenceAsync("main", TimeSpan.FromMinutes(10), "a copy", None), fence);
        Assert.Equal("main", (await remote.UnfenceAsync(null, fence.FenceId, None)).Datafile);
        Assert.Equal( // which leases are allowed, and what it says of others, is the engine's
            (await _engine.FenceAsync("main", TimeSpan.FromHours(25), "", None)).Until,
            (await remote.FenceAsync("main", TimeSpan.FromHours(25), "", None)).Until);

        Assert.Equal(1ul, (await remote.PutAsync("t", "d"u8.ToArray(), "4"u8.ToArray(), None)).TransactionId.Value);
        Assert.Equal("4"u8.ToArray(), (await remote.GetAsync("t", "d"u8.ToArray(), None))!.Value);
        await remote.DeleteAsync("t", "d"u8.ToArray(), None);
        Assert.Null(await remote.GetAsync("t", "d"u8.ToArray(), None));
        Assert.Equal(3, await remote.CountAsync("t", None));
        var range = new ScanRange { From = "b"u8.ToArray(), Reverse = true, RowsMax = 2 };
        Assert.Equal(["c=3", "b=2"], await RowsAsync(remote, range));
    }

    [Fact]
    public async Task A_failure_keeps_its_kind_its_number_and_its_hint()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        var unknown = await Assert.ThrowsAsync<NotFoundException>(() => remote.CountAsync("nope", None));
        Assert.Equal(ErrorCode.TableUnknown, unknown.Code);
        Assert.Equal("List them with `pitr table list`.", unknown.Hint);
        Assert.Equal(
            ErrorCode.DatafileUnknown,
            (await Assert.ThrowsAsync<NotFoundException>(() => remote.DropDatafileAsync("nope", None))).Code);
        await Assert.ThrowsAsync<ArgumentException>(() => remote.CreateTableAsync("No Name", null, None));
    }

    [Fact]
    public async Task Without_the_token_nobody_is_admitted()
    {
        var refused = await Assert.ThrowsAsync<RefusedException>(
            () => _server.ConnectAsync("another"));
        Assert.Equal(ErrorCode.NotAuthorized, refused.Code);

        _engine.AddTable("t");
        using var http = new HttpClient();
        foreach (string? token in new[] { null, "another" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{_server.Http}/v1/tables/t/count");
            request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
            using HttpResponseMessage response = await http.SendAsync(request);
            Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
        }
    }

    [Fact]
    public async Task A_viewer_looks_and_changes_nothing()
    {
        _engine.AddTable("t", ("a", "1"));
        string viewer = _server.ViewerToken;
        Assert.NotEqual(_server.Token, viewer);
        await using PitrAdmin remote = await _server.ConnectAsync(viewer);
        Assert.Equal("Running", (await remote.GetStatusAsync(None)).State);
        Assert.Equal([new TableEntry("t", "main")], await remote.ListTablesAsync(None));
        Assert.Equal("1"u8.ToArray(), (await remote.GetAsync("t", "a"u8.ToArray(), None))!.Value);
        Assert.Equal(["a=1"], await RowsAsync(remote, ScanRange.All));
        Assert.Equal(1, await remote.CountAsync("t", None));
        Func<Task>[] changes =
        [
            () => remote.CheckpointAsync(None),
            () => remote.SwitchWalAsync(None),
            () => remote.CreateRestorePointAsync("x", None),
            () => remote.ShutdownAsync(force: false, None),
            () => remote.CreateDatafileAsync("b", null, None),
            () => remote.DropDatafileAsync("b", None),
            () => remote.CreateTableAsync("u", null, None),
            () => remote.DropTableAsync("t", None),
            () => remote.FenceAsync("main", TimeSpan.FromMinutes(1), "", None),
            () => remote.UnfenceAsync("main", null, None),
            () => remote.FenceAsync("main", TimeSpan.FromMinutes(1), "", FenceBond.Session, None),
            () => remote.RenewFenceAsync(MemoryTarget.FenceId, TimeSpan.FromMinutes(1), None),
            () => remote.MoveAsync(new MoveRequest { Datafile = "main", Path = "/x" }, None),
            () => remote.DrainAsync(new DrainRequest { Folder = "/db", To = "/x" }, None),
            () => remote.CompactAsync(new CompactRequest { Datafile = "main" }, None),
            () => ((IDatabaseTarget)remote).KeepSetAsync("a tar", None),
            () => remote.BackupAsync(new BackupRequest { Store = "/backups" }, None),
            () => remote.PutAsync("t", "b"u8.ToArray(), "2"u8.ToArray(), None),
            () => remote.DeleteAsync("t", "a"u8.ToArray(), None),
            async () =>
            {
                await foreach (CommitResult _ in remote.LoadAsync("t", Transactions(1), None))
                    Assert.Fail("a viewer has committed");
            },
        ];
        foreach (Func<Task> change in changes)
        {
            var refused = await Assert.ThrowsAsync<RefusedException>(change);
            Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
        }
        Assert.Null(_engine.ShutdownForced);
        Assert.Equal(1, await _engine.CountAsync("t", None));
    }

    [Fact]
    public async Task A_token_opens_the_door_for_the_reference_that_showed_it_only()
    {
        using ActorSystem system = ActorSystem.Create("other", RemotingConfig.ForClient(IPAddress.Loopback, "127.0.0.1", null));
        var first = new RemoteInbox(system);
        var second = new RemoteInbox(system);
        ActorSelection administrator = system.ActorSelection(RemotingConfig.AdministratorPath(_server.Listen, tls: false));
        administrator.Tell(new OpenSession(ProtocolVersion, _server.Token, "first"), first.Ref);
        Assert.IsType<SessionOpened>(await first.NextAsync());
        administrator.Tell(new SwitchWal(7), second.Ref);
        Failed failed = Assert.IsType<Failed>(await second.NextAsync());
        Assert.Equal((7, (int)ErrorCode.NotAuthorized), (failed.RequestId, failed.Why.Code));
        administrator.Tell(new OpenSession(99, _server.Token, "second"), second.Ref);
        Assert.Equal((int)ErrorCode.FormatVersion, Assert.IsType<SessionRefused>(await second.NextAsync()).Why.Code);
        await system.Terminate();
    }

    [Fact]
    public async Task Long_lists_come_in_pages()
    {
        for (int n = 0; n < 1500; n++)
        {
            _engine.AddDatafile($"f{n:0000}", $"/data/{new string('ä', 200)}/{n}");
            _engine.AddTable($"t{n:0000}");
        }
        await using PitrAdmin remote = await _server.ConnectAsync();
        Assert.Equal(1501, (await remote.GetStatusAsync(None)).Datafiles.Count);
        Assert.Equal(
            await _engine.ListTablesAsync(None),
            await remote.ListTablesAsync(None));
    }

    [Fact]
    public async Task Progress_of_a_backup_reaches_the_client()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        var reported = new List<JobProgress>();
        BackupResult backup = await remote.BackupAsync(
            new BackupRequest
            {
                Store = "/backups",
                Incremental = true,
                Jobs = 3,
                BytesPerSecondMax = 5,
                Progress = new Reports(reported),
            },
            None);
        Assert.Equal(("20261122T140500Z", "20261121T140500Z"), (backup.BackupId, backup.BaseId));
        Assert.Equal([new JobProgress("copying", 1, 2)], reported);
        Assert.Equal((3, 5L), (_engine.LastBackup!.Jobs, _engine.LastBackup.BytesPerSecondMax));
        Assert.True(_engine.LastBackup.Incremental);
    }

    [Fact]
    public async Task Compacting_reaches_the_engine_as_it_was_asked_for()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        var reported = new List<JobProgress>();
        CompactResult done = await remote.CompactAsync(
            new CompactRequest { Datafile = "main", BytesPerSecondMax = 7, Progress = new Reports(reported) }, None);
        Assert.Equal(new CompactResult("main", "/db/main.pitr", 81920, 16384, 1.5, 0.25), done);
        Assert.Equal([new JobProgress("compacting", 8192, 16384)], reported);
        Assert.Equal(7, _engine.LastCompact!.BytesPerSecondMax);
        NotFoundException unknown = await Assert.ThrowsAsync<NotFoundException>(
            () => remote.CompactAsync(new CompactRequest { Datafile = "nope" }, None));
        Assert.Equal(ErrorCode.DatafileUnknown, unknown.Code);
    }

    [Fact]
    public async Task A_move_and_a_drain_reach_the_engine_as_they_were_asked_for()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        var reported = new List<JobProgress>();
        MoveResult moved = await remote.MoveAsync(
            new MoveRequest
            {
                Datafile = "main",
                Path = "/data2/main.pitr",
                WithoutLink = true,
                BytesPerSecondMax = 7,
                Progress = new Reports(reported),
            },
            None);
        Assert.Equal(new MoveResult("main", "/db/main.pitr", "/data2/main.pitr", 81920, 1.5, 0.25), moved);
        Assert.Equal([new JobProgress("copying", 1, 2)], reported);
        Assert.Equal((true, 7L), (_engine.LastMove!.WithoutLink, _engine.LastMove.BytesPerSecondMax));
        IReadOnlyList<MoveResult> drained = await remote.DrainAsync(
            new DrainRequest { Folder = "/data2", To = "/data3", BytesPerSecondMax = 9 }, None);
        Assert.Equal("/data3/main.pitr", Assert.Single(drained).To);
        Assert.Equal(
            ("/data2", "/data3", 9L),
            (_engine.LastDrain!.Folder, _engine.LastDrain.To, _engine.LastDrain.BytesPerSecondMax));
        NotFoundException unknown = await Assert.ThrowsAsync<NotFoundException>(
            () => remote.MoveAsync(new MoveRequest { Datafile = "nope", Path = "/x" }, None));
        Assert.Equal(ErrorCode.DatafileUnknown, unknown.Code);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(200)]
    [InlineData(5000)]
    public async Task A_drain_of_many_datafiles_tells_every_move(int files)
    {
        _engine.Drained = ManyMoves(files);
        await using PitrAdmin remote = await _server.ConnectAsync();
        IReadOnlyList<MoveResult> drained =
            await remote.DrainAsync(new DrainRequest { Folder = "/data2", To = "/data3" }, None);
        Assert.Equal(_engine.Drained, drained);
    }

    [Fact]
    public async Task A_client_of_an_earlier_release_gets_every_move_of_a_drain_or_is_told_that_they_are_too_many()
    {
        using ActorSystem system = ActorSystem.Create(
            "other", RemotingConfig.ForClient(IPAddress.Loopback, "127.0.0.1", null));
        var inbox = new RemoteInbox(system);
        ActorSelection administrator = system.ActorSelection(RemotingConfig.AdministratorPath(_server.Listen, tls: false));
        administrator.Tell(new OpenSession(ProtocolVersion, _server.Token, "earlier"), inbox.Ref);
        Assert.IsType<SessionOpened>(await inbox.NextAsync());
        _engine.Drained = ManyMoves(200);
        administrator.Tell(new DrainFolder(1, "/data2", "/data3", null), inbox.Ref);
        Assert.Equal(200, Assert.IsType<FolderDrained>(await inbox.NextAsync()).Results.Count);
        _engine.Drained = ManyMoves(5000);
        administrator.Tell(new DrainFolder(2, "/data2", "/data3", null), inbox.Ref);
        Assert.Equal((int)ErrorCode.AnswerTooLong, Assert.IsType<Failed>(await inbox.NextAsync()).Why.Code);
        await system.Terminate();
    }

    [Fact]
    public async Task A_path_outside_the_roots_is_refused()
    {
        string root = Path.Combine(_server.Folder, "root");
        Directory.CreateDirectory(root);
        File.CreateSymbolicLink(Path.Combine(root, "out"), "/tmp");
        await _server.StartAsync(_server.Settings with { Roots = [root] });
        await using PitrAdmin remote = await _server.ConnectAsync();
        await remote.CreateDatafileAsync("a", Path.Combine(root, "a.pitr"), None);
        await remote.BackupAsync(new BackupRequest { Store = "file://" + Path.Combine(root, "sets") }, None);
        foreach (string path in new[] { "/etc/x", Path.Combine(root, "..", "x"),
            Path.Combine(root, "out", "x") })
        {
            var refused = await Assert.ThrowsAsync<RefusedException>(() => remote.CreateDatafileAsync("b", path, None));
            Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
            refused = await Assert.ThrowsAsync<RefusedException>(
                () => remote.MoveAsync(new MoveRequest { Datafile = "a", Path = path }, None));
            Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
            refused = await Assert.ThrowsAsync<RefusedException>(() => remote.DrainAsync(
                new DrainRequest { Folder = root, To = path }, None));
            Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
        }
    }

    [Fact]
    public async Task What_a_session_had_running_is_given_up_when_it_ends()
    {
        _engine.CheckpointGate = new TaskCompletionSource();
        PitrAdmin remote = await _server.ConnectAsync();
        Task<CheckpointResult> checkpoint = remote.CheckpointAsync(None);
        await remote.SwitchWalAsync(None); // the checkpoint was taken up before
        await remote.DisposeAsync();
        await _engine.CheckpointCancelled.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(
            ErrorCode.ConnectionLost, (await Assert.ThrowsAsync<StorageFailedException>(() => checkpoint)).Code);
    }

    [Fact]
    public async Task What_a_client_does_not_wait_for_any_more_is_given_up_while_its_session_lives()
    {
        _engine.CheckpointGate = new TaskCompletionSource();
        await using PitrAdmin remote = await _server.ConnectAsync();
        using var cancel = new CancellationTokenSource();
        Task<CheckpointResult> checkpoint = remote.CheckpointAsync(cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => checkpoint);
        await _engine.CheckpointCancelled.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await remote.SwitchWalAsync(None);
    }

    [Fact]
    public async Task A_client_whose_engine_ends_is_told()
    {
        _engine.CheckpointGate = new TaskCompletionSource();
        await using PitrAdmin remote = await _server.ConnectAsync();
        Task<CheckpointResult> checkpoint = remote.CheckpointAsync(None);
        string tokenFile = _server.Server.TokenFilePath;
        await _server.StopAsync();
        var lost =
            await Assert.ThrowsAsync<StorageFailedException>(() => checkpoint.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal(ErrorCode.ConnectionLost, lost.Code);
        Assert.False(File.Exists(tokenFile));
    }

    [Fact]
    public async Task A_shutdown_is_answered_when_the_engine_has_stopped()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        await remote.ShutdownAsync(force: true, None);
        Assert.True(_engine.ShutdownForced);
        await _server.Server.Ended.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task A_program_may_say_localhost()
    {
        string address = _server.Listen.Replace("127.0.0.1", "localhost", StringComparison.Ordinal);
        await using PitrAdmin admin = await PitrAdmin.ConnectAsync(
            address, new PitrAdminOptions { Variable = _server.Settings.Variable }, None);
        Assert.Equal(AdminRole.Operator, admin.Role);
    }

    [Fact]
    public async Task Nobody_listening_is_said_at_once()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        string address = probe.LocalEndpoint.ToString()!;
        probe.Stop();
        var failed =
            await Assert.ThrowsAsync<StorageFailedException>(() => PitrAdmin.ConnectAsync(address, new PitrAdminOptions { Token = "x" }, None));
        Assert.Equal(ErrorCode.ConnectionLost, failed.Code);
        Assert.StartsWith($"No engine answers at {address}", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_certificates_only_loopback_addresses_are_listened_on()
    {
        await Assert.ThrowsAsync<ArgumentException>(() => _server.OtherAsync(
            _server.Settings with { Listen = "0.0.0.0:0" }));
        foreach (EngineServerSettings outside in new[]
            { _server.Settings with { Listen = "192.0.2.1:0" }, _server.Settings with { Http = "host.example:0" } })
        {
            var refused = await Assert.ThrowsAsync<RefusedException>(() => _server.OtherAsync(outside));
            Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
            Assert.Contains("needs TLS", refused.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_token_is_readable_by_its_owner_only()
    {
        if (OperatingSystem.IsWindows())
            return;
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_server.Server.TokenFilePath));
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode(Path.GetDirectoryName(_server.Server.TokenFilePath)!));
        Assert.Equal($"{_server.Listen.Replace(':', '_')}.token", Path.GetFileName(_server.Server.TokenFilePath));
        Assert.Equal(64, _server.Token.Length);
    }

    // ---- streams -----------------------------------------------------------------------------------

    [Fact]
    public async Task A_scan_that_fails_on_its_way_ends_with_the_engines_failure()
    {
        _engine.AddTable("t", [.. Enumerable.Range(0, 5000).Select(n => ($"{n:0000}", new string('v', 100)))]);
        _engine.ScanFailsAfterRows = 4000;
        await using PitrAdmin remote = await _server.ConnectAsync();
        var damage = await Assert.ThrowsAsync<DamageException>(() => RowsAsync(remote, ScanRange.All));
        Assert.Equal(ErrorCode.PageChecksum, damage.Code);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(40)]
    [InlineData(-1)]
    public async Task A_stream_that_was_cut_off_is_never_taken_for_whole(int keptBytes)
    {
        var bytes = new System.Buffers.ArrayBufferWriter<byte>();
        for (int n = 0; n < 10; n++)
            StreamFrames.WriteRow(bytes, [(byte)n], "value"u8);
        StreamFrames.WriteEnd(bytes, 10);
        byte[] cut = bytes.WrittenSpan[..(keptBytes < 0 ? bytes.WrittenCount + keptBytes : keptBytes)].ToArray();
        await Assert.ThrowsAsync<TimeZoneNotFoundException>(async () =>
        {
            await foreach (KeyValue row in StreamFrames.ReadRowsAsync(
                new MemoryStream(cut), count => new TimeZoneNotFoundException($"{count}"), None))
                Assert.Equal("value"u8.ToArray(), row.Value);
        });
    }

    [Fact]
    public async Task A_scan_is_written_as_fast_as_it_is_read()
    {
        _engine.AddTable("t", [.. Enumerable.Range(0, 20_000).Select(n => ($"{n:00000}", new string('v', 1000)))]);
        await using PitrAdmin remote = await _server.ConnectAsync();
        Assert.Equal(20_000, (await RowsAsync(remote, ScanRange.All)).Count);
    }

    [Fact]
    public async Task A_load_gives_a_commit_for_each_transaction_in_order()
    {
        _engine.AddTable("t");
        await using PitrAdmin remote = await _server.ConnectAsync();
        var commits = new List<ulong>();
        await foreach (CommitResult commit in remote.LoadAsync("t", Transactions(300), None))
            commits.Add(commit.TransactionId.Value);
        Assert.Equal(Enumerable.Range(1, 300).Select(n => (ulong)n), commits);
        Assert.Equal(600, await remote.CountAsync("t", None));
    }

    [Fact]
    public async Task A_load_whose_source_fails_answers_what_was_sent_first()
    {
        _engine.AddTable("t");
        await using PitrAdmin remote = await _server.ConnectAsync();
        int commits = 0;
        await Assert.ThrowsAsync<TimeZoneNotFoundException>(async () =>
        {
            await foreach (CommitResult _ in remote.LoadAsync("t", Transactions(10, failAt: 7), None))
                commits++;
        });
        Assert.Equal(7, commits);
    }

    [Fact]
    public async Task A_load_that_the_engine_refuses_ends_with_its_failure()
    {
        await using PitrAdmin remote = await _server.ConnectAsync();
        await Assert.ThrowsAsync<NotFoundException>(() => DrainAsync(remote.LoadAsync("nope", Transactions(10), None)));
        _engine.AddTable("t");
        _engine.LoadFailsAtTransaction = 5;
        var refused = await Assert.ThrowsAsync<RefusedException>(() =>
            DrainAsync(remote.LoadAsync("t", Transactions(1000), None)));
        Assert.Equal(ErrorCode.ShuttingDown, refused.Code);
    }

    // ---- parts -------------------------------------------------------------------------------------

    private static async IAsyncEnumerable<IReadOnlyList<KeyValue>> Transactions(int count, int? failAt = null)
    {
        for (int n = 0; n < count; n++)
        {
            await Task.Yield();
            if (n == failAt)
                throw new TimeZoneNotFoundException("the source");
            yield return [new KeyValue(Encoding.ASCII.GetBytes($"{n}a"), [1]),
                new KeyValue(Encoding.ASCII.GetBytes($"{n}b"), [2])];
        }
    }

    private static MoveResult[] ManyMoves(int count) =>
    [
        .. Enumerable.Range(0, count).Select(static n => new MoveResult(
            $"f{n:0000}", $"/data2/{new string('x', 100)}/{n}.pitr", $"/data3/{new string('x', 100)}/{n}.pitr", 81920, 1.5, 0.25)),
    ];

    private static async Task<List<string>> RowsAsync(PitrAdmin remote, ScanRange range)
    {
        var rows = new List<string>();
        await foreach (KeyValue row in remote.ScanAsync("t", range, None))
            rows.Add($"{Encoding.UTF8.GetString(row.Key)}={Encoding.UTF8.GetString(row.Value)}");
        return rows;
    }

    private static async Task DrainAsync<T>(IAsyncEnumerable<T> items)
    {
        await foreach (T _ in items)
        {
        }
    }

    private sealed class Reports(List<JobProgress> reported) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => reported.Add(value);
    }
}
