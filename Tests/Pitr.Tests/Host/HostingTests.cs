using System.Collections.Concurrent;
using Akka.Actor;
using Akka.Configuration;
using Akka.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Pitr.Hosting;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A database in a host: open before anything starts, closed in order after everything has stopped.</summary>
public sealed class HostingTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-hosting-").FullName;
    private readonly HostLog _log = new();

    private string Folder => Path.Combine(_home, "db");

    /// <summary>Far longer than a test, and an end for one that fails with the fence held.</summary>
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(2);

    private string Archive => Path.Combine(_home, "archive");

    public void Dispose() => Directory.Delete(_home, recursive: true);

    // ---- start -------------------------------------------------------------------------------------

    [Fact]
    public async Task Recovery_has_ended_before_any_hosted_service_starts()
    {
        await using (PitrDatabase before = await PitrDatabase.CreateAsync(Folder))
            await before.PutAsync(await before.CreateTableAsync("t"), "k"u8.ToArray(), "v"u8.ToArray());
        HostApplicationBuilder builder = Builder();
        builder.Services.AddSingleton<Reader>();
        builder.Services.AddHostedService(provider => provider.GetRequiredService<Reader>()); // registered before it
        builder.Services.AddPitr(Folder, Small);
        using IHost host = builder.Build();
        await host.StartAsync().Within();
        Assert.Equal("v"u8.ToArray(), host.Services.GetRequiredService<Reader>().Found);
        await host.StopAsync().Within();
        Assert.True(host.Services.GetRequiredService<Reader>().CommittedAtStop); // its StopAsync commits, too
    }

    [Fact]
    public async Task A_hosted_service_may_ask_for_the_database_in_its_constructor()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, Small);
        builder.Services.AddHostedService<Committer>();
        using IHost host = builder.Build();
        await host.StartAsync().Within();
        PitrDatabase database = host.Services.GetRequiredService<PitrDatabase>();
        Assert.NotNull(database.Get(database.GetTable("t"), "k"u8));
        await host.StopAsync().Within();
    }

    [Fact]
    public async Task A_database_that_does_not_open_is_a_host_that_does_not_start()
    {
        await using PitrDatabase other = await PitrDatabase.CreateAsync(Folder);
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, Small);
        using IHost host = builder.Build();
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => host.StartAsync().Within());
        Assert.Equal(ErrorCode.DatabaseLocked, refused.Code);
    }

    [Fact]
    public async Task A_folder_without_a_database_is_refused_if_it_must_exist()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, Small, host => host.MustExist = true);
        using IHost host = builder.Build();
        Assert.Equal(
            ErrorCode.NotADatabase,
            (await Assert.ThrowsAsync<NotFoundException>(() => host.StartAsync().Within())).Code);
        Assert.False(Directory.Exists(Folder));
    }

    [Fact]
    public async Task A_bad_option_is_a_host_that_does_not_start_and_says_whose_it_is()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, static options => options with { MemoryBudgetBytes = 1 });
        using IHost host = builder.Build();
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => host.StartAsync().Within());
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
        Assert.Contains("options in code", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_options_in_code_are_given_what_the_file_says()
    {
        await using (await PitrDatabase.CreateAsync(Folder))
        {
        }

        File.WriteAllText(Path.Combine(Folder, "pitr.json"), """{ "memoryBudgetBytes": "32MiB", "requestTimeout": "7s" }""");
        var asked = new List<PitrOptions>();
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, options =>
        {
            asked.Add(options);
            return options with { RequestTimeout = TimeSpan.FromSeconds(9) };
        });
        using IHost host = builder.Build();
        await host.StartAsync().Within();
        PitrOptions given = Assert.Single(asked);
        Assert.Equal((32L << 20, TimeSpan.FromSeconds(7)), (given.MemoryBudgetBytes, given.RequestTimeout));
        Assert.Equal(
            TimeSpan.FromSeconds(9), host.Services.GetRequiredService<PitrDatabase>().Engine.Options.RequestTimeout);
        await host.StopAsync().Within();
    }

    [Fact]
    public void A_name_is_given_to_one_database_and_none_to_one()
    {
        var services = new ServiceCollection();
        services.AddPitr(Folder);
        services.AddKeyedPitr("orders", Folder + "2");
        services.AddKeyedPitr("stock", Folder + "3");
        Assert.Throws<InvalidOperationException>(() => services.AddPitr(Folder + "4"));
        Assert.Throws<InvalidOperationException>(() => services.AddKeyedPitr("orders", Folder + "4"));
        Assert.Throws<ArgumentException>(() => services.AddKeyedPitr("No Name", Folder + "4"));
    }

    [Fact]
    public async Task A_host_keeps_several_databases_each_injected_by_its_name()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddSingleton<Copier>();
        builder.Services.AddHostedService(static provider => provider.GetRequiredService<Copier>());
        builder.Services.AddPitr(Folder, Small);
        builder.Services.AddKeyedPitr("orders", Folder + "2", Small, static host => host.Listen = "127.0.0.1:0");
        builder.Services.AddKeyedPitr("stock", Folder + "3", Small);
        using IHost host = builder.Build();
        await host.StartAsync().Within();
        PitrDatabase[] all =
        [
            host.Services.GetRequiredService<PitrDatabase>(),
            host.Services.GetRequiredKeyedService<PitrDatabase>("orders"),
            host.Services.GetRequiredKeyedService<PitrDatabase>("stock"),
        ];
        Assert.Equal([Folder, Folder + "2", Folder + "3"], all.Select(database => database.Folder));
        Assert.Equal("v"u8.ToArray(), all[2].Get(all[2].GetTable("copies"), "k"u8));
        HealthReport health = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync().Within();
        Assert.Equal(9, health.Entries.Count);
        Assert.Equal(HealthStatus.Healthy, health.Entries["pitr-datafiles-stock"].Status);
        Assert.NotNull(host.Services.GetRequiredKeyedService<HostedEngine>("orders").Listen);

        await host.StopAsync().Within();
        Assert.All(all, database => Assert.True(database.Completion.IsCompletedSuccessfully));
    }

    [Fact]
    public async Task Two_names_for_one_folder_are_a_host_that_does_not_start()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddKeyedPitr("one", Folder, Small);
        builder.Services.AddKeyedPitr("two", Folder, Small);
        using IHost host = builder.Build();
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => host.StartAsync().Within());
        Assert.Equal(ErrorCode.DatabaseLocked, refused.Code);
    }

    [Fact]
    public async Task An_actor_system_of_the_applications_is_refused()
    {
        using ActorSystem system = ActorSystem.Create("mine");
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, options => options with { ActorSystem = system });
        using IHost host = builder.Build();
        await Assert.ThrowsAsync<ArgumentException>(() => host.StartAsync().Within());
    }

    // ---- stop --------------------------------------------------------------------------------------

    /// <summary>Design §5, promise 5.</summary>
    [Fact]
    public async Task The_stop_waits_for_a_fence_when_the_ShutdownTimeout_is_over()
    {
        using IHost host = await StartAsync(shutdownTimeout: TimeSpan.FromMilliseconds(1));
        PitrDatabase database = host.Services.GetRequiredService<PitrDatabase>();
        Table table = await database.CreateTableAsync("t");
        FenceGrant fence = await database.FenceAsync("main", Lease, "a copy");
        CommitResult commit = await database.PutAsync(table, "k"u8.ToArray(), "v"u8.ToArray());

        Task stop = host.StopAsync();
        await _log.WhenAsync("ShutdownTimeout is over");
        await _log.WhenAsync("waits for the fence");
        Assert.False(stop.IsCompleted);

        await database.UnfenceAsync(fence.FenceId);
        await stop.Within();
        await using PitrDatabase again = await PitrDatabase.OpenAsync(Folder);
        Assert.Equal("v"u8.ToArray(), again.Get(again.GetTable("t"), "k"u8));
        Assert.True((await again.GetStatusAsync()).Datafiles[0].CheckpointLsn >= commit.Lsn); // flushed, not replayed
    }

    [Fact]
    public async Task The_stop_breaks_fences_only_when_it_was_told_how_long_to_wait()
    {
        using IHost host = await StartAsync(host => host.FenceWait = TimeSpan.FromMilliseconds(1));
        PitrDatabase database = host.Services.GetRequiredService<PitrDatabase>();
        await database.FenceAsync("main", Lease, "forgotten");
        await host.StopAsync().Within();
        await _log.WhenAsync("is broken");
    }

    [Fact]
    public async Task The_stop_waits_for_the_archive_when_the_ShutdownTimeout_is_over()
    {
        using IHost host = await StartAsync(
            shutdownTimeout: TimeSpan.FromMilliseconds(1), options: options => options with { ArchiveStores = [Archive] });
        PitrDatabase database = host.Services.GetRequiredService<PitrDatabase>();
        Table table = await database.CreateTableAsync("t");
        await database.PutAsync(table, "k"u8.ToArray(), "v"u8.ToArray());
        await database.BackupAsync(new BackupRequest { Store = Archive });
        string away = Archive + ".away";
        Directory.Move(Archive, away);
        File.WriteAllText(Archive, "not a folder");
        await database.PutAsync(table, "last"u8.ToArray(), "v"u8.ToArray());

        Task stop = host.StopAsync();
        await _log.WhenAsync("ShutdownTimeout is over");
        Assert.False(stop.IsCompleted);
        File.Delete(Archive);
        Directory.Move(away, Archive);
        await stop.Within();
        string restored = Path.Combine(_home, "restored");
        await PitrRecovery.RestoreAsync(new RestoreRequest
        {
            Store = Archive,
            Into = restored,
            Target = Pitr.Recovery.RecoveryTarget.Latest,
            Detached = true,
        });
        await using PitrDatabase back = await PitrDatabase.OpenAsync(restored);
        Assert.NotNull(back.Get(back.GetTable("t"), "last"u8)); // what was committed last was shipped
    }

    [Fact]
    public async Task A_host_that_does_not_wait_for_its_services_waits_when_it_is_disposed()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.Configure<HostOptions>(static options =>
        {
            options.ShutdownTimeout = TimeSpan.FromMilliseconds(1);
            options.ServicesStopConcurrently = true;
        });
        builder.Services.AddPitr(Folder, Small);
        IHost host = builder.Build();
        await host.StartAsync().Within();
        PitrDatabase database = host.Services.GetRequiredService<PitrDatabase>();
        FenceGrant fence = await database.FenceAsync("main", Lease);
        Task end = Task.Run(async () =>
        {
            try
            {
                await host.StopAsync();
            }
            catch (OperationCanceledException)
            {
                // It did not wait.
            }

            await ((IAsyncDisposable)host).DisposeAsync();
        });
        await _log.WhenAsync("waits for the fence");
        Assert.False(end.IsCompleted);
        await database.UnfenceAsync(fence.FenceId);
        await end.Within();
        await using PitrDatabase again = await PitrDatabase.OpenAsync(Folder); // its lock is free
    }

    [Fact]
    public async Task A_host_that_did_not_start_leaves_no_open_database()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddPitr(Folder, Small);
        builder.Services.AddHostedService<Failing>();
        await using (var host = (IAsyncDisposable)builder.Build())
            await Assert.ThrowsAsync<NotSupportedException>(() => ((IHost)host).StartAsync().Within());
        await using PitrDatabase again = await PitrDatabase.OpenAsync(Folder);
    }

    [Fact]
    public async Task An_engine_that_fails_stops_the_host_and_is_told_as_unhealthy()
    {
        var disk = new SimulatedDisk();
        using IHost host = await StartAsync(options: options => options with { FileSystem = disk });
        PitrDatabase database = host.Services.GetRequiredService<PitrDatabase>();
        Table table = await database.CreateTableAsync("t");
        var stopping = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(stopping.SetResult);
        disk.Faults.On(FileOp.SyncData).Of("/wal/").Fail(Errno.EIO);
        await Assert.ThrowsAsync<RefusedException>(async () =>
            await database.PutAsync(table, "k"u8.ToArray(), "v"u8.ToArray()));
        await stopping.Task.Within();
        HealthReport report = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.Equal(HealthStatus.Unhealthy, report.Entries["pitr-engine"].Status);
        await host.StopAsync().Within();
        await _log.WhenAsync("has failed");
    }

    [Fact]
    public async Task An_engine_that_is_shut_down_from_outside_stops_the_host_unless_told_otherwise()
    {
        using IHost host = await StartAsync();
        var stopping = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(stopping.SetResult);
        await host.Services.GetRequiredService<PitrDatabase>().ShutdownAsync();
        await stopping.Task.Within();
        await host.StopAsync().Within();
    }

    // ---- administration ----------------------------------------------------------------------------

    [Fact]
    public async Task A_hosted_database_is_administered_like_one_that_is_served()
    {
        using IHost host = await StartAsync(settings =>
        {
            settings.Listen = "127.0.0.1:0";
            settings.TokenFile = Path.Combine(_home, "token");
        });
        string address = host.Services.GetRequiredService<HostedEngine>().Listen!;
        string status = await CliInProcess.MustAsync(
            _home, "status", "--json", "--host", address, "--token-file", Path.Combine(_home, "token"));
        Assert.Contains("\"state\":\"running\"", status, StringComparison.Ordinal);
        await host.StopAsync().Within();
        Assert.False(File.Exists(Path.Combine(_home, "token")));
    }

    // ---- Akka.Hosting ------------------------------------------------------------------------------

    [Fact]
    public async Task Actors_that_are_started_after_WithPitr_find_the_database_open_and_commit_until_their_end()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddHealthChecks();
        builder.Services.AddAkka("shop", akka => akka
            .WithPitr(Folder, Small)
            .WithActors(async (system, registry) =>
            {
                await system.GetPitr().CreateTableAsync("t");
                registry.Register<LastWords>(system.ActorOf(Props.Create(() => new LastWords()), "last-words"));
            }));
        using IHost host = builder.Build();
        await host.StartAsync().Within();
        ActorSystem shop = host.Services.GetRequiredService<ActorSystem>();
        PitrDatabase database = shop.GetPitr();
        Assert.NotSame(shop, database.System); // nothing of it can be reached through the application's system
        Assert.NotNull(database.GetTable("t"));
        HealthReport report = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.Equal(HealthStatus.Healthy, report.Entries["pitr-datafiles"].Status);
        await host.StopAsync().Within();
        await using PitrDatabase again = await PitrDatabase.OpenAsync(Folder);
        Assert.Equal("my last"u8.ToArray(), again.Get(again.GetTable("t"), "words"u8));
    }

    [Fact]
    public async Task No_timeout_of_a_coordinated_shutdown_cuts_the_closing_short()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.Configure<HostOptions>(static options => options.ShutdownTimeout = TimeSpan.FromMilliseconds(1));
        builder.Services.AddAkka("shop", akka => akka
            .AddHocon("akka.coordinated-shutdown { default-phase-timeout = 1ms, exit-clr = on }", HoconAddMode.Prepend)
            .WithPitr(Folder, Small));
        using IHost host = builder.Build();
        await host.StartAsync().Within();
        ActorSystem shop = host.Services.GetRequiredService<ActorSystem>();
        PitrDatabase database = shop.GetPitr();
        FenceGrant fence = await database.FenceAsync("main", Lease);
        Task stop = host.StopAsync();
        await _log.WhenAsync("waits for the fence");
        await shop.WhenTerminated.Within(); // it is only the database that is still there
        Assert.False(stop.IsCompleted);
        await database.UnfenceAsync(fence.FenceId);
        await stop.Within();
        await using PitrDatabase again = await PitrDatabase.OpenAsync(Folder);
    }

    [Theory]
    [InlineData("akka.coordinated-shutdown.exit-clr", "on")]
    [InlineData("akka.coordinated-shutdown.phases.actor-system-terminate.timeout", "10s")]
    public void A_setting_that_would_cut_the_closing_short_is_refused(string setting, string value)
    {
        Config good = ConfigurationFactory.ParseString("""
            akka.coordinated-shutdown { exit-clr = off, phases.actor-system-terminate.timeout = 20d }
            """);
        PitrAkkaHosting.RequireOrderlyEnd(good);
        InvalidOperationException refused = Assert.Throws<InvalidOperationException>(() =>
            PitrAkkaHosting.RequireOrderlyEnd(ConfigurationFactory.ParseString($"{setting} = {value}").WithFallback(good)));
        Assert.Contains(setting, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_setting_that_would_cut_the_closing_short_does_not_get_past_the_start()
    {
        HostApplicationBuilder builder = Builder();
        builder.Services.AddAkka("shop", akka => akka
            .WithPitr(Folder, Small)
            .AddHocon("akka.coordinated-shutdown.phases.actor-system-terminate.timeout = 10s", HoconAddMode.Prepend));
        using IHost host = builder.Build();
        await Assert.ThrowsAnyAsync<Exception>(() => host.StartAsync().Within());
        Assert.False(Directory.Exists(Folder));
    }

    // ---- what the tests are made of ----------------------------------------------------------------

    private static PitrOptions Small(PitrOptions options) => options with { MemoryBudgetBytes = 32 << 20 };

    private HostApplicationBuilder Builder()
    {
        HostApplicationBuilder builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(new());
        builder.Logging.AddProvider(_log);
        return builder;
    }

    private async Task<IHost> StartAsync(
        Action<PitrHostSettings>? settings = null, Func<PitrOptions, PitrOptions>? options = null,
        TimeSpan? shutdownTimeout = null)
    {
        HostApplicationBuilder builder = Builder();
        if (shutdownTimeout is { } timeout)
            builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = timeout);
        builder.Services.AddPitr(Folder, given => options is null ? Small(given) : options(Small(given)), settings);
        IHost host = builder.Build();
        await host.StartAsync().Within();
        return host;
    }

    /// <summary>Gets its databases by their names.</summary>
    private sealed class Copier(
        [FromKeyedServices("orders")] PitrDatabase orders, [FromKeyedServices("stock")] PitrDatabase stock)
        : IHostedService
    {
        public async Task StartAsync(CancellationToken cancellationToken)
        {
            Table from = await orders.CreateTableAsync("orders", cancellationToken: cancellationToken);
            await orders.PutAsync(from, "k"u8.ToArray(), "v"u8.ToArray(), cancellationToken);
            Table to = await stock.CreateTableAsync("copies", cancellationToken: cancellationToken);
            await stock.PutAsync(to, "k"u8.ToArray(), orders.Get(from, "k"u8)!, cancellationToken);
        }

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    private sealed class Reader(IServiceProvider provider) : IHostedService
    {
        public byte[]? Found { get; private set; }

        public bool CommittedAtStop { get; private set; }

        public Task StartAsync(CancellationToken cancellationToken)
        {
            PitrDatabase database = provider.GetRequiredService<PitrDatabase>();
            Found = database.Get(database.GetTable("t"), "k"u8);
            return Task.CompletedTask;
        }

        public async Task StopAsync(CancellationToken cancellationToken)
        {
            PitrDatabase database = provider.GetRequiredService<PitrDatabase>();
            await database.PutAsync(database.GetTable("t"), "stop"u8.ToArray(), "v"u8.ToArray(), CancellationToken.None);
            CommittedAtStop = true;
        }
    }

    private sealed class Committer(PitrDatabase database) : IHostedService
    {
        public async Task StartAsync(CancellationToken cancellationToken) => await database.PutAsync(
            await database.CreateTableAsync("t", null, cancellationToken), "k"u8.ToArray(), "v"u8.ToArray(), cancellationToken);

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    private sealed class Failing : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken) => throw new NotSupportedException("It does not start.");

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>An actor that commits when it ends.</summary>
    private sealed class LastWords : UntypedActor
    {
        private readonly PitrDatabase _database = Context.System.GetPitr();

        protected override void PostStop() => _database
            .PutAsync(_database.GetTable("t"), "words"u8.ToArray(), "my last"u8.ToArray()).AsTask().GetAwaiter().GetResult();

        protected override void OnReceive(object message)
        {
        }
    }
}

/// <summary>What a host logs, and when.</summary>
internal sealed class HostLog : ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly List<(string Text, TaskCompletionSource Seen)> _awaited = [];

    public IReadOnlyCollection<string> Lines => _lines;

    /// <summary>Completes when a line holds the text.</summary>
    public async Task WhenAsync(string text)
    {
        var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_awaited)
        {
            _awaited.Add((text, seen));
            if (_lines.Any(line => line.Contains(text, StringComparison.Ordinal)))
                seen.TrySetResult();
        }

        await seen.Task.WaitAsync(PitrProcess.Patience);
    }

    public ILogger CreateLogger(string categoryName) => this;

    public void Dispose()
    {
    }

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        Add(formatter(state, exception));
    }

    /// <summary>Takes a line that somebody else has written.</summary>
    public void Add(string line)
    {
        lock (_awaited)
        {
            _lines.Enqueue(line);
            foreach ((string text, TaskCompletionSource seen) in _awaited)
            {
                if (line.Contains(text, StringComparison.Ordinal))
                    seen.TrySetResult();
            }
        }
    }
}
