using System.Globalization;
using System.Text.Json;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>The runs that folders for recoveries are made of, once each.</summary>
public sealed class RecoverCasesFixture : IAsyncLifetime
{
    internal MixedLab Lab { get; private set; } = null!;

    internal MixedLab Whole { get; private set; } = null!;

    internal SimulatedDisk Ended { get; private set; } = null!;

    internal MixedLab Moved { get; private set; } = null!;

    internal MixedLab Alone { get; private set; } = null!;

    internal MixedLab Lagging { get; private set; } = null!;

    internal SimulatedDisk Archived { get; private set; } = null!;

    internal SimulatedDisk Elsewhere { get; private set; } = null!;

    internal SimulatedDisk AtSet { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Lab = await MixedLab.RecordedAsync(isKilled: true, before: async (_, database) =>
            await database.SwitchWalAsync().WaitAsync(MixedLab.Patience));
        Archived = Lab.Disk;
        Whole = await MixedLab.RecordedAsync();
        Ended = Whole.Disk;
        Moved = await MixedLab.RecordedAsync(isKilled: true, before: async (recovery, database) =>
        {
            recovery.Disk.CreateFolders("/data2");
            await database.MoveAsync(new MoveRequest { Datafile = "early", Path = "/data2/early.pitr", WithoutLink = true })
                .WaitAsync(MixedLab.Patience);
        });
        Elsewhere = Moved.Disk;
        Alone = await MixedLab.RecordedAsync(isArchived: false);
        AtSet = Alone.Disk;
        Lagging = await MixedLab.LaggingAsync();
    }

    public Task DisposeAsync() => Task.CompletedTask;
}

/// <summary>
/// <c>pitr recover DIR</c> with another control file, over folders on a real disk: what each row of mixed-cases.md comes to
/// as exit code and text; and that options reach what they are for.
/// </summary>
public sealed class RecoverCasesTests(RecoverCasesFixture fixture) : IClassFixture<RecoverCasesFixture>, IDisposable
{
    private const string Rebuild = "--control-file rebuild";
    private const string Backup = "--control-file backup";
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-cases-").FullName;

    private string Database => _home + MixedLab.Folder;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    // ---- refusals --------------------------------------------------------------------------------------

    /// <summary>With a plan and without: two lines, nothing on standard output, and nothing is changed.</summary>
    [Theory]
    [InlineData("X34", Rebuild, 4, "is whole", "pitr serve DIR")]
    [InlineData("X35 gone", Rebuild, 4, "can't be rebuilt", "--control-file backup")]
    [InlineData("X35 no checkpoint", Rebuild, 4, "can't be rebuilt", "--control-file backup")]
    [InlineData("X37", Rebuild, 4, "timelines 2 and 3", "--timeline N")]
    [InlineData("X41", Rebuild, 4, "datafile 'early'", "Bring the newest WAL back")]
    [InlineData("X42 datafile", Rebuild, 4, "belongs to the database", "one database")]
    [InlineData("X42 segment", Rebuild, 4, "segments of two databases", "out of the WAL folder")]
    [InlineData("X42 branch", Rebuild, 4, "segments of two branches", "out of the WAL folder")]
    [InlineData("X43 hole", Rebuild, 4, "", "")]
    [InlineData("X43 damaged", Rebuild, 5, "The WAL is damaged", "pitr restore")]
    [InlineData("X21", Backup + " --from {home}/sets", 4, "Datafile 'early'", "--target-lsn")]
    [InlineData("X22", Backup, 4, "belongs to the database", "one database")]
    [InlineData("X27", Backup + " --target-lsn 7F/0", 4, "is not reached", "--archive STORE")]
    [InlineData("X27", Backup + " --target-xid 1", 4, "lies before the stop", "pitr backups STORE")]
    [InlineData("X27", Backup + " --timeline 7", 4, "Timeline 7 is not in the archive", "--timeline")]
    [InlineData("X27", Backup + " --backup 20010101T000000Z", 3, "no backup set", "pitr backups")]
    [InlineData("X29", Backup + " --from {home}/foreign", 4, "belongs to the database", "one database")]
    [InlineData("X30", Backup, 4, "a recovery that is not finished", "pitr recover DIR")]
    [InlineData("X30", Rebuild, 4, "a recovery that is not finished", "pitr recover DIR")]
    public async Task What_does_not_belong_together_is_refused_and_left_as_it_is(
        string row, string options, int exitCode, string says, string hints)
    {
        await MakeAsync(row);
        string[] args = ["recover", Database, .. options.Replace("{home}", _home, StringComparison.Ordinal).Split(' ')];
        string[] before = Fingerprints();
        foreach (string[] more in new string[][] { ["--plan"], [], ["--json"] })
        {
            Outcome outcome = await CliInProcess.RunAsync(_home, [.. args, .. more]);
            string[] lines = outcome.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.True(
                outcome.ExitCode == exitCode && outcome.Output.Length == 0 && lines is [{ } what, { } hint]
                    && what.StartsWith("pitr: ", StringComparison.Ordinal) && what.Contains(says, StringComparison.Ordinal)
                    && hint.StartsWith("hint: ", StringComparison.Ordinal) && hint.Contains(hints, StringComparison.Ordinal)
                    && !hint.Contains("bug of pitr", StringComparison.Ordinal),
                $"{row} {string.Join(' ', more)}: {outcome}");
            Assert.Equal(before, Fingerprints());
        }
    }

