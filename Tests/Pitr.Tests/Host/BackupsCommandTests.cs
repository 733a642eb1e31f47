using System.Security.Cryptography;
using System.Text.Json;
using Pitr.Recovery;

namespace Pitr.Tests;

/// <summary><c>pitr backups</c>: what is told of a set that does not count.</summary>
public sealed class BackupsCommandTests(ExpireFixture fixture) : IClassFixture<ExpireFixture>
{
    /// <summary>H29: no restore begins with a set that lacks a file that lived at its stop.</summary>
    [Fact]
    public async Task A_partial_set_is_called_partial_in_the_table_and_in_JSON()
    {
        string store = Path.Combine(fixture.Home, "partial");
        BadInputFixture.CopyFolder(fixture.Store, store);
        await MakePartialAsync(Path.Combine(store, "backups", fixture.Ids[1]), fixture.Ids[1]);

        using JsonDocument sets = JsonDocument.Parse(await CliInProcess.MustAsync(fixture.Home, "backups", store, "--json"));
        Assert.Equal(
            [(fixture.Ids[0], "complete"), (fixture.Ids[1], "partial")],
            sets.RootElement.EnumerateArray().Select(
                set => (set.GetProperty("backupId").GetString(), set.GetProperty("state").GetString())));
        string[] table = (await CliInProcess.MustAsync(fixture.Home, "backups", store)).Split('\n');
        Assert.Contains("complete", table.Single(line => line.Contains(fixture.Ids[0], StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("partial", table.Single(line => line.Contains(fixture.Ids[1], StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    private static async Task MakePartialAsync(string folder, string id)
    {
        string labelPath = Path.Combine(folder, BackupSet.LabelName);
        string manifestPath = Path.Combine(folder, BackupSet.ManifestName);
        BackupLabel whole = BackupLabel.Parse(id, await File.ReadAllBytesAsync(labelPath));
        BackupManifest manifest = BackupManifest.Parse(id, await File.ReadAllBytesAsync(manifestPath));
        byte[] label = (whole with { MissingFiles = [new FileId(99)] }).ToBytes();
        var entry = new ManifestEntry(BackupSet.LabelName, label.Length, Convert.ToHexString(SHA256.HashData(label)));
        await File.WriteAllBytesAsync(labelPath, label);
        await File.WriteAllBytesAsync(manifestPath, BackupManifest.Of(
            id, manifest.Objects.Select(one => one.Name == BackupSet.LabelName ? entry : one)).ToBytes());
    }
}
