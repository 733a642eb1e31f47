using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pitr.Recovery;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>
/// <c>pitr restore</c> and <c>pitr verify</c> with a store in which something is other than it was, that is slow, or that tells
/// wrong lengths: exit code, two lines, and a target folder that is absent.
/// </summary>
public sealed class RestoreStoreCasesTests : IDisposable
{
    private const string Into = "again";
    private static readonly Task<(SimulatedDisk Disk, string First, string Second)> Recorded = RecordedAsync();
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-stores-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    /// <summary>An object of the set is gone, cut, or turned over; two segments, or objects of two sets, are exchanged.</summary>
    [Theory]
    [InlineData("gone", BackupSet.ManifestName, 4)]
    [InlineData("cut", BackupSet.ManifestName, 5)]
    [InlineData("turned", BackupSet.ManifestName, 5)]
    [InlineData("cut", BackupSet.LabelName, 5)]
    [InlineData("turned", BackupSet.LabelName, 5)]
    [InlineData("cut", BackupSet.ControlName, 5)]
    [InlineData("turned", BackupSet.ControlName, 5)]
    [InlineData("turned", "datafiles/main.pitr", 5)]
    [InlineData("of the other set", BackupSet.ManifestName, 5)]
    [InlineData("of the other set", BackupSet.LabelName, 5)]
    [InlineData("of the other set", BackupSet.ControlName, 5)]
    [InlineData("of the other set", "datafiles/main.pitr", 5)]
    [InlineData("segments exchanged", "", 5)]
    public async Task What_is_not_what_it_was_is_told_by_the_exit_code(string kind, string name, int exitCode)
    {
        (SimulatedDisk recorded, string first, string second) = await Recorded;
        SimulatedDisk disk = recorded.KillCopy();
        string path = $"{RecoveryLab.Archive}/{BackupSet.PrefixOf(first)}{name}";
        string other = $"{RecoveryLab.Archive}/{BackupSet.PrefixOf(second)}{name}";
        switch (kind)
        {
            case "gone":
                disk.Delete(path);
                break;
            case "cut":
                DatafileRecoveryTests.Put(disk, path, disk.ReadAll(path)[..^1]);
                break;
            case "turned":
                disk.Damage(path, disk.ReadAll(path).Length / 3, mask: 0x01);
                break;
            case "of the other set":
                DatafileRecoveryTests.Put(disk, path, disk.ReadAll(other));
                break;
            default:
                string[] segments = [.. MixedLab.FilesUnder(disk, RecoveryLab.Archive)
                    .Where(found => !found.Contains("/backups/", StringComparison.Ordinal)
                        && !found.Contains("part", StringComparison.Ordinal)
                        && Path.GetFileName(found).StartsWith("0000000100", StringComparison.Ordinal))];
                byte[] last = disk.ReadAll(segments[^1]);
                DatafileRecoveryTests.Put(disk, segments[^1], disk.ReadAll(segments[^2]));
                DatafileRecoveryTests.Put(disk, segments[^2], last);
                break;
        }

        RealFolders.Write(disk, RecoveryLab.Archive, _home);
        string[] restore =
            ["restore", "--from", _home + RecoveryLab.Archive, "--into", Into, "--backup", first, "--timeline", "1"];
        await RequireFailsAsync(exitCode, [.. restore, "--plan"]);
        await RequireFailsAsync(exitCode, restore);
    }

    [Fact]
    public async Task A_restore_over_a_running_engine_is_refused_and_the_engine_goes_on()
    {
        await PitrProcess.MustAsync(_home, "init", Into, "--archive", Path.Combine(_home, "archive"));
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, Into);
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--host", serve.Host);
        await CliInProcess.MustAsync(_home, "backup", "--to", Path.Combine(_home, "archive"), "--host", serve.Host);
        foreach (string[] more in new string[][] { [], ["--plan"] })
        {
            Outcome outcome = await CliInProcess.RunAsync(
                _home, ["restore", "--from", Path.Combine(_home, "archive"), "--into", Into, .. more]);
            Assert.Equal((4, ""), (outcome.ExitCode, outcome.Output));
            Assert.Contains("is not empty", outcome.Error, StringComparison.Ordinal);
        }

