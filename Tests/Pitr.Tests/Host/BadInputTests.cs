using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>Makes the databases that bad input is tried on, once: making one takes several processes.</summary>
public sealed class BadInputFixture : IAsyncLifetime
{
    public const int Records = 3000;

    public string Home { get; } = Directory.CreateTempSubdirectory("pitr-bad-").FullName;

    /// <summary>A database that was closed in order, everything in its datafile.</summary>
    public string Closed => Path.Combine(Home, "closed");

    /// <summary>One whose engine was killed: the records are in its WAL only, over several segments.</summary>
    public string Killed => Path.Combine(Home, "killed");

    /// <summary>What the table <c>t</c> of both holds.</summary>
    public string Dump { get; private set; } = "";

    public async Task InitializeAsync()
    {
        var records = new StringBuilder();
        for (int number = 0; number < Records; number++)
        {
            records.Append(CultureInfo.InvariantCulture,
                $$"""{"key":"{{number:D6}}","text":"record {{number}} with some words that fill a page sooner or later"}""").Append('\n');
        }
        await CliInProcess.MustAsync(Home, "init", "closed", "--wal-segment-size", "64KiB");
        await CliInProcess.MustAsync(Home, "table", "create", "t", "--database", "closed");
        CopyFolder(Closed, Killed);
        string[] load = ["load", "t", "-", "--format", "jsonl", "--key", "key"];
        Outcome loaded = await CliInProcess.RunAsync(Home, records.ToString(), [.. load, "--database", "closed"]);
        Assert.True(loaded.ExitCode == 0, loaded.ToString());
        await using (ServeProcess serve = await ServeProcess.StartAsync(Home, Killed))
        {
            loaded = await CliInProcess.RunAsync(Home, records.ToString(), [.. load, "--host", serve.Host]);
            Assert.True(loaded.ExitCode == 0, loaded.ToString());
            await serve.KillAsync();
        }
        Dump = await CliInProcess.MustAsync(Home, "dump", "t", "--database", "closed");
        Assert.Equal(Records, Dump.Count(c => c == '\n'));
    }

    public Task DisposeAsync()
    {
        Directory.Delete(Home, recursive: true);
        return Task.CompletedTask;
    }

    public static void CopyFolder(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string folder in Directory.GetDirectories(from))
            CopyFolder(folder, Path.Combine(to, Path.GetFileName(folder)));
        foreach (string file in Directory.GetFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
    }
}

/// <summary>Runs where file systems may be mounted; skipped elsewhere, and says why.</summary>
public sealed class MountedFactAttribute : FactAttribute
{
    public MountedFactAttribute() => Skip = WhyNot();

    private static string? WhyNot()
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess)
            return "Only root may mount a small file system; the simulated disk covers this case too.";
        string folder = Directory.CreateTempSubdirectory("pitr-mount-").FullName;
        try
        {
            using Process mount = Process.Start(
                new ProcessStartInfo("mount", ["-t", "tmpfs", "none", folder]) { RedirectStandardError = true })!;
            mount.WaitForExit();
            if (mount.ExitCode != 0)
                return "This container may not mount; the simulated disk covers this case too.";
            using Process unmount = Process.Start("umount", [folder]);
            unmount.WaitForExit();
            return null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return "There is no mount command; the simulated disk covers this case too.";
        }
        finally
        {
            Directory.Delete(folder);
        }
    }
}

