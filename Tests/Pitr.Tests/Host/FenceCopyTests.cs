using System.Diagnostics;
using System.Text.Json;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// Design §5, promise 1: any tool's copy of a fenced datafile is a datafile as of the fence's LSN, while commits go on.
/// </summary>
public sealed class FenceCopyTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-copies-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task Copies_by_cp_dd_tar_and_whatever_else_reads_files_are_datafiles_as_of_the_fence()
    {
        await CliInProcess.MustAsync(_home, "init", "db");
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        string rows = string.Concat(Enumerable.Range(0, 3000).Select(n => $"{{\"k\":\"{n:D5}\",\"v\":\"{n}\"}}\n"));
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
        string[] load = ["load", "t", "-", "--format", "jsonl", "--key", "k", "--host", serve.Host];
        Outcome loaded = await CliInProcess.RunAsync(_home, rows, load);
        Assert.True(loaded.ExitCode == 0, loaded.ToString());
        using JsonDocument fence = JsonDocument.Parse(
            await CliInProcess.MustAsync(_home, "fence", "main", "--json", "--host", serve.Host));

        string[] copies = [];
        foreach ((string program, string script) in new[]
        {
            ("cp", "cp db/main.pitr cp.pitr"),
            ("dd", "dd if=db/main.pitr of=dd.pitr bs=10007 status=none"),
            ("tar", "tar -cf - db/main.pitr | tar -xOf - > tar.pitr"),
            ("cat", "cat db/main.pitr > cat.pitr"),
            ("rsync", "rsync db/main.pitr rsync.pitr"),
            ("curl", $"curl -sS file://{_home}/db/main.pitr -o curl.pitr"), // reads as a client of an object store does
        })
        {
            if (await ShellAsync($"command -v {program}") != 0)
                continue;
            Outcome changed = await CliInProcess.RunAsync(
                _home, rows.Replace("\"v\":\"", $"\"v\":\"{program} ", StringComparison.Ordinal), load);
            Assert.True(changed.ExitCode == 0, changed.ToString());
            await CliInProcess.MustAsync(_home, "checkpoint", "--host", serve.Host);
            Assert.Equal(0, await ShellAsync(script));
            copies = [.. copies, Path.Combine(_home, program + ".pitr")];
        }

        await CliInProcess.MustAsync(_home, "unfence", "main", "--host", serve.Host);
        Assert.True(copies.Length >= 4, "The machine has none of the tools.");
        DatafileEnvironment environment =
            EngineFactory.ContextFor(Path.Combine(_home, "db"), new PitrOptions()).Environment;
        byte[] first = File.ReadAllBytes(copies[0]);
        foreach (string copy in copies)
        {
            DatafileReport report = DatafileCheck.Run(environment, copy);
            Assert.Empty(report.Problems);
            Assert.Equal(fence.RootElement.GetProperty("checkpointLsn").GetString(), $"{report.Meta.CheckpointLsn}");
            Assert.Equal(fence.RootElement.GetProperty("length").GetInt64(), new FileInfo(copy).Length);
            Assert.True(first.AsSpan().SequenceEqual(File.ReadAllBytes(copy)), copy);
        }

        Assert.False(first.AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(_home, "db", "main.pitr"))));
        Assert.Equal(0, await serve.TerminateAsync());
    }

    private async Task<int> ShellAsync(string script)
    {
        using Process shell = Process.Start(new ProcessStartInfo("bash", ["-c", "set -o pipefail; " + script])
        {
            WorkingDirectory = _home,
            RedirectStandardOutput = true,
        })!;
        await shell.StandardOutput.ReadToEndAsync();
        await shell.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        return shell.ExitCode;
    }
}