        await CliInProcess.MustAsync(_home, "put", "t", "k", "v", "--host", serve.Host);
        Assert.Equal("v", (await CliInProcess.MustAsync(_home, "get", "t", "k", "--host", serve.Host)).Trim());
    }

    /// <summary>It answers nothing, from the first question on or when a datafile is asked for: the store failed, and nothing else.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("datafiles/")]
    public async Task A_store_that_does_not_answer_in_time_has_failed(string question)
    {
        await using S3Double service = await S3Double.StartAsync();
        string store = await BackedUpAsync(service);
        service.Meddle = async http =>
        {
            if (!http.Request.Path.Value!.Contains(question, StringComparison.Ordinal))
                return false;
            await UntilAbortedAsync(http);
            return true;
        };

        await RequireFailsAsync(1, "restore", "--from", store, "--into", Into);
        await RequireFailsAsync(1, "verify", store);
        service.Meddle = null;
        await CliInProcess.MustAsync(_home, "restore", "--from", store, "--into", Into, "--detached");
    }

    /// <summary>What it says it has is not what it gives: that is damage.</summary>
    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public async Task A_store_that_gives_another_length_is_told_as_damage(int more)
    {
        await using S3Double service = await S3Double.StartAsync();
        string store = await BackedUpAsync(service);
        using JsonDocument sets = JsonDocument.Parse(await CliInProcess.MustAsync(_home, "backups", store, "--json"));
        string id = sets.RootElement[0].GetProperty("backupId").GetString()!;
        string key = $"lying/{BackupSet.PrefixOf(id)}{BackupSet.DatafileName("main")}";
        byte[] whole = service[key]!;
        service[key] = more < 0 ? whole[..^1] : [.. whole, 0];

        await RequireFailsAsync(5, "restore", "--from", store, "--into", Into);
        await RequireFailsAsync(5, "verify", store);
    }

    private async Task<string> BackedUpAsync(S3Double service)
    {
        S3Double.PutCredentialsIntoTheEnvironment();
        string store = $"s3://{S3Double.Bucket}/lying?endpoint={service.Endpoint}&timeout=1";
        await CliInProcess.MustAsync(_home, "init", "db", "--archive", store);
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await CliInProcess.MustAsync(_home, "backup", "--to", store, "--database", "db");
        return store;
    }

    private static async Task UntilAbortedAsync(HttpContext http)
    {
        var aborted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration told = http.RequestAborted.Register(() => aborted.TrySetResult());
        await aborted.Task;
    }

    private async Task RequireFailsAsync(int exitCode, params string[] args)
    {
        Outcome outcome = await CliInProcess.RunAsync(_home, args);
        string[] lines = outcome.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(
            outcome.ExitCode == exitCode && outcome.Output.Length == 0 && lines.Length == 2
                && lines[0].StartsWith("pitr: ", StringComparison.Ordinal) && lines[1].StartsWith("hint: ", StringComparison.Ordinal)
                && !lines[1].Contains("bug of pitr", StringComparison.Ordinal),
            $"{string.Join(' ', args)}: {outcome}");
        Assert.False(Directory.Exists(Path.Combine(_home, Into)), "The target folder is there.");
    }

    /// <summary>An archive with a set of each of two timelines.</summary>
    private static async Task<(SimulatedDisk Disk, string First, string Second)> RecordedAsync()
    {
        (RecoveryLab lab, BackupResult first, _) = await RecoveryLab.RecordedAsync(14);
        await RecoveryLab.RestoredAsync(
            lab.Disk, RecoveryTarget.Including(lab.Moments[^5].Lsn), "/second", detached: false);
        await using PitrDatabase database = await PitrDatabase.OpenAsync("/second", lab.Options).WaitAsync(MixedLab.Patience);
        BackupResult second = await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive })
            .WaitAsync(MixedLab.Patience);
        await database.ShutdownAsync().WaitAsync(MixedLab.Patience);
        return (lab.Disk, first.BackupId, second.BackupId);
    }
}
