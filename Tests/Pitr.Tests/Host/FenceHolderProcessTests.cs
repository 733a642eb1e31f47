using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// <c>pitr fence --hold</c> as a process (design §5, promise 6): a holder that leaves, is killed, or stands still.
/// </summary>
public sealed class FenceHolderProcessTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-hold-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_holder_that_is_told_to_end_unfences_and_its_copy_is_good()
    {
        await using ServeProcess serve = await ServeAsync();
        using Process holder = await HoldAsync(serve, "--lease", "1s"); // which it renews
        await SignalAsync(holder, "INT");
        await holder.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        string error = await holder.StandardError.ReadToEndAsync();
        Assert.True(holder.ExitCode == 0, error);
        Assert.Contains("the copy is good", error, StringComparison.Ordinal);
        Assert.Equal(0, await FencesAsync(serve));
    }

    [Fact]
    public async Task A_holder_that_is_killed_leaves_no_fence_behind()
    {
        await using ServeProcess serve = await ServeAsync();
        using Process holder = await HoldAsync(serve);
        await CliInProcess.MustAsync(_home, "put", "t", "k", "v", "--host", serve.Host);
        await SignalAsync(holder, "KILL");
        await serve.WhenLoggedAsync("is broken");
        Assert.Equal(0, await FencesAsync(serve));
        Assert.Equal("v\n", await CliInProcess.MustAsync(_home, "get", "t", "k", "--host", serve.Host));
        Assert.Equal(0, await serve.TerminateAsync()); // no fence is waited for
    }

    /// <summary>For the engine it is dead; should it come back, it hears that its copy is void.</summary>
    [Fact]
    public async Task A_holder_that_stands_still_loses_its_fence_and_is_told_when_it_goes_on()
    {
        await using ServeProcess serve = await ServeAsync();
        using Process holder = await HoldAsync(serve);
        await SignalAsync(holder, "STOP");
        await serve.WhenLoggedAsync("is broken");
        Assert.Equal(0, await FencesAsync(serve));
        await SignalAsync(holder, "CONT");
        await holder.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        string error = await holder.StandardError.ReadToEndAsync();
        Assert.True(holder.ExitCode is 1 or 4, error); // the session is lost, or its fence was broken
        Assert.DoesNotContain("is good", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_fence_without_hold_outlives_its_process()
    {
        await using ServeProcess serve = await ServeAsync();
        await PitrProcess.MustAsync(_home, "fence", "main", "--host", serve.Host);
        Assert.Equal(1, await FencesAsync(serve));
        await PitrProcess.MustAsync(_home, "unfence", "main", "--host", serve.Host);
        Assert.Equal(0, await FencesAsync(serve));
    }

    [Fact]
    public async Task A_holder_ends_at_once_with_what_broke_its_fence()
    {
        await using ServeProcess serve = await ServeAsync();
        using Process holder = await HoldAsync(serve, "--lease", "24h"); // renewed seldom
        await PitrProcess.MustAsync(_home, "shutdown", "--force", "--host", serve.Host);
        await holder.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        string error = await holder.StandardError.ReadToEndAsync();
        Assert.True(holder.ExitCode == 4, error); // by what it was told, not by the connection that ended (1)
        Assert.Contains("was broken by a forced shutdown", error, StringComparison.Ordinal);
    }

    /// <summary>Promise 7: fences are not durable; the holder hears that its engine is no more, and certifies nothing.</summary>
    [Fact]
    public async Task When_the_engine_is_killed_its_holder_ends_and_after_it_there_is_no_fence()
    {
        string token;
        await using (ServeProcess serve = await ServeAsync())
        {
            using Process holder = await HoldAsync(serve);
            await CliInProcess.MustAsync(_home, "put", "t", "k", "v", "--host", serve.Host);
            token = await TokenAsync(serve);

            await serve.KillAsync();
            await holder.WaitForExitAsync().WaitAsync(PitrProcess.Patience);

            string error = await holder.StandardError.ReadToEndAsync();
            Assert.True(holder.ExitCode == 1, error); // the connection is lost
            Assert.DoesNotContain("is good", error, StringComparison.Ordinal);
        }

        await using ServeProcess again = await ServeProcess.StartAsync(_home, "db");
        Assert.Equal(0, await FencesAsync(again));
        Assert.Equal("v\n", await CliInProcess.MustAsync(_home, "get", "t", "k", "--host", again.Host));
        Outcome unfenced = await PitrProcess.RunAsync(_home, "unfence", "--fence", token, "--host", again.Host);
        Assert.True(unfenced.ExitCode == 4, unfenced.ToString());
        Assert.Contains($"No fence {token} is held", unfenced.Error, StringComparison.Ordinal);
        Assert.Equal(0, await again.TerminateAsync());
    }

    private async Task<ServeProcess> ServeAsync()
    {
        await CliInProcess.MustAsync(_home, "init", "db");
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        return await ServeProcess.StartAsync(_home, "db");
    }

    /// <summary>A process that holds a fence: what it says of it is on its standard output.</summary>
    private async Task<Process> HoldAsync(ServeProcess serve, params string[] options)
    {
        Process holder = PitrProcess.Start(
            _home, ["fence", "main", "--hold", "--json", "--host", serve.Host, .. options]);
        string? said = await holder.StandardOutput.ReadLineAsync().WaitAsync(PitrProcess.Patience);
        using JsonDocument fence = JsonDocument.Parse(said ?? await holder.StandardError.ReadToEndAsync());
        Assert.Equal("main", fence.RootElement.GetProperty("datafile").GetString());
        Assert.Equal(1, await FencesAsync(serve));
        return holder;
    }

    private async Task<int> FencesAsync(ServeProcess serve)
    {
        using JsonDocument status = JsonDocument.Parse(
            await CliInProcess.MustAsync(_home, "status", "--json", "--host", serve.Host));
        return status.RootElement.GetProperty("datafiles")[0].GetProperty("fences").GetArrayLength();
    }

    private async Task<string> TokenAsync(ServeProcess serve)
    {
        using JsonDocument status = JsonDocument.Parse(
            await CliInProcess.MustAsync(_home, "status", "--json", "--host", serve.Host));
        return Assert.Single(status.RootElement.GetProperty("datafiles")[0].GetProperty("fences").EnumerateArray())
            .GetProperty("fenceId").GetString()!;
    }

    private static async Task SignalAsync(Process process, string signal)
    {
        using Process kill = Process.Start(
            "kill", ["-" + signal, process.Id.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }
}
