using System.Diagnostics;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>H26, with processes: <c>cp -a</c> of a database that runs is started beside it.</summary>
public sealed class ArchiveCopyProcessTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-copy-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_copy_that_is_started_beside_its_source_ships_nothing_and_the_archive_goes_on()
    {
        string archive = Path.Combine(_home, "archive");
        await PitrProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB", "--archive", archive);
        await using ServeProcess source = await ServeProcess.StartAsync(_home, "db");
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--host", source.Host);
        await PitrProcess.MustAsync(_home, "put", "t", "of-both", "1", "--host", source.Host);
        using (Process copying = Process.Start("cp", ["-a", Path.Combine(_home, "db"), Path.Combine(_home, "copy")]))
            await copying.WaitForExitAsync();

        await using ServeProcess copy = await ServeProcess.StartAsync(_home, "copy");
        await PitrProcess.MustAsync(_home, "put", "t", "of-the-copy", "2", "--host", copy.Host);
        await copy.WhenLoggedAsync("is owned by");
        using JsonDocument status =
            JsonDocument.Parse(await PitrProcess.MustAsync(_home, "status", "--json", "--host", copy.Host));
        Assert.Contains(
            "is owned by",
            status.RootElement.GetProperty("archive")[0].GetProperty("lastError").GetString(), StringComparison.Ordinal);
        await copy.KillAsync();

        await PitrProcess.MustAsync(_home, "put", "t", "of-the-source", "3", "--host", source.Host);
        Assert.Equal(0, await source.TerminateAsync());
        await PitrProcess.MustAsync(_home, "archive", "check", "--database", "db");
        string archived = await PitrProcess.MustAsync(_home, "wal", "dump", archive);
        Assert.Contains("of-both", archived, StringComparison.Ordinal);
        Assert.Contains("of-the-source", archived, StringComparison.Ordinal);
        Assert.DoesNotContain("of-the-copy", archived, StringComparison.Ordinal);
    }
}
