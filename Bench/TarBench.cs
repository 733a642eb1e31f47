using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how fast is <c>pgtar</c> of a running engine's datafile of 1 GiB beside <c>tar</c> of the same file?
/// </summary>
/// <remarks>
/// In each repetition, in turn: to a file, durable (<c>tar -cf FILE</c> and <c>sync FILE</c>; <c>pgtar -f FILE</c> syncs by
/// itself), and to a pipe that <c>cat</c> reads. The engine is <c>pitr serve</c> without a load, the datafile in the page
/// cache. Of <c>pgtar</c> two times are told: the whole process, which begins with the start of .NET, and its own, from
/// its request to the engine until the tar is whole ("pgtar, own"). It does more than tar: it asks the engine for
/// fences, checks each page, and makes SHA-256 of all.
/// </remarks>
internal static partial class TarBench
{
    private const int Rows = 4_600_000;

    private static readonly string Artifacts = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "../../.."));

    private static readonly string PitrPath = Path.Combine(Artifacts, "bin/Pitr.Cli/release/pitr");

    /// <summary>
    /// As it is installed, compiled ahead by <c>dotnet publish Host/Pgtar -c Release -r linux-x64</c>; else the one that
    /// was built beside this program.
    /// </summary>
    private static readonly string PgtarPath = new[]
    {
        Path.Combine(Artifacts, "publish/Pgtar/release_linux-x64/pgtar"),
        Path.Combine(Artifacts, "bin/Pgtar/release/pgtar"),
    }.First(File.Exists);

    public static void Run(BenchOptions options)
    {
        using var folder = new BenchFolder(options.Folder, "pitr");
        MeasureAsync(folder.Path, options).GetAwaiter().GetResult();
    }

    private static async Task MeasureAsync(string folder, BenchOptions options)
    {
        string database = Path.Combine(folder, "db");
        await LoadAsync(database).ConfigureAwait(false);
        using var engine = new Process
        {
            StartInfo = new ProcessStartInfo(
                PitrPath, ["serve", database, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        engine.ErrorDataReceived += (_, _) => { }; // so that it never waits for somebody to read its log
        engine.Start();
        try
        {
            engine.BeginErrorReadLine();
            string ready = await engine.StandardOutput.ReadLineAsync().ConfigureAwait(false) ?? "";
            string[] words = ready.Split(' ');
            int host = Array.IndexOf(words, "--host");
            if (host < 0)
                throw new InvalidOperationException($"pitr serve did not get ready: '{ready}'");
            string file = Path.Combine(database, "main.pitr");
            await Tool.ShellAsync($"cat '{file}' > /dev/null").ConfigureAwait(false); // into the page cache
            await CompareAsync(file, folder, words[host + 1], options).ConfigureAwait(false);
        }
        finally
        {
            engine.Kill();
            await engine.WaitForExitAsync().ConfigureAwait(false);
        }
    }

    private static async Task CompareAsync(string file, string folder, string host, BenchOptions options)
    {
        Console.Error.WriteLine($"pgtar is {PgtarPath}");
        long bytes = new FileInfo(file).Length;
        string to = Path.Combine(folder, "copy.tar");
        string tar = $"tar -C '{Path.GetDirectoryName(file)}'";
        string pgtar = $"'{PgtarPath}' --host {host}";
        string name = Path.GetFileName(file);
        var ratios = new List<(string To, double OfProcess, double Own)>();
        for (int i = 0; i < options.Repetitions; i++)
        {
            foreach ((string where, string ofTar, string ofPgtar) in new[]
            {
                ("file", $"{tar} -cf '{to}' '{name}' && sync '{to}'", $"{pgtar} -f '{to}'"),
                ("pipe", $"{tar} -cf - '{name}' | cat > /dev/null", $"{pgtar} | cat > /dev/null"),
            })
            {
                ToolEnd other = await Tool.ShellAsync(ofTar).ConfigureAwait(false);
                File.Delete(to);
                ToolEnd ours = await Tool.ShellAsync(ofPgtar).ConfigureAwait(false);
                File.Delete(to);
                TimeSpan own = OwnTime(ours.Told);
                CopyLine.Of("pgtar", "tar", where, bytes, other.Took).Print(options.Json);
                CopyLine.Of("pgtar", "pgtar", where, bytes, ours.Took).Print(options.Json);
                CopyLine.Of("pgtar", "pgtar, own", where, bytes, own).Print(options.Json);
                ratios.Add((where, other.Took / ours.Took, other.Took / own));
            }
        }

        foreach (IGrouping<string, (string To, double OfProcess, double Own)> of in ratios.GroupBy(r => r.To))
        {
            VerdictLine.AtLeast("pgtar", $"rate to a {of.Key}, share of tar, own time (median)",
                VerdictLine.Median(of.Select(ratio => ratio.Own)), 0.8).Print(options.Json);
            VerdictLine.AtLeast("pgtar", $"rate to a {of.Key}, share of tar, whole process (median)",
                VerdictLine.Median(of.Select(ratio => ratio.OfProcess)), 0.8).Print(options.Json);
        }
    }

    private static async Task LoadAsync(string folder)
    {
        PitrDatabase database = await PitrDatabase.CreateAsync(folder).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            await new CommitLoad(database, table, Rows).LoadAsync().ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
        }
    }

    /// <summary>From its last line: "set …: 1 datafiles, 1.10 GiB in 1.52 s, from …".</summary>
    private static TimeSpan OwnTime(string told) => TimeSpan.FromSeconds(
        OwnSeconds().Match(told) is { Success: true } found
            ? double.Parse(found.Groups[1].Value, CultureInfo.InvariantCulture)
            : throw new InvalidOperationException($"pgtar did not tell its time: {told}"));

    [GeneratedRegex(@"^set .* in ([0-9.]+) s", RegexOptions.Multiline)]
    private static partial Regex OwnSeconds();
}