/// <summary>
/// Bad input as a user gives it: each a clear error of two lines with its exit code, nothing on standard output, and
/// nothing lost or changed: once the cause is gone, the database opens and holds what it held.
/// </summary>
public sealed class BadInputTests(BadInputFixture fixture) : IClassFixture<BadInputFixture>, IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-bad-").FullName;

    private string Database => Path.Combine(_home, "db");

    public void Dispose() => Directory.Delete(_home, recursive: true);

    // ---- names, keys, values -------------------------------------------------------------------------

    [Theory]
    [InlineData(3, "There is no table 'nope'", "count", "nope")]
    [InlineData(3, "has no key 'no-such-key'", "get", "t", "no-such-key")]
    [InlineData(3, "There is no datafile 'nope'", "datafile", "drop", "nope")]
    [InlineData(4, "There is already a table 't'", "table", "create", "t")]
    [InlineData(4, "'main' always exists", "datafile", "drop", "main")]
    [InlineData(2, "is not a NAME", "table", "create", "Not-A-Name")]
    [InlineData(2, "is not a NAME", "restore-point", "9lives")]
    [InlineData(4, "needs a running engine", "fence", "main")]
    public async Task A_wrong_name_changes_nothing(int exitCode, string says, params string[] verb)
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        Outcome outcome = await FailsAsync(exitCode, [.. verb, "--database", Database]);
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_key_that_is_too_long_is_told_with_both_lengths()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        Outcome outcome = await FailsAsync(2, "put", "t", new string('k', 1025), "v", "--database", Database);
        Assert.Contains("1025", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("1024", outcome.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await CliInProcess.RunAsync(
            _home, "put", "t", new string('k', 1024), "v", "--database", Database)).ExitCode);
        Assert.Equal(0, (
            await CliInProcess.RunAsync(_home, "delete", "t", new string('k', 1024), "--database", Database)).ExitCode);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_value_that_is_too_large_is_refused()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        Outcome outcome = await CliInProcess.RunAsync(
            _home, new string('v', Limits.ValueBytesMax + 1), ["put", "t", "k", "-", "--json", "--database", Database]);
        AssertFailure(2, outcome);
        await HoldsTheSameAsync();
    }

    [Theory]
    [InlineData("init", "new", "--wal-segment-size", "16MB")]
    [InlineData("init", "new", "--wal-segment-size", "-1")]
    [InlineData("fence", "main", "--lease", "10 minutes", "--host", "127.0.0.1:1")]
    [InlineData("restore", "--from", "store", "--into", "new", "--target-time", "2026-11-22T14:05:00")]
    [InlineData("restore", "--from", "store", "--into", "new", "--target-time", "yesterday")]
    [InlineData("restore", "--from", "store", "--into", "new", "--target-lsn", "12")]
    [InlineData("restore", "--from", "store", "--into", "new", "--target-xid", "-3")]
    [InlineData("restore", "--from", "store", "--into", "new", "--target-name", "No Name")]
    [InlineData("restore", "--from", "store", "--into", "new", "--target-immediate", "--target-xid", "3")]
    [InlineData("count", "t")]
    [InlineData("nonsense")]
    public async Task A_malformed_word_is_wrong_usage_and_makes_nothing(params string[] verb)
    {
        await FailsAsync(2, verb);
        Assert.False(Directory.Exists(Path.Combine(_home, "new")));
    }

    // ---- folders -------------------------------------------------------------------------------------

    [Fact]
    public async Task A_folder_that_is_no_database_is_not_found_and_stays_as_it_is()
    {
        string folder = Directory.CreateDirectory(Path.Combine(_home, "photos")).FullName;
        File.WriteAllText(Path.Combine(folder, "cat.jpg"), "meow");
        await FailsAsync(3, "count", "t", "--database", folder);
        await FailsAsync(3, "serve", folder, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0");
        await FailsAsync(3, "check", folder);
        await FailsAsync(3, "count", "t", "--database", Path.Combine(_home, "absent"));
        await FailsAsync(4, "init", folder);
        Assert.Equal(["cat.jpg"], Directory.GetFileSystemEntries(folder).Select(Path.GetFileName));
        Assert.False(Directory.Exists(Path.Combine(_home, "absent")));
    }

    [Fact]
    public async Task A_database_that_is_there_is_not_made_again()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await FailsAsync(4, "init", Database);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_database_that_an_engine_holds_is_locked()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, Database))
        {
            AssertFailure(4, await PitrProcess.RunAsync(_home, "count", "t", "--database", Database, "--json"));
            await FailsAsync(4, "count", "t", "--database", Database);
            await FailsAsync(4, "check", Database);
            await FailsAsync(4, "serve", Database, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0");
            Assert.Equal(fixture.Dump, await CliInProcess.MustAsync(_home, "dump", "t", "--host", serve.Host));
            Assert.Equal(0, await serve.TerminateAsync());
        }
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_database_of_another_format_version_is_refused_as_such()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await RefusedUntilUndoneAsync(4, ControlFileStore.FileName, bytes =>
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), ControlFileStore.Version + 1);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(^8..), XxHash3.HashToUInt64(bytes.AsSpan(..^8)));
        });
    }

    [Fact]
    public async Task An_engine_that_is_not_there_is_told_and_not_waited_for()
    {
        var clock = Stopwatch.StartNew();
        Outcome outcome = await CliInProcess.RunAsync(_home, "count", "t", "--host", "127.0.0.1:9", "--json");
        AssertFailure(1, outcome);
        Assert.True(
            clock.Elapsed < TimeSpan.FromSeconds(30), "The contract's bound for a client whose engine is gone.");
    }

    // ---- damage --------------------------------------------------------------------------------------

    [Fact]
    public async Task A_damaged_control_file_is_damage()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await RefusedUntilUndoneAsync(5, ControlFileStore.FileName, bytes => bytes[40] ^= 1);
    }

    [Fact]
    public async Task Damaged_meta_pages_are_damage()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await RefusedUntilUndoneAsync(5, "main.pitr", bytes =>
        {
            bytes[100] ^= 1;
            bytes[PageLayout.PageBytes + 100] ^= 1;
        });
    }

    [Fact]
    public async Task A_damaged_page_is_damage_when_it_is_read_and_what_was_dumped_before_it_is_no_success()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        string file = Path.Combine(Database, "main.pitr");
        byte[] whole = File.ReadAllBytes(file);
        byte[] damaged = [.. whole];
        for (int at = 2 * PageLayout.PageBytes; at < damaged.Length; at += PageLayout.PageBytes)
            damaged[at + 4000] ^= 0x10;
        File.WriteAllBytes(file, damaged);
        await FailsAsync(5, "check", Database);
        Outcome dump = await CliInProcess.RunAsync(_home, "dump", "t", "--database", Database);
        Assert.Equal(5, dump.ExitCode);
        await FailsAsync(5, "get", "t", "000001", "--database", Database);
        Assert.Equal(damaged.Length, new FileInfo(file).Length);
        Undo(file, whole, damaged);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_damaged_wal_record_below_the_known_end_is_damage()
    {
        BadInputFixture.CopyFolder(fixture.Killed, Database);
        string[] segments = Segments();
        Assert.True(segments.Length > 3, "The damage must lie below a later segment's records.");
        byte[] whole = File.ReadAllBytes(segments[1]);
        byte[] damaged = [.. whole];
        damaged[30_000] ^= 1;
        File.WriteAllBytes(segments[1], damaged);
        string last = segments[^1];
        string next = $"{Convert.ToUInt64(Path.GetFileName(last)[8..], 16) + 1:X16}";
        File.WriteAllText($"{last[..^16]}{next}.new", "what a kill leaves while a segment is made");
        Dictionary<string, string> before = Content(Database);
        await FailsAsync(5, "count", "t", "--database", Database);
        Assert.Equal(before, Content(Database));
        File.WriteAllBytes(segments[1], whole);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_wal_segment_that_is_missing_in_the_middle_is_no_end()
    {
        BadInputFixture.CopyFolder(fixture.Killed, Database);
        string segment = Segments()[1];
        File.Move(segment, Path.Combine(_home, "aside"));
        AssertFailure(4, await CliInProcess.RunAsync(_home, "count", "t", "--database", Database, "--json"));
        File.Move(Path.Combine(_home, "aside"), segment, overwrite: true);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_datafile_of_another_database_is_foreign()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await CliInProcess.MustAsync(_home, "init", "other", "--wal-segment-size", "64KiB");
        byte[] other = File.ReadAllBytes(Path.Combine(_home, "other", "main.pitr"));
        string file = Path.Combine(Database, "main.pitr");
        byte[] own = File.ReadAllBytes(file);
        File.WriteAllBytes(file, other);
        Outcome outcome = await FailsAsync(4, "count", "t", "--database", Database);
        Assert.Contains("belongs to database", outcome.Error, StringComparison.Ordinal);
        Assert.Equal(other, File.ReadAllBytes(file));
        File.WriteAllBytes(file, own);
        await HoldsTheSameAsync();
    }

    [Theory]
    [InlineData("{")]
    [InlineData("{\"stores\": \"archive\"}")]
    [InlineData("{\"roots\": \"/srv\"}")]
    [InlineData("{\"roots\": [7]}")]
    [InlineData("{\"stores\": [\"ftp://host/prefix\"]}")]
    public async Task Settings_that_cannot_be_used_are_refused_and_nothing_is_opened(string settings)
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        string file = Path.Combine(Database, "pitr.json");
        byte[] whole = File.ReadAllBytes(file);
        File.WriteAllText(file, settings);
        Dictionary<string, string> before = Content(Database);
        await FailsAsync(4, "count", "t", "--database", Database);
        await FailsAsync(4, "serve", Database, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0");
        Assert.Equal(before, Content(Database));
        File.WriteAllBytes(file, whole);
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task A_store_that_is_another_databases_archive_is_refused()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await CliInProcess.MustAsync(_home, "init", "other", "--archive", "archive");
        Dictionary<string, string> before = Content(Path.Combine(_home, "archive"));
        await FailsAsync(4, "backup", "--to", "archive", "--database", Database);
        await FailsAsync(4, "init", "third", "--archive", "archive");
        Assert.Equal(before, Content(Path.Combine(_home, "archive")));
        Assert.False(Directory.Exists(Path.Combine(_home, "third")));
        await HoldsTheSameAsync();
    }

    [Fact]
    public async Task An_address_that_cannot_be_served_is_wrong_usage_and_opens_nothing()
    {
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        Dictionary<string, string> before = Content(Database);
        await FailsAsync(2, "serve", Database, "--listen", "0.0.0.0:0");
        await FailsAsync(2, "serve", Database, "--http", "127.0.0.1:99999");
        Assert.Equal(before, Content(Database));
    }

    // ---- disks ---------------------------------------------------------------------------------------

    [MountedFact]
    public async Task A_folder_that_may_not_be_written_to_is_told()
    {
        string place = Directory.CreateDirectory(Path.Combine(_home, "place")).FullName;
        BadInputFixture.CopyFolder(fixture.Closed, Database);
        await ToolAsync("mount", "-t", "tmpfs", "-o", "size=8m,ro", "none", place);
        try
        {
            await FailsAsync(1, "init", Path.Combine(place, "new"));
        }
        finally
        {
            await ToolAsync("umount", place);
        }
        await ToolAsync("mount", "--bind", Database, place);
        try
        {
            await ToolAsync("mount", "-o", "remount,ro,bind", place);
            await FailsAsync(1, "put", "t", "k", "v", "--database", place);
        }
        finally
        {
            await ToolAsync("umount", place);
        }
        await HoldsTheSameAsync();
    }

    [MountedFact]
    public async Task A_full_disk_is_told_and_what_was_acknowledged_before_is_kept()
    {
        string place = Directory.CreateDirectory(Path.Combine(_home, "place")).FullName;
        string image = Path.Combine(_home, "image");
        using (FileStream file = File.Create(image))
            file.SetLength(24 << 20);
        await ToolAsync("mkfs.ext4", "-q", "-F", image);
        await ToolAsync("mount", "-o", "loop", image, place);
        try
        {
            string folder = Path.Combine(place, "db");
            await CliInProcess.MustAsync(_home, "init", folder, "--wal-segment-size", "1MiB");
            await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", folder);
            string acks = Path.Combine(_home, "acks");
            var records = new StringBuilder();
            for (int number = 0; number < 40_000; number++)
                records.Append(CultureInfo.InvariantCulture, $$"""{"key":"{{number:D6}}","text":"{{new string('x', 900)}}"}""").Append('\n');
            Outcome load = await CliInProcess.RunAsync(
                _home, records.ToString(),
                ["load", "t", "-", "--format", "jsonl", "--key", "key", "--batch", "100", "--acks", acks, "--json",
                    "--database", folder]);
            AssertFailure(1, load);
            string[] acknowledged = File.Exists(acks) ? File.ReadAllLines(acks) : [];
            Assert.NotEmpty(acknowledged);
            string bigger = Path.Combine(_home, "bigger"); // the way out: the same bytes where there is room
            BadInputFixture.CopyFolder(folder, bigger);
            using JsonDocument count =
                JsonDocument.Parse(await CliInProcess.MustAsync(_home, "count", "t", "--json", "--database", bigger));
            long present = count.RootElement.GetProperty("count").GetInt64();
            Assert.True(present >= 100 * acknowledged.Length,
                $"{100 * acknowledged.Length} records were acknowledged, {present} are there.");
            Assert.Equal(0, present % 100);
            await CliInProcess.MustAsync(_home, "check", bigger);
        }
        finally
        {
            await ToolAsync("umount", place);
        }
    }

    // ---- archive and targets -------------------------------------------------------------------------

    [Fact]
    public async Task An_unreachable_target_or_a_gap_is_refused_before_anything_is_written()
    {
        await CliInProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB", "--archive", "archive");
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await CliInProcess.MustAsync(_home, "put", "t", "a", "1", "--database", "db");
        await FailsAsync(3, "restore", "--from", "archive", "--into", "new"); // no backup set yet
        await CliInProcess.MustAsync(_home, "backup", "--to", "archive", "--database", "db");
        Outcome load = await CliInProcess.RunAsync(
            _home, fixture.Dump, ["load", "t", "-", "--format", "jsonl", "--key", "key", "--database", "db"]);
        Assert.True(load.ExitCode == 0, load.ToString());

        string[][] unreachable =
        [
            ["--target-name", "never-made"],
            ["--target-xid", "99999"],
            ["--target-lsn", "7F/0"],
            ["--target-time", "2001-01-01T00:00:00Z"],
        ];
        foreach (string[] target in unreachable)
        {
            await FailsAsync(4, ["restore", "--from", "archive", "--into", "new", .. target]);
            await FailsAsync(4, ["restore", "--from", "archive", "--into", "new", "--plan", .. target]);
            AssertAbsentOrEmpty("new");
        }
        await FailsAsync(3, "restore", "--from", "archive", "--into", "new", "--backup", "20010101T000000Z");
        await FailsAsync(4, "restore", "--from", "archive", "--into", "db");

        string segment = Directory.GetFiles(Path.Combine(_home, "archive"), "*", SearchOption.AllDirectories)
            .Where(path =>
                Path.GetFileName(path).Length >= 24 && Path.GetFileName(path)[..24].All(char.IsAsciiHexDigit))
            .Order(StringComparer.Ordinal).ElementAt(3);
        string aside = Path.Combine(_home, "aside");
        File.Move(segment, aside);
        await FailsAsync(4, "restore", "--from", "archive", "--into", "new");
        await FailsAsync(4, "restore", "--from", "archive", "--into", "new", "--plan");
        AssertAbsentOrEmpty("new");

        byte[] whole = File.ReadAllBytes(aside);
        byte[] damaged = [.. whole];
        damaged[damaged.Length / 2] ^= 1;
        File.WriteAllBytes(segment, damaged);
        await FailsAsync(5, "restore", "--from", "archive", "--into", "new");
        AssertAbsentOrEmpty("new");

        File.WriteAllBytes(segment, whole);
        await CliInProcess.MustAsync(_home, "restore", "--from", "archive", "--into", "new", "--detached");
        Assert.Equal(
            await CliInProcess.MustAsync(_home, "dump", "t", "--database", "db"),
            await CliInProcess.MustAsync(_home, "dump", "t", "--database", "new"));
    }

    // ---- what they share -----------------------------------------------------------------------------

    /// <summary>
    /// Changes a file, expects a refusal that changes nothing more, undoes it, expects the database as it was.
    /// </summary>
    private async Task RefusedUntilUndoneAsync(int exitCode, string name, Action<byte[]> change)
    {
        string file = Path.Combine(Database, name);
        byte[] whole = File.ReadAllBytes(file);
        byte[] changed = [.. whole];
        change(changed);
        File.WriteAllBytes(file, changed);
        Dictionary<string, string> before = Content(Database);
        await FailsAsync(exitCode, "count", "t", "--database", Database);
        await FailsAsync(exitCode, "check", Database);
        if (name == ControlFileStore.FileName)
            Assert.Equal(before, Content(Database));
        else
            // the engine opens for the other datafiles, and logs that it did
            Assert.Equal(changed, File.ReadAllBytes(file));
        File.WriteAllBytes(file, whole);
        await HoldsTheSameAsync();
    }

    /// <summary>Puts the damaged bytes right where the engine has left them alone since.</summary>
    private static void Undo(string file, byte[] whole, byte[] damaged)
    {
        byte[] now = File.ReadAllBytes(file);
        for (int at = 0; at < whole.Length; at++)
        {
            if (whole[at] != damaged[at] && now[at] == damaged[at])
                now[at] = whole[at];
        }
        File.WriteAllBytes(file, now);
    }

    private async Task HoldsTheSameAsync() =>
        Assert.Equal(fixture.Dump, await CliInProcess.MustAsync(_home, "dump", "t", "--database", Database));

    private async Task<Outcome> FailsAsync(int exitCode, params string[] args)
    {
        Outcome outcome = await CliInProcess.RunAsync(_home, [.. args, "--json"]);
        AssertFailure(exitCode, outcome, string.Join(' ', args));
        return outcome;
    }

    private static void AssertFailure(int exitCode, Outcome outcome, string what = "")
    {
        string[] lines = outcome.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        bool isFailure = outcome.ExitCode == exitCode && outcome.Output.Length == 0 && lines.Length >= 2
            && lines[^2].StartsWith("pitr: ", StringComparison.Ordinal)
                && lines[^1].StartsWith("hint: ", StringComparison.Ordinal)
            && !outcome.Error.Contains("This is a bug of pitr", StringComparison.Ordinal);
        Assert.True(
            isFailure, $"{what}: a failure with exit code {exitCode}, two lines and no output was expected: {outcome}");
        if (!what.StartsWith("serve", StringComparison.Ordinal)) // its log goes there too
            Assert.True(lines.Length == 2, $"{what}: {outcome}");
    }

    private void AssertAbsentOrEmpty(string name)
    {
        string path = Path.Combine(_home, name);
        Assert.True(!Directory.Exists(path)
            || Directory.GetFileSystemEntries(path).Length == 0, $"{path} is not empty.");
    }

    /// <summary>The segments of the database's WAL in order: neither the spare ones nor one that a kill left half made.</summary>
    private string[] Segments() =>
    [
        .. Directory.GetFiles(Path.Combine(Database, "wal"))
            .Where(path => SegmentName.TryParse(Path.GetFileName(path), out _)).Order(StringComparer.Ordinal),
    ];

    /// <summary>Every file's digest, but that of the lock, which names who tried.</summary>
    private static Dictionary<string, string> Content(string folder) => Directory
        .GetFiles(folder, "*", SearchOption.AllDirectories)
        .Where(path => Path.GetFileName(path) != "pitr.lock")
        .ToDictionary(
            path => Path.GetRelativePath(folder, path), path =>
                Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))), StringComparer.Ordinal);

    private static async Task ToolAsync(string name, params string[] args)
    {
        using Process process = Process.Start(new ProcessStartInfo(name, args) { RedirectStandardError = true })!;
        string error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{name} {string.Join(' ', args)}: {error}");
    }
}
