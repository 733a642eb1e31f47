using Microsoft.Extensions.Time.Testing;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// A store behind commands: real programs on the real disk, what their ends mean, and what it is to ship into a store in
/// which nothing can be claimed.
/// </summary>
public sealed class CommandStoreTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr commands ").FullName;
    private readonly FakeTimeProvider _clock = new(Noon);
    private ulong _drawn;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Segments_parts_and_histories_go_there_and_come_back_under_flat_names()
    {
        CommandStore store = Open(Copying);
        Assert.Equal(PushOutcome.Pushed, ArchivePush.Push(store, Whole(1)));
        Assert.Equal(PushOutcome.AlreadyThere, ArchivePush.Push(Open(Copying), Whole(1)));
        ArchivePush.Push(store, Part(2, 0, 128));
        Assert.Equal(ClaimOutcome.Claimed, TimelineClaim.Claim(store, First));
        Assert.Equal(
            ErrorCode.ArchiveConflict,
            Assert.Throws<RefusedException>(() => ArchivePush.Push(store, Whole(1, recordCount: 3))).Code);
        string[] flat = [.. Directory.EnumerateFiles(_folder).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal)];
        Assert.Equal(3, flat.Length);
        Assert.StartsWith("000000010000000000000001", flat[0], StringComparison.Ordinal);
        Assert.StartsWith("000000010000000000000002.part-", flat[1], StringComparison.Ordinal);
        Assert.Equal("history-00000001.json", flat[2]);
        File.WriteAllText(Path.Combine(_folder, "README"), "of somebody");
        ArchiveCatalog catalog = ArchiveCatalog.Load(store);
        Assert.Equal([1ul], catalog.Wholes(TimelineId.First));
        Assert.Single(catalog.Histories);
        Assert.Empty(catalog.Unknown);
        using (Stream content = store.OpenRead(Whole(1).Name))
            Assert.Equal(store.Stat(Whole(1).Name)!.LengthBytes, content.Length);
        store.Delete(Whole(1).Name);
        Assert.Null(store.TryGet(Whole(1).Name));
        Assert.Throws<NotFoundException>(() => store.OpenRead(Whole(1).Name));
        Assert.Empty(Temporary);
    }

    /// <summary>What was given up, or has expired, is told by the store itself, also in a later start.</summary>
    [Fact]
    public void Notes_of_gaps_and_of_what_has_expired_are_listed()
    {
        CommandStore store = Open(Copying);
        var gap = new ArchiveGap(TimelineId.First, new Lsn(2 * (ulong)Payload), new Lsn(3 * (ulong)Payload));
        GapNote.Write(store, ArchiveTestData.System, LineageA, gap, Noon);
        var expired = new ArchiveGap(TimelineId.First, new Lsn(0), new Lsn((ulong)Payload));
        ExpiredNote.Write(store, ArchiveTestData.System, expired, Noon);
        Assert.Equal(gap, Assert.Single(GapNote.Of(Open(Copying), TimelineId.First, new WalGeometry(SegmentBytes))));
        Assert.Equal(expired, Assert.Single(ExpiredNote.Of(Open(Copying), TimelineId.First)));
        Assert.Empty(ArchiveCatalog.Load(store).Unknown);
    }

    [Fact]
    public void A_name_and_a_path_are_one_argument_whatever_is_in_them()
    {
        CommandStore store = Open(Copying with
        {
            Archive = ["sh", "-c", "printf '[%%s]' \"$@\" > \"$0\"", $"{_folder}/args", "x %f;$(ls)", "%p", "100%%"],
        });
        store.Put("wal/000000010000000000000001.zst", Bytes(1, 1));
        Assert.Matches(
            @"^\[x 000000010000000000000001\.zst;\$\(ls\)\]\[/.*pitr-command-[0-9A-F]{16}\]\[100%\]$",
            File.ReadAllText($"{_folder}/args"));
    }

    [Fact]
    public void Of_a_restore_an_orderly_no_is_a_missing_file_and_anything_else_a_failure()
    {
        string name = Whole(1).Name;
        Assert.Null(Open(Restoring("exit 1")).TryGet(name));
        Assert.Null(Open(Restoring("exit 125")).Stat(name));
        foreach ((string script, string words) in new[]
        {
            ("echo no route to vault >&2; exit 255", "exit code 255: no route to vault"),
            ("kill -9 $$", "exit code 137"),
            ("exit 0", "gave no file"),
            ("mkdir \"$1\"", "gave no file"),
            ("mkdir \"$1\"; echo x > \"$1/y\"; mkdir \"$1/z\"; ln -s / \"$1/z/root\"", "gave no file"),
        })
        {
            var failed = Assert.Throws<StorageFailedException>(() => Open(Restoring(script)).TryGet(name));
            Assert.Equal(ErrorCode.StoreFailed, failed.Code);
            Assert.Contains(words, failed.Message, StringComparison.Ordinal);
        }
        Assert.Empty(Temporary);
    }

    [Fact]
    public void A_command_that_fails_says_why()
    {
        var failed = Assert.Throws<StorageFailedException>(() => Open(Archiving("echo tape is full >&2; exit 3"))
            .Put("wal/000000010000000000000001.zst", Bytes(1, 1)));
        Assert.Contains("'archive' did not take it, exit code 3: tape is full", failed.Message, StringComparison.Ordinal);
        Assert.Contains("no such file", Assert.Throws<StorageFailedException>(
            () => Open(Copying with { List = ["/no/such/program"] }).List("")).Message, StringComparison.OrdinalIgnoreCase);
        Assert.Throws<StorageFailedException>(() => Open(Copying with { List = ["sh", "-c", "exit 1"] }).List(""));
        Assert.Throws<StorageFailedException>(() => Open(Copying with { List = null }).List(""));
        Assert.Throws<StorageFailedException>(() => Open(Copying with { Delete = null }).Delete("archive.json"));
    }

    [Fact]
    public void A_command_that_does_not_end_is_killed_with_what_it_started()
    {
        string mark = $"{_folder}/started";
        CommandStore store = Open(Archiving($"echo $$ > '{mark}'; sleep 1000 & wait"));
        Task putting = Task.Run(() => store.Put("wal/000000010000000000000001.zst", Bytes(1, 1)));
        SpinWait.SpinUntil(() => File.Exists(mark), TimeSpan.FromSeconds(30));
        while (!putting.IsCompleted)
            _clock.Advance(TimeSpan.FromSeconds(60));
        var failed = Assert.Throws<StorageFailedException>(() => putting.GetAwaiter().GetResult());
        Assert.Contains("ran too long", failed.Message, StringComparison.Ordinal);
    }

    /// <summary>H39: a command that loses or changes what it took is found out before the WAL may go.</summary>
    [Theory]
    [InlineData("true")]
    [InlineData("head -c 300 \"$1\" > \"$3/$2\"")]
    [InlineData("tr 'a-p' 'b-q' < \"$1\" > \"$3/$2\"")]
    public void A_push_through_a_command_that_loses_or_changes_bytes_does_not_count(string script)
    {
        CommandStore store = Open(Copying with { Archive = ["sh", "-c", script, "sh", "%p", "%f", _folder] });
        Exception failed = Assert.ThrowsAny<PitrException>(() => ArchivePush.Push(store, Whole(1)));
        Assert.True(failed is NotFoundException or DamageException, failed.ToString());
    }

    [Fact]
    public void Commands_without_the_statement_that_nothing_is_claimed_are_refused()
    {
        var refused = Assert.Throws<RefusedException>(() => Open(Copying with { Unclaimed = false }));
        Assert.Equal(ErrorCode.StoreWithoutClaims, refused.Code);
        Assert.Contains("\"unclaimed\": true", refused.Hint, StringComparison.Ordinal);
    }

    private static ArchiveCommand[] Nonsense => [
        Valid with { Archive = [] },
        Valid with { Archive = [""] },
        Valid with { Archive = ["cp", "%p"] },
        Valid with { Restore = ["cp", "%f"] },
        Valid with { Restore = ["cp", "%f", "%p", "%x"] },
        Valid with { Restore = ["cp", "%f", "%p", "%"] },
        Valid with { Delete = ["rm"] },
        Valid with { List = [] },
        Valid with { List = ["l\0s"] },
        Valid with { Timeout = TimeSpan.Zero },
    ];

    [Fact]
    public void Commands_that_cannot_do_it_are_refused() => Assert.All(Nonsense, command => Assert.Equal(
        ErrorCode.StoreAddressInvalid, Assert.Throws<RefusedException>(() => Open(command)).Code));

    [Fact]
    public void A_name_without_commands_is_told()
    {
        var refused = Assert.Throws<RefusedException>(
            () => StoreFactory.Of(new PitrOptions()).Open(StoreAddress.Parse("command:tape", "/")));
        Assert.Equal(ErrorCode.StoreAddressInvalid, refused.Code);
        Assert.Contains("'tape'", refused.Message, StringComparison.Ordinal);
        var options = new PitrOptions { ArchiveCommands = new Dictionary<string, ArchiveCommand> { ["tape"] = Valid } };
        Assert.Equal("command:tape", StoreFactory.Of(options).Open(StoreAddress.Parse("command:tape", "/")).Place);
    }

    /// <summary>What this test's files in the temporary folder begin with.</summary>
    private string Mark => ((uint)_folder.GetHashCode(StringComparison.Ordinal)).ToString("X8", null);

    private IEnumerable<string> Temporary => Directory.EnumerateFileSystemEntries(Path.GetTempPath(), $"pitr-command-{Mark}*");

    private static ArchiveCommand Valid => new()
    {
        Archive = ["cp", "%p", "/a/%f"],
        Restore = ["cp", "/a/%f", "%p"],
        Unclaimed = true,
    };

    /// <summary>Into the folder, each file as a whole.</summary>
    private ArchiveCommand Copying => new()
    {
        Archive = ["sh", "-c", "cp \"$1\" \"$3/.new\" && mv \"$3/.new\" \"$3/$2\"", "sh", "%p", "%f", _folder],
        Restore = ["sh", "-c", "test -e \"$3/$2\" || exit 1; cp \"$3/$2\" \"$1\"", "sh", "%p", "%f", _folder],
        List = ["ls", _folder],
        Delete = ["rm", "-f", $"{_folder}/%f"],
        Unclaimed = true,
    };

    private ArchiveCommand Restoring(string script) =>
        Copying with { Restore = ["sh", "-c", script, "sh", "%p", "%f", _folder] };

    private ArchiveCommand Archiving(string script) =>
        Copying with { Archive = ["sh", "-c", script, "sh", "%p", "%f", _folder] };

    private CommandStore Open(ArchiveCommand command) => new(
        StoreAddress.Parse("command:tape", "/"), command, new PosixFileSystem(),
        () => ((ulong)(uint)_folder.GetHashCode(StringComparison.Ordinal) << 32) + Interlocked.Increment(ref _drawn), _clock);
}
