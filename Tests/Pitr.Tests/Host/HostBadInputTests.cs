using Pitr.Actors;
using Pitr.Cli;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// Bad input to a running engine, as an operator gives it (`--host`): each has its exit code and names what is wrong;
/// nothing is changed, and the engine serves on. The engine and the sockets are real, the disk is simulated.
/// </summary>
public sealed class HostBadInputTests : IAsyncLifetime, IAsyncDisposable
{
    private const string Target = "/data2/b.pitr";

    private readonly SimulatedDisk _disk = MoveTests.WithFolders();
    private PitrDatabase _database = null!;
    private RemoteServer _server = null!;

    public async Task InitializeAsync()
    {
        _disk.Mount("/small", 20_000);
        using (IFileHandle taken = _disk.Open("/data2/taken", FileOpen.CreateNew))
            taken.Write(0, "somebody's"u8);
        _database = await MoveTests.StartedAsync(_disk);
        _server = new RemoteServer(new LocalTarget(_database));
        await _server.StartAsync(
            _server.Settings with { Folder = Folder, Roots = ["/db", "/data2", "/data3", "/nowhere", "/small"] });
    }

    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public async ValueTask DisposeAsync()
    {
        await TestDatabase.Ended(_database.ShutdownAsync(force: true)).Within();
        await _server.DisposeAsync();
    }

    [Theory]
    // fences
    [InlineData(ExitCodes.NotFound, "There is no datafile 'none'", "fence", "none")]
    [InlineData(ExitCodes.Usage, "'0s' is not between", "fence", "b", "--lease", "0s")]
    [InlineData(ExitCodes.Refused, "lease", "fence", "b", "--lease", "25h")]
    [InlineData(ExitCodes.Usage, "is not a DURATION", "fence", "b", "--lease", "-1s")]
    [InlineData(ExitCodes.Usage, "is not a NAME", "fence", "../b")]
    [InlineData(ExitCodes.Usage, "One of NAME and --renew ID", "fence")]
    [InlineData(ExitCodes.Refused, "fence", "fence", "--renew", "01234567-89ab-cdef-0123-456789abcdef")]
    [InlineData(ExitCodes.Refused, "fence", "unfence", "--fence", "01234567-89ab-cdef-0123-456789abcdef")]
    [InlineData(ExitCodes.Usage, "", "unfence", "--fence", "not an id")]
    [InlineData(ExitCodes.Refused, "not fenced", "unfence", "b")]
    [InlineData(ExitCodes.NotFound, "There is no datafile 'none'", "unfence", "none")]
    // moves
    [InlineData(ExitCodes.NotFound, "There is no datafile 'none'", "datafile", "move", "none", Target)]
    [InlineData(ExitCodes.Refused, "/db/b.pitr", "datafile", "move", "b", "/db/b.pitr")]
    [InlineData(ExitCodes.Refused, "/nowhere", "datafile", "move", "b", "/nowhere/b.pitr")]
    [InlineData(ExitCodes.Refused, "/data2/taken", "datafile", "move", "b", "/data2/taken")]
    [InlineData(ExitCodes.Refused, "/data2", "datafile", "move", "b", "/data2")]
    [InlineData(ExitCodes.Refused, "/db/wal", "datafile", "move", "b", "/db/wal/b.pitr")]
    [InlineData(ExitCodes.Refused, "/db/pitr.control", "datafile", "move", "b", "/db/pitr.control")]
    [InlineData(ExitCodes.Refused, "/elsewhere", "datafile", "move", "b", "/elsewhere/b.pitr")]
    [InlineData(ExitCodes.Refused, "/elsewhere", "datafile", "move", "b", "/data2/../elsewhere/b.pitr")]
    [InlineData(ExitCodes.Failed, "/small", "datafile", "move", "b", "/small/b.pitr")] // full, found before the copy
    [InlineData(ExitCodes.Usage, "is not a SIZE", "datafile", "move", "b", Target, "--rate", "fast")]
    [InlineData(ExitCodes.Usage, "A rate of 0", "datafile", "move", "b", Target, "--rate", "0")]
    [InlineData(ExitCodes.NotFound, "There is no datafile 'none'", "datafile", "compact", "none")]
    [InlineData(ExitCodes.Usage, "A rate of 0", "datafile", "compact", "b", "--rate", "0")]
    [InlineData(ExitCodes.Usage, "is not a NAME", "datafile", "compact", "../b")]
    [InlineData(ExitCodes.Refused, "/nowhere", "drain", "/db", "--to", "/nowhere")]
    [InlineData(ExitCodes.Refused, "/elsewhere", "drain", "/db", "--to", "/elsewhere")]
    [InlineData(ExitCodes.Refused, "/elsewhere", "datafile", "create", "c", "--path", "/elsewhere/c.pitr")]
    [InlineData(ExitCodes.Refused, "/elsewhere", "backup", "--to", "/elsewhere/sets")]
    [InlineData(ExitCodes.Usage, "A rate of 0", "backup", "--to", "/data2/sets", "--rate", "0")]
    // stores: the engine's folder is on a disk that this machine has not
    [InlineData(ExitCodes.Usage, "of another machine", "backups", "/sets")]
    [InlineData(ExitCodes.Usage, "of another machine", "verify", "/sets")]
    [InlineData(ExitCodes.Usage, "of another machine", "pin", "/sets", "20261122T140500Z")]
    [InlineData(ExitCodes.Usage, "of another machine", "unpin", "/sets", "20261122T140500Z")]
    [InlineData(ExitCodes.Usage, "of another machine", "expire", "/sets", "--window", "1d")]
    [InlineData(ExitCodes.Usage, "of another machine", "restore", "--from", "/sets", "--into", "restored")]
    [InlineData(ExitCodes.Usage, "of another machine", "wal", "dump", "/sets")]
    public async Task What_can_not_be_done_is_told_with_its_exit_code_and_changes_nothing(
        int exitCode, string says, params string[] verb) =>
        await RequireFailsAsync(exitCode, says, verb);

