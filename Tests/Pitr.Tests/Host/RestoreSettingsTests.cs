using System.Text;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>Whose settings `pitr restore` and `pitr recover` take: those of the database, and of the environment.</summary>
public sealed class RestoreSettingsTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-settings-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_recovery_takes_the_settings_of_its_folder_and_names_the_file_of_a_bad_one()
    {
        await BackedUpAsync();
        await CliInProcess.MustAsync(_home, "restore", "--from", "archive", "--into", "back", "--action", "pause");
        string file = Path.Combine(_home, "back", "pitr.json");
        string settings = File.ReadAllText(file);
        File.WriteAllText(file, """{ "memoryBudgetBytes": "plenty" }""");

        Outcome refused = await CliInProcess.RunAsync(_home, "recover", "back", "--promote");

        Assert.Equal(ExitCodes.Refused, refused.ExitCode);
        Assert.Contains(file, refused.Error, StringComparison.Ordinal);
        File.WriteAllText(file, settings);
        await CliInProcess.MustAsync(_home, "recover", "back", "--promote");
        Assert.Equal("v\n", await CliInProcess.MustAsync(_home, "get", "t", "k", "--database", "back"));
    }

    [Fact]
    public async Task A_restore_takes_the_settings_of_the_environment_but_its_stores()
    {
        await BackedUpAsync();
        Outcome refused = await RunAsync(
            ("PITR__MEMORYBUDGETBYTES", "1"), "restore", "--from", "archive", "--into", "back");
        Assert.Equal(ExitCodes.Refused, refused.ExitCode);
        Assert.Contains("PITR__MEMORYBUDGETBYTES", refused.Error, StringComparison.OrdinalIgnoreCase);
        Assert.False(Directory.Exists(Path.Combine(_home, "back")));

        string elsewhere = Directory.CreateDirectory(Path.Combine(_home, "elsewhere")).FullName;
        Outcome restored = await RunAsync(
            ("PITR__STORES__0", elsewhere), "restore", "--from", "archive", "--into", "drill", "--detached");
        Assert.True(restored.ExitCode == ExitCodes.Done, restored.ToString());
        Assert.Empty(Directory.GetFileSystemEntries(elsewhere));
    }

    private async Task BackedUpAsync()
    {
        await CliInProcess.MustAsync(_home, "init", "db", "--archive", "archive");
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await CliInProcess.MustAsync(_home, "put", "t", "k", "v", "--database", "db");
        await CliInProcess.MustAsync(_home, "backup", "--to", "archive", "--database", "db");
    }

    private async Task<Outcome> RunAsync((string Name, string Value) setting, params string[] args)
    {
        using var output = new MemoryStream();
        using var error = new StringWriter { NewLine = "\n" };
        using var interruption = new Interruption();
        var console = new CliConsole(
            output, error, static () => Stream.Null, name => name == "HOME" ? _home : null, _home,
            OutputIsTerminal: false, ErrorIsTerminal: false)
        {
            Settings = () => [new KeyValuePair<string, string>(setting.Name, setting.Value)],
        };
        int exitCode = await CommandLine.RunAsync(args, console, new ProcessTargets(console), interruption);
        return new Outcome(exitCode, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }
}
