using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Xunit.Abstractions;

namespace Pitr.Tests;

/// <summary>
/// Power losses of a real block device under a real file system, with the program itself on it: the disk as it was at
/// random moments of a load, with what was not synced lost, reordered or torn, is mounted again and the database on it
/// opened. What was acknowledged before the moment is there, no transaction is there by half; and once more, when the
/// power goes while the database is being opened.
/// </summary>
/// <remarks>
/// The load runs once; each moment is a place in the device's log (<see cref="RecordingDevice"/>), and images of many
/// moments are made from it. <c>PITR_POWER_CUTS=n</c> makes more of them.
/// </remarks>
public sealed class PowerLossTests(ITestOutputHelper output) : IDisposable
{
    private const int Megabytes = 96;
    private const int BatchRecords = 7;
    private const int CutsDefault = 3;
    private const int LogLengthMax = 2_500;
    private const int Checkpoints = 3;

    private readonly string _home = Directory.CreateTempSubdirectory("pitr-power-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [BlockDeviceFact]
    public async Task After_a_power_loss_nothing_acknowledged_is_missing_and_no_transaction_is_there_by_half()
    {
        int seed = Environment.TickCount;
        var chance = new FuzzChance(seed);
        using RecordedVolume volume = RecordedVolume.Format(Folder("load"), Megabytes);
        (List<Moment> moments, int from) = await LoadAsync(volume);
        int cuts = int.Parse(
            Environment.GetEnvironmentVariable("PITR_POWER_CUTS") ?? $"{CutsDefault}", CultureInfo.InvariantCulture);
        for (int cut = 0; cut < cuts; cut++)
        {
            int length = from + chance.Next(volume.Device.LogLength - from);
            long acknowledged = moments.Last(moment => moment.LogLength <= length).Acknowledged;
            string what = $"seed {seed}, cut {cut} at {length} of {volume.Device.LogLength} writes and syncs";
            using RecordedVolume after = RecordedVolume.Mount(Folder($"cut-{cut}"), volume.ImageAt(length, chance));
            int there = await RequireWholeAsync(after, acknowledged, what);

            // The opening has written, too: the power goes again at some moment of it.
            int second = chance.Next(after.Device.LogLength + 1);
            using RecordedVolume again =
                RecordedVolume.Mount(Folder($"cut-{cut}-again"), after.ImageAt(second, chance));
            int thereAgain = await RequireWholeAsync(
                again, acknowledged, $"{what}, and at {second} of {after.Device.LogLength} of the opening");
            Assert.True(
                second < after.Device.LogLength || thereAgain == there,
                $"{what}: {there} records were shown, {thereAgain} are there.");
            output.WriteLine($"{what}: {acknowledged} records acknowledged, {there} there, again {thereAgain}.");
            await PitrProcess.MustAsync(_home, "check", Database(again));
        }
    }

    private static string Database(RecordedVolume volume) => Path.Combine(volume.Path, "db");

    private string Folder(string name) => Directory.CreateDirectory(Path.Combine(_home, name)).FullName;

    /// <summary>Loads and checkpoints; notes which records were acknowledged when the device's log had which length.</summary>
    private async Task<(List<Moment> Moments, int From)> LoadAsync(RecordedVolume volume)
    {
        string folder = Database(volume);
        string acks = Path.Combine(_home, "acks");
        await PitrProcess.MustAsync(_home, "init", folder, "--wal-segment-size", "256KiB");
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", folder);
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, folder);
        int from = volume.Device.LogLength;
        var moments = new List<Moment> { new(from, 0) };
        using Process load = PitrProcess.Start(
            _home, "load", "t", "-", "--format", "jsonl", "--key", "key", "--host", serve.Host,
            "--batch", BatchRecords.ToString(CultureInfo.InvariantCulture), "--acks", acks, "--rate", "3000");
        Task<string> said = load.StandardOutput.ReadToEndAsync();
        Task<string> error = load.StandardError.ReadToEndAsync();
        Task feed = FeedAsync(load);
        var clock = Stopwatch.StartNew();
        Task<Outcome>? checkpoint = null;
        int checkpoints = 0;
        while (volume.Device.LogLength < from + LogLengthMax && checkpoints < Checkpoints)
        {
            Assert.True(clock.Elapsed < PitrProcess.Patience, "The load writes too little.");
            Assert.False(load.HasExited, load.HasExited ? $"The load ended: {await error}" : "");
            long acknowledged = AcknowledgedRecords(acks); // first: what is told later may be durable already
            moments.Add(new Moment(volume.Device.LogLength, acknowledged));
            if (checkpoint is null or { IsCompleted: true } && acknowledged > 0)
            {
                checkpoint = PitrProcess.RunAsync(_home, "checkpoint", "--host", serve.Host);
                checkpoints++;
            }
            await Task.Delay(5);
        }
        Assert.True(moments[^1].Acknowledged > 500, "The load was hardly acknowledged: this would prove nothing.");
        load.Kill();
        await load.WaitForExitAsync();
        await feed;
        if (checkpoint is not null)
            await checkpoint;
        await serve.KillAsync();
        _ = await said;
        return (moments, from);
    }

    /// <summary>Opens the database on the volume; returns how many records there are.</summary>
    private async Task<int> RequireWholeAsync(RecordedVolume volume, long acknowledged, string what)
    {
        Outcome scan = await PitrProcess.RunAsync(_home, "scan", "t", "--json", "--database", Database(volume));
        Assert.True(scan.ExitCode == 0, $"{what}: the database does not open: {scan}");
        string[] lines = scan.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        for (int number = 0; number < lines.Length; number++)
        {
            using JsonDocument row = JsonDocument.Parse(lines[number]);
            Assert.True(
                row.RootElement.GetProperty("value").GetString() == RecordOf(number),
                $"{what}: record {number} is not what was sent, or one before it is missing.");
        }
        Assert.True(lines.Length % BatchRecords == 0, $"{what}: {lines.Length} records are there, so one transaction by half.");
        Assert.True(
            lines.Length >= acknowledged, $"{what}: {acknowledged} records were acknowledged, {lines.Length} are there.");
        return lines.Length;
    }

    private static string RecordOf(int number) => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"key":"{{number:D8}}","text":"a record of the transaction {{number / BatchRecords}}"}""");

    private static async Task FeedAsync(Process load)
    {
        try
        {
            for (int number = 0; ; number++)
                await load.StandardInput.WriteAsync(RecordOf(number) + "\n");
        }
        catch (IOException)
        {
            // The load was ended.
        }
    }

    private static long AcknowledgedRecords(string acks)
    {
        if (!File.Exists(acks))
            return 0;
        using var file = new FileStream(acks, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file);
        string text = reader.ReadToEnd();
        return text.AsSpan().Count('\n') * (long)BatchRecords;
    }

    /// <summary>At some moment.</summary>
    /// <param name="LogLength">Writes and syncs that had come at the latest.</param>
    /// <param name="Acknowledged">Records that had been acknowledged before.</param>
    private sealed record Moment(int LogLength, long Acknowledged);
}