    [Fact]
    public async Task A_disk_that_fills_during_the_copy_and_a_folder_that_is_read_only_fail_and_change_nothing()
    {
        _disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Full();
        await RequireFailsAsync(ExitCodes.Failed, "/data2", "datafile", "move", "b", Target);
        _disk.Faults.On(FileOp.Create).Of(Target).Fail(Errno.EROFS);
        await RequireFailsAsync(ExitCodes.Failed, "/data2", "datafile", "move", "b", Target);
    }

    /// <summary>What no command line sends, and a program may.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    public async Task A_rate_of_nothing_is_refused_of_every_job(long bytesPerSecond)
    {
        await using Hosting.PitrAdmin admin = await _server.ConnectAsync();
        Func<Task>[] jobs =
        [
            () => admin.BackupAsync(
                new BackupRequest { Store = "/data2/sets", BytesPerSecondMax = bytesPerSecond }, CancellationToken.None),
            () => admin.MoveAsync(
                new MoveRequest { Datafile = "b", Path = Target, BytesPerSecondMax = bytesPerSecond }, CancellationToken.None),
            () => admin.DrainAsync(
                new DrainRequest { Folder = "/db", To = "/data2", BytesPerSecondMax = bytesPerSecond }, CancellationToken.None),
            () => admin.CompactAsync(
                new CompactRequest { Datafile = "b", BytesPerSecondMax = bytesPerSecond }, CancellationToken.None),
        ];
        foreach (Func<Task> job in jobs)
        {
            var wrong = await Assert.ThrowsAsync<ArgumentException>(() => job().Within());
            Assert.StartsWith("A rate is more than 0", wrong.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_file_that_is_moved_is_moved_no_second_time_meanwhile()
    {
        FaultGate gate = _disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Hold();
        using var held = new HeldSync(gate);
        Task<Outcome> first = RunAsync("datafile", "move", "b", Target);
        await held.Reached.Within();
        Outcome second = await RunAsync("datafile", "move", "b", "/data3/b.pitr");
        Assert.True(second.ExitCode == ExitCodes.Refused, second.ToString());
        held.Release();
        Assert.True((await first.Within()).ExitCode == ExitCodes.Done, (await first).ToString());
        Assert.Equal(["/data2/b.pitr", "/db/b.pitr -> /data2/b.pitr"], MoveTests.LayoutOfB(_disk));
    }

    [Fact]
    public async Task Two_fences_are_not_ended_by_the_datafiles_name()
    {
        FenceGrant one = await _database.FenceAsync("b", TimeSpan.FromHours(1)).Within();
        FenceGrant two = await _database.FenceAsync("b", TimeSpan.FromHours(1)).Within();
        Outcome several = await RunAsync("unfence", "b");
        Assert.Equal(ExitCodes.Refused, several.ExitCode);
        Assert.Contains($"{one.FenceId}", several.Error, StringComparison.Ordinal);
        Assert.Contains($"{two.FenceId}", several.Error, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.Done, (await RunAsync("unfence", "--fence", $"{one.FenceId}")).ExitCode);
        Assert.Equal(ExitCodes.Refused, (await RunAsync("unfence", "--fence", $"{one.FenceId}")).ExitCode); // stale
        Assert.Equal(ExitCodes.Done, (await RunAsync("unfence", "b")).ExitCode);
    }

    [Fact]
    public async Task A_file_that_is_offline_is_neither_fenced_nor_moved_and_the_others_serve_on()
    {
        await _database.PutAsync("b", "k", "v");
        _disk.Faults.On(FileOp.Write).Of("/db/b.pitr").Fail(Errno.EIO);
        await _database.CheckpointAsync().Within();
        foreach (string[] verb in new string[][] { ["fence", "b"], ["datafile", "move", "b", Target] })
        {
            Outcome outcome = await RunAsync(verb);
            Assert.True(outcome.ExitCode == ExitCodes.Refused, outcome.ToString());
            Assert.Contains("offline", outcome.Error, StringComparison.Ordinal);
        }

        await RequireServesAsync();
    }

    /// <summary>What a viewer may not, one by one; all else of the command line looks only.</summary>
    [Theory]
    [InlineData("checkpoint")]
    [InlineData("switch-wal")]
    [InlineData("restore-point", "now")]
    [InlineData("shutdown")]
    [InlineData("datafile", "create", "c")]
    [InlineData("datafile", "drop", "b")]
    [InlineData("datafile", "move", "b", Target)]
    [InlineData("datafile", "compact", "b")]
    [InlineData("drain", "/db", "--to", "/data2")]
    [InlineData("table", "create", "u")]
    [InlineData("table", "drop", "t")]
    [InlineData("put", "t", "k", "v")]
    [InlineData("delete", "t", "k")]
    [InlineData("fence", "b")]
    [InlineData("fence", "b", "--hold")]
    [InlineData("fence", "--renew", "01234567-89ab-cdef-0123-456789abcdef")]
    [InlineData("unfence", "b")]
    [InlineData("backup", "--to", "/data2/sets")]
    [InlineData("archive", "add", "/data2/sets")]
    [InlineData("archive", "remove", "/data2/sets")]
    [InlineData("archive", "check")]
    [InlineData("load", "t", "-", "--key", "id")]
    [InlineData("datafile", "recover", "b")]
    [InlineData("datafile", "recover", "b", "--plan")]
    [InlineData("pgtar", "-f", "set.tar")]
    public async Task A_viewer_is_refused_what_changes_something(params string[] verb)
    {
        string[] before = MoveTests.LayoutOfB(_disk);
        string[] words = [.. verb, "--token-file", Hosting.TokenFile.ForViewers(_server.Server.TokenFilePath)];
        Outcome outcome = verb[0] == "pgtar"
            ? await CliInProcess.RunPgtarAsync(_server.Folder, [.. words[1..], "--host", _server.Listen])
            : await RunAsync(words);
        Assert.True(outcome.ExitCode == ExitCodes.Refused, outcome.ToString());
        Assert.Contains("operator", outcome.Error, StringComparison.Ordinal);
        Assert.Equal(before, MoveTests.LayoutOfB(_disk));
        await RequireServesAsync();
    }

    private Task<Outcome> RunAsync(params string[] verb)
    {
        string[] token = verb.Contains("--token-file") ? [] : ["--token-file", _server.Server.TokenFilePath];
        return CliInProcess.RunAsync(
            _server.Folder, "{\"id\":\"1\"}\n", [.. verb, "--host", _server.Listen, .. token]);
    }

    private async Task RequireFailsAsync(int exitCode, string says, params string[] verb)
    {
        string[] before = MoveTests.LayoutOfB(_disk);
        Outcome outcome = await RunAsync([.. verb, "--json"]);
        Assert.True(outcome.ExitCode == exitCode, outcome.ToString());
        Assert.Equal("", outcome.Output);
        string[] lines = outcome.Error.TrimEnd('\n').Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("pitr: ", lines[0], StringComparison.Ordinal);
        Assert.StartsWith("hint: ", lines[1], StringComparison.Ordinal);
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
        Assert.Equal(before, MoveTests.LayoutOfB(_disk));
        Assert.Equal("somebody's"u8, _disk.ReadAll("/data2/taken"));
        Assert.Empty(new ControlFileStore(_disk, Folder).ReadLive().Moves);
        await RequireServesAsync();
    }

    /// <summary>It takes commits, and fences and moves what can be.</summary>
    private async Task RequireServesAsync()
    {
        Outcome put = await RunAsync("put", "t", "after", "it");
        Assert.True(put.ExitCode == ExitCodes.Done, put.ToString());
        Assert.Equal(ExitCodes.Done, (await RunAsync("fence", "main")).ExitCode);
        Assert.Equal(ExitCodes.Done, (await RunAsync("unfence", "main")).ExitCode);
    }
}
