using System.Diagnostics;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// H26, with processes and real links: <c>cp -a</c> of a database that was stopped, and has datafiles on another disk, is
/// started beside it.
/// </summary>
public sealed class CopyOutsideProcessTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-outside-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_copy_leaves_the_datafiles_of_its_source_alone_and_the_source_goes_on_with_everything()
    {
        string born = Path.Combine(_home, "disk2", "born.pitr");
        string moved = Path.Combine(_home, "disk2", "moved.pitr");
        Directory.CreateDirectory(Path.Combine(_home, "disk2"));
        await PitrProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB");
        await using (ServeProcess source = await ServeProcess.StartAsync(_home, "db"))
        {
            foreach (string[] line in (string[][])
            [
                ["datafile", "create", "born", "--path", born], ["table", "create", "b", "--datafile", "born"],
                ["datafile", "create", "moved"], ["table", "create", "m", "--datafile", "moved"], ["table", "create", "t"],
                ["put", "b", "k", "of the source"], ["put", "m", "k", "of the source"],
                ["datafile", "move", "moved", moved],
            ])
                await PitrProcess.MustAsync(_home, [.. line, "--host", source.Host]);
            Assert.Equal(0, await source.TerminateAsync());
        }

        using (Process copying = Process.Start("cp", ["-a", Path.Combine(_home, "db"), Path.Combine(_home, "copy")]))
            await copying.WaitForExitAsync();
        byte[][] before = [File.ReadAllBytes(born), File.ReadAllBytes(moved)];

        await using (ServeProcess copy = await ServeProcess.StartAsync(_home, "copy"))
        {
            foreach (string table in (string[])["b", "m"])
            {
                Outcome refused = await PitrProcess.RunAsync(
                    _home, "put", table, "k", "of the copy", "--host", copy.Host);
                Assert.Equal((4, ""), (refused.ExitCode, refused.Output));
                Assert.Contains("recover " + Path.Combine(_home, "copy") + " --moved", refused.Error, StringComparison.Ordinal);
            }

            await PitrProcess.MustAsync(_home, "put", "t", "k", "of the copy", "--host", copy.Host);
            await PitrProcess.MustAsync(_home, "checkpoint", "--host", copy.Host);
            Assert.Equal(4, (await PitrProcess.RunAsync(_home, "datafile", "recover", "moved", "--host", copy.Host)).ExitCode);
            Assert.Equal(0, await copy.TerminateAsync());
        }

        Assert.Equal(before, [File.ReadAllBytes(born), File.ReadAllBytes(moved)]);
        await using (ServeProcess source = await ServeProcess.StartAsync(_home, "db"))
        {
            foreach (string table in (string[])["b", "m"])
                Assert.Contains(
                    "of the source", await PitrProcess.MustAsync(_home, "get", table, "k", "--host", source.Host),
                    StringComparison.Ordinal);
            Outcome refused = await PitrProcess.RunAsync(_home, "recover", "copy", "--moved");
            Assert.Equal((4, ""), (refused.ExitCode, refused.Output)); // its source runs
            Assert.Equal(0, await source.TerminateAsync());
        }
    }

    /// <summary>As cli.md has it: moved to another place, and said so.</summary>
    [Fact]
    public async Task A_database_that_was_moved_has_its_datafiles_outside_again_when_that_is_said()
    {
        string outside = Path.Combine(_home, "disk2", "b.pitr");
        Directory.CreateDirectory(Path.Combine(_home, "disk2"));
        await CliInProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB");
        await CliInProcess.MustAsync(_home, "datafile", "create", "b", "--path", outside, "--database", "db");
        await CliInProcess.MustAsync(_home, "table", "create", "b", "--datafile", "b", "--database", "db");
        await CliInProcess.MustAsync(_home, "put", "b", "k", "v", "--database", "db");
        Directory.Move(Path.Combine(_home, "db"), Path.Combine(_home, "renamed")); // the same folder
        Assert.Contains(
            "v", await CliInProcess.MustAsync(_home, "get", "b", "k", "--database", "renamed"), StringComparison.Ordinal);

        using (Process copying = Process.Start("cp", ["-a", Path.Combine(_home, "renamed"), Path.Combine(_home, "other")]))
            await copying.WaitForExitAsync();
        Directory.Delete(Path.Combine(_home, "renamed"), recursive: true);
        Outcome refused = await CliInProcess.RunAsync(_home, "get", "b", "k", "--database", "other");
        Assert.Equal((4, ""), (refused.ExitCode, refused.Output));
        Assert.Contains(
            "It is not read", await CliInProcess.MustAsync(_home, "check", "other"), StringComparison.Ordinal);
        Assert.Contains(
            "would be", await CliInProcess.MustAsync(_home, "recover", "other", "--moved", "--plan"), StringComparison.Ordinal);
        Assert.Equal(4, (await CliInProcess.RunAsync(_home, "get", "b", "k", "--database", "other")).ExitCode);

        using JsonDocument said = JsonDocument.Parse(
            await CliInProcess.MustAsync(_home, "recover", "other", "--moved", "--json"));
        JsonElement file = Assert.Single(said.RootElement.EnumerateArray());
        Assert.Equal(("b", outside), (file.GetProperty("datafile").GetString(), file.GetProperty("path").GetString()));
        Assert.Contains(
            "v", await CliInProcess.MustAsync(_home, "get", "b", "k", "--database", "other"), StringComparison.Ordinal);
    }
}