    // ---- recoveries --------------------------------------------------------------------------------------

    /// <summary>Each form of a target stops at that transaction.</summary>
    [Theory]
    [InlineData("--target-lsn")]
    [InlineData("--target-xid")]
    [InlineData("--target-time")]
    [InlineData("--target-lsn next --exclusive")]
    public async Task A_database_goes_back_where_it_lies_to_each_form_of_target(string form)
    {
        Write(fixture.Archived, MixedLab.Folder, RecoveryLab.Archive);
        Moment at = fixture.Lab.Middle;
        Moment next = fixture.Lab.Moments.First(moment => moment.Lsn > at.Lsn);
        string[] target = form switch
        {
            "--target-lsn" => [form, at.Lsn.ToString()],
            "--target-xid" => [form, at.Transaction.ToString()],
            "--target-time" => [form, at.Time.UtcDateTime.ToString("O", CultureInfo.InvariantCulture)],
            _ => ["--target-lsn", next.Lsn.ToString(), "--exclusive"],
        };

        using JsonDocument json = await MustAsync(["recover", Database, "--control-file", "backup", .. target]);

        Assert.Equal(2, json.RootElement.GetProperty("timeline").GetInt32());
        Assert.Equal(
            at.Transaction.Value, json.RootElement.GetProperty("stoppedAt").GetProperty("transactionId").GetUInt64());
        await RequireContentAsync(at.Content);
    }

    /// <summary>The commits beyond the target are in this folder alone: a run says so, as its plan did.</summary>
    [Fact]
    public async Task What_a_plan_notes_the_run_says_too_on_standard_error_and_in_its_JSON()
    {
        Write(fixture.Lagging.Disk, MixedLab.Folder, RecoveryLab.Archive);
        File.Delete(Path.Combine(Database, "pitr.json"));
        string[] args =
        [
            "recover", Database, "--control-file", "backup", "--from", _home + RecoveryLab.Archive, "--target-lsn",
            fixture.Lagging.Recent.Lsn.ToString(),
        ];
        string plan = await CliInProcess.MustAsync(_home, [.. args, "--plan"]);

        Outcome outcome = await CliInProcess.RunAsync(_home, [.. args, "--json"]);

        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        string[] notes = [.. outcome.Error.Split('\n').Where(line => line.StartsWith("note: ", StringComparison.Ordinal))
            .Select(line => line["note: ".Length..])];
        using JsonDocument json = JsonDocument.Parse(outcome.Output);
        Assert.Equal(notes, json.RootElement.GetProperty("findings").EnumerateArray().Select(note => note.GetString()));
        Assert.Contains(notes, note => note.StartsWith("Behind the target, WAL of timeline 1", StringComparison.Ordinal));
        Assert.Contains(notes, note => note.Contains("archives nowhere", StringComparison.Ordinal));
        Assert.Contains(notes, note => note.Contains(".aside", StringComparison.Ordinal));
        Assert.All(notes, note => Assert.Contains(note, plan, StringComparison.Ordinal));
        await RequireContentAsync(fixture.Lagging.Recent.Content);
    }

