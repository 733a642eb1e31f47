using System.Diagnostics;
using System.Text.Json;
using Amazon.Runtime;
using Amazon.S3.Model;
using Pitr.Actors;
using Pitr.Archive.S3;
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
    public async Task Copies_by_cp_dd_tar_and_cat_are_datafiles_as_of_the_fence() => await CopyAsync(
        By("cp", "cp db/main.pitr cp.pitr"),
        By("dd", "dd if=db/main.pitr of=dd.pitr bs=10007 status=none"),
        By("tar", "tar -cf - db/main.pitr | tar -xOf - > tar.pitr"),
        By("cat", "cat db/main.pitr > cat.pitr"));

    [ToolFact("rsync")]
    public async Task A_copy_by_rsync_is_a_datafile_as_of_the_fence() => await CopyAsync(
        By("rsync", "rsync db/main.pitr rsync.pitr"), By("again", "rsync --inplace --checksum db/main.pitr again.pitr"));

    [Fact]
    public async Task What_a_client_of_an_object_store_uploads_is_a_datafile_as_of_the_fence()
    {
        await using S3Double service = await S3Double.StartAsync();
        var client = new S3Client(
            new BasicAWSCredentials(S3Double.AccessKey, S3Double.SecretKey), new Uri(service.Endpoint), null,
            isPathStyle: true, PitrProcess.Patience);
        await CopyAsync(("object", async () =>
        {
            await client.Patient.PutObjectAsync(new PutObjectRequest
            {
                BucketName = S3Double.Bucket,
                Key = "main.pitr",
                FilePath = Path.Combine(_home, "db", "main.pitr"),
                UseChunkEncoding = false,
            });
            await File.WriteAllBytesAsync(Path.Combine(_home, "object.pitr"), service["main.pitr"]!);
        }
        ));
    }

    private (string Name, Func<Task> Copy) By(string name, string script) =>
        (name, async () => Assert.Equal(0, await ShellAsync(script)));

    /// <summary>Each makes NAME.pitr in turn, and before each the rows change and a checkpoint is made.</summary>
    private async Task CopyAsync(params (string Name, Func<Task> Copy)[] ways)
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

        foreach ((string name, Func<Task> copy) in ways)
        {
            Outcome changed = await CliInProcess.RunAsync(
                _home, rows.Replace("\"v\":\"", $"\"v\":\"{name} ", StringComparison.Ordinal), load);
            Assert.True(changed.ExitCode == 0, changed.ToString());
            await CliInProcess.MustAsync(_home, "checkpoint", "--host", serve.Host);
            await copy();
        }

        await CliInProcess.MustAsync(_home, "unfence", "main", "--host", serve.Host);
        DatafileEnvironment environment =
            EngineFactory.ContextFor(Path.Combine(_home, "db"), new PitrOptions()).Environment;
        string[] copies = [.. ways.Select(way => Path.Combine(_home, way.Name + ".pitr"))];
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