    /// <summary>The same of a restore: the store of the set is no archive.</summary>
    [Fact]
    public async Task A_restore_says_what_its_plan_notes()
    {
        Write(fixture.AtSet, MixedLab.Sets);
        Outcome outcome = await CliInProcess.RunAsync(
            _home, "restore", "--from", _home + MixedLab.Sets, "--into", Database, "--target-immediate");
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.StartsWith("restored set", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("note: ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("archives nowhere", outcome.Error, StringComparison.Ordinal);
    }

    /// <summary>Look, go on, look, finish: as after `restore --action pause`.</summary>
    [Fact]
    public async Task A_recovery_in_place_pauses_is_looked_at_goes_on_and_is_promoted()
    {
        Write(fixture.Archived, MixedLab.Folder, RecoveryLab.Archive);
        Moment at = fixture.Lab.Middle;
        Moment next = fixture.Lab.Moments.First(moment => moment.Lsn > at.Lsn);
        using JsonDocument paused = await MustAsync(
            ["recover", Database, "--control-file", "backup", "--target-lsn", at.Lsn.ToString(), "--action", "pause"]);
        Assert.Equal(1, paused.RootElement.GetProperty("timeline").GetInt32());
        await RequireContentAsync(at.Content);
        Assert.Equal(4, (await CliInProcess.RunAsync(_home, "put", "orders", "k", "v", "--database", Database)).ExitCode);
        Assert.Contains("paused", await CliInProcess.MustAsync(_home, "status", "--database", Database), StringComparison.Ordinal);

        using JsonDocument later = await MustAsync(["recover", Database, "--target-lsn", next.Lsn.ToString()]);
        Assert.Equal(1, later.RootElement.GetProperty("timeline").GetInt32());
        await RequireContentAsync(next.Content);

        using JsonDocument promoted = await MustAsync(["recover", Database, "--promote"]);
        Assert.Equal(2, promoted.RootElement.GetProperty("timeline").GetInt32());
        await RequireContentAsync(next.Content);
        await CliInProcess.MustAsync(_home, "put", "orders", "k", "v", "--database", Database);
        await CliInProcess.MustAsync(_home, "check", Database);
    }

    /// <summary>X17: a datafile outside is its own if that is said; X37: the branch is taken that is named.</summary>
    [Fact]
    public async Task Where_datafiles_lie_outside_and_which_branch_is_meant_can_be_said()
    {
        Write(fixture.Elsewhere, MixedLab.Folder, RecoveryLab.Archive, "/data2");
        File.Delete(Path.Combine(Database, "pitr.control"));
        byte[] outside = File.ReadAllBytes(_home + "/data2/early.pitr");

        string plan = await CliInProcess.MustAsync(
            _home, "recover", Database, "--control-file", "backup", "--timeline", "1", "--moved", $"/data2={_home}/data2", "--plan");
        Assert.Contains($"{_home}/data2/early.pitr", plan, StringComparison.Ordinal);
        Assert.Equal(outside, File.ReadAllBytes(_home + "/data2/early.pitr"));
        using JsonDocument json = await MustAsync(
            ["recover", Database, "--control-file", "backup", "--timeline", "1", "--moved", $"/data2={_home}/data2"]);

        Assert.Equal(2, json.RootElement.GetProperty("timeline").GetInt32());
        Assert.False(File.Exists(Path.Combine(Database, "early.pitr")));
        await RequireContentAsync(fixture.Moved.Content);
    }

    /// <summary>X31, X37: a control file that is made anew; of two branches the one that is named.</summary>
    [Theory]
    [InlineData("X31", "")]
    [InlineData("X37", "--timeline 3")]
    public async Task A_control_file_is_made_anew(string row, string options)
    {
        await MakeAsync(row);
        string[] args = ["recover", Database, "--control-file", "rebuild", .. options.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        string[] before = Fingerprints();
        string plan = await CliInProcess.MustAsync(_home, [.. args, "--plan", "--json"]);
        Assert.Equal(before, Fingerprints());

        Assert.Equal(plan, await CliInProcess.MustAsync(_home, [.. args, "--json"]));

        await RequireContentAsync(row == "X31" ? fixture.Lab.Content : fixture.Whole.Middle.Content);
        await CliInProcess.MustAsync(_home, "check", Database);
    }

    // ---- folders -----------------------------------------------------------------------------------------

    /// <summary>The folder of a row, under the home.</summary>
    private async Task MakeAsync(string row)
    {
        MixedLab lab = fixture.Lab.WithDisk(fixture.Archived.KillCopy());
        var geometry = new WalGeometry(16 << 10);
        WalRun run = WalSurvey.Of(lab.Disk, "/db/wal").LastRuns.Single();
        ulong checkpoint = geometry.NumberOf(run.Checkpoint!.Lsn);
        if (row is not ("X34" or "X27" or "X30"))
            lab.Disk.Delete(MixedLab.Control);
        switch (row)
        {
            case "X35 gone":
                RemoveSegments(lab.Disk, static _ => true);
                break;
            case "X35 no checkpoint":
                RemoveSegments(lab.Disk, number => number <= checkpoint);
                break;
            case "X37":
                lab = fixture.Whole.WithDisk(fixture.Ended.KillCopy());
                await LeaveTwiceAsync(lab);
                break;
            case "X41" or "X21":
                byte[] ahead = fixture.AtSet.ReadAll(MixedLab.Early);
                lab = fixture.Alone.WithDisk(fixture.Alone.AtCheckpoint.KillCopy());
                lab.Put(MixedLab.Early, ahead);
                lab.Disk.Delete(MixedLab.Control);
                break;
            case "X42 datafile" or "X22":
                lab.Put(MixedLab.Early, await lab.ForeignFileAsync());
                break;
            case "X42 segment":
                Restamp(lab, static header => header with { System = new SystemIdentifier(header.System.Value + 1) });
                break;
            case "X42 branch":
                Restamp(lab, static header => header with { Lineage = new Lineage(header.Lineage.Value + 1) });
                break;
            case "X43 hole":
                RemoveSegments(lab.Disk, number => number == checkpoint);
                break;
            case "X43 damaged":
                lab.Disk.Damage(
                    $"/db/wal/{new SegmentName(TimelineId.First, checkpoint)}", geometry.OffsetOf(run.Checkpoint.Lsn) + 8);
                break;
            case "X29":
                await ForeignSetAsync(lab.Disk);
                break;
            case "X30":
                await PitrRecovery.RecoverInPlaceAsync(
                    lab.Request(RecoveryTarget.Including(lab.Middle.Lsn)) with { Pause = true },
                    RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(MixedLab.Patience);
                break;
            default:
                break;
        }

        Write(lab.Disk, [.. new[] { MixedLab.Folder, RecoveryLab.Archive, MixedLab.Sets, "/foreign" }
            .Where(folder => lab.Disk.Stat(folder) is not null)]);
    }

    /// <summary>Two branches of the first, each from the same moment; none goes on from the other.</summary>
    private static async Task LeaveTwiceAsync(MixedLab lab)
    {
        InPlaceRecoveryRequest back = lab.Detached(RecoveryTarget.Including(lab.Middle.Lsn)) with { Timeline = "1" };
        foreach (int _ in new[] { 2, 3 })
            await PitrRecovery.RecoverInPlaceAsync(back, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(MixedLab.Patience);
        lab.Disk.Delete(MixedLab.Control);
    }

    private static async Task ForeignSetAsync(SimulatedDisk disk)
    {
        await using PitrDatabase other = await PitrDatabase.CreateAsync("/other", RecoveryLab.OptionsOn(disk, "/foreign"))
            .WaitAsync(MixedLab.Patience);
        await other.BackupAsync(new BackupRequest { Store = "/foreign" }).WaitAsync(MixedLab.Patience);
        await other.ShutdownAsync().WaitAsync(MixedLab.Patience);
    }

    private static void RemoveSegments(SimulatedDisk disk, Func<ulong, bool> goes)
    {
        foreach (string path in MixedLab.FilesUnder(disk, "/db/wal").ToArray())
        {
            if (SegmentName.TryParse(Path.GetFileName(path), out SegmentName name) && goes(name.Number))
                disk.Delete(path);
        }
    }

    /// <summary>The last segment says that it is of something else.</summary>
    private static void Restamp(MixedLab lab, Func<SegmentHeader, SegmentHeader> other)
    {
        string last = MixedLab.FilesUnder(lab.Disk, "/db/wal").Last(path => SegmentName.TryParse(Path.GetFileName(path), out _));
        byte[] bytes = lab.Disk.ReadAll(last);
        other(SegmentHeader.Read(bytes, last)).Write(bytes);
        lab.Put(last, bytes);
    }

    private void Write(SimulatedDisk disk, params string[] folders)
    {
        foreach (string folder in folders)
            RealFolders.Write(disk, folder, _home);
    }

    // ---- what is there -----------------------------------------------------------------------------------

    private async Task<JsonDocument> MustAsync(string[] args) =>
        JsonDocument.Parse(await CliInProcess.MustAsync(_home, [.. args, "--json"]));

    private async Task RequireContentAsync(string content)
    {
        await using PitrDatabase database = await PitrDatabase
            .OpenAsync(Database, new PitrOptions { MemoryBudgetBytes = 16 << 20 }).WaitAsync(MixedLab.Patience);
        Assert.Equal(content, RecoveryLab.ContentOf(database));
    }

    /// <summary>Each file of the folder, by name and content, but the lock.</summary>
    private string[] Fingerprints() =>
    [
        .. Directory.EnumerateFiles(Database, "*", SearchOption.AllDirectories)
            .Where(static path => Path.GetFileName(path) != "pitr.lock").Order(StringComparer.Ordinal)
            .Select(static path => $"{path} {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(path)))}"),
    ];
}
