using System.Globalization;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>The ways in which a datafile comes from one place to another, or is made anew in its place.</summary>
public enum MoveCase
{
    /// <summary>From its name: a link stays there.</summary>
    ByLink,

    /// <summary>It was moved before: the link is repointed, and the earlier place goes.</summary>
    LinkAgain,

    /// <summary>It was moved before, and comes back to its name.</summary>
    Back,

    /// <summary>Without a link: the control file has the new path.</summary>
    ByRecord,

    /// <summary>It was moved before, and loses its link.</summary>
    RecordFromLink,

    /// <summary>Its name lies outside the database's folder, where no other sync makes it durable.</summary>
    FromOutside,

    /// <summary>Compacted where it lies, under its name.</summary>
    Compact,

    /// <summary>It was moved before: compacted where its link leads to.</summary>
    CompactLinked,
}

/// <summary>
/// A database with a datafile <c>b</c> that is moved while one writer commits, and what any end of that may leave.
/// </summary>
internal sealed class MoveLab : IAsyncDisposable
{
    public const string Name = "/db/b.pitr";
    public const string First = "/data2/b.pitr";
    public const string Second = "/data3/b.pitr";

    private const int RowsBefore = 300;

    private readonly CancellationTokenSource _enough = new();
    private int _acknowledged;

    private MoveLab(SimulatedDisk disk, PitrDatabase database) => (Disk, Database) = (disk, database);

    public SimulatedDisk Disk { get; }

    public PitrDatabase Database { get; }

    /// <summary>Rows whose commits were acknowledged: k0, k1 …</summary>
    public int Acknowledged => Volatile.Read(ref _acknowledged);

    /// <summary>What lies where, apart from the WAL: before any move of the case.</summary>
    public IReadOnlyList<string> Before { get; private set; } = [];

    public static string TargetOf(MoveCase move) => move switch
    {
        MoveCase.LinkAgain or MoveCase.RecordFromLink or MoveCase.FromOutside => Second,
        MoveCase.Back or MoveCase.Compact => Name,
        _ => First,
    };

    private static bool IsCompact(MoveCase move) => move is MoveCase.Compact or MoveCase.CompactLinked;

    public static MoveRequest RequestOf(MoveCase move) => new()
    {
        Datafile = "b",
        Path = TargetOf(move),
        WithoutLink = move is MoveCase.ByRecord or MoveCase.RecordFromLink,
    };

    public static PitrOptions OptionsFor(SimulatedDisk disk) => TestDatabase.OptionsFor(disk, disk.OperationCount);

    public static async Task<MoveLab> CreateAsync(MoveCase move, long seed = 1)
    {
        SimulatedDisk disk = TestDatabase.NewDisk(seed);
        disk.Mount("/data2");
        disk.Mount("/data3");
        PitrDatabase database = await PitrDatabase.CreateAsync(TestDatabase.Folder, OptionsFor(disk))
            .WaitAsync(TestDatabase.Patience);
        await database.CreateDatafileAsync("b", move == MoveCase.FromOutside ? First : null)
            .WaitAsync(TestDatabase.Patience);
        await database.CreateTableAsync("rows", "b").WaitAsync(TestDatabase.Patience);
        var lab = new MoveLab(disk, database);
        for (int i = 0; i < RowsBefore; i++)
            await lab.PutNextAsync(i % 50 == 0 ? 9000 : 100);
        await database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        for (int i = 0; i < RowsBefore && IsCompact(move); i++) // what they free stays in the file
            await lab.PutAsync(i, i % 50 == 0 ? 9000 : 110);
        if (IsCompact(move))
            await database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        if (move is MoveCase.LinkAgain or MoveCase.Back or MoveCase.RecordFromLink or MoveCase.CompactLinked)
            await database.MoveAsync(RequestOf(MoveCase.ByLink)).WaitAsync(TestDatabase.Patience);
        await lab.PutNextAsync(100);
        disk.SyncAll();
        lab.Before = Layout(disk);
        return lab;
    }

    public Task MoveAsync(MoveCase move) => IsCompact(move)
        ? Database.CompactAsync(new CompactRequest { Datafile = "b" }).WaitAsync(TestDatabase.Patience)
        : Database.MoveAsync(RequestOf(move)).WaitAsync(TestDatabase.Patience);

    /// <summary>Moves while a writer commits one row after the other.</summary>
    public async Task MoveUnderLoadAsync(MoveCase move)
    {
        Task load = Task.Run(async () =>
        {
            while (!_enough.IsCancellationRequested)
                await PutNextAsync(100);
        });
        await MoveAsync(move);
        await _enough.CancelAsync();
        await load.WaitAsync(TestDatabase.Patience);
    }

    public async Task PutNextAsync(int valueBytes)
    {
        int next = _acknowledged;
        await PutAsync(next, valueBytes);
        Volatile.Write(ref _acknowledged, next + 1);
    }

    private Task<CommitResult> PutAsync(int row, int valueBytes) => Database
        .PutAsync(Database.GetTable("rows"), Key(row), Value(row, valueBytes)).AsTask().WaitAsync(TestDatabase.Patience);

    /// <summary>
    /// Opens what is left: every acknowledged row is there, at most the one under way beyond; the datafile lies at its
    /// former place or at the new one, whole, and nothing else of it is anywhere. Then it goes on, and is opened again
    /// after a power loss.
    /// </summary>
    public static async Task RequireWholeAsync(
        SimulatedDisk left, MoveCase move, IReadOnlyList<string> before, int acknowledged)
    {
        PitrDatabase database = await PitrDatabase.OpenAsync(TestDatabase.Folder, OptionsFor(left))
            .WaitAsync(TestDatabase.Patience);
        int rows = await RequireRowsAsync(database, acknowledged, acknowledged + 1);
        RequireLayout(left, move, before);
        await database.PutAsync(database.GetTable("rows"), Key(rows), Value(rows, 100)).AsTask()
            .WaitAsync(TestDatabase.Patience);
        await database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        await database.PutAsync(database.GetTable("rows"), Key(rows + 1), Value(rows + 1, 100)).AsTask()
            .WaitAsync(TestDatabase.Patience);
        SimulatedDisk again = left.CrashCopy(acknowledged);
        await TestDatabase.Ended(database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        await TestDatabase.NothingIsOpenAsync(left);

        database = await PitrDatabase.OpenAsync(TestDatabase.Folder, OptionsFor(again)).WaitAsync(TestDatabase.Patience);
        await RequireRowsAsync(database, rows + 2, rows + 2);
        Assert.All(
            (await database.GetStatusAsync().WaitAsync(TestDatabase.Patience)).Datafiles,
            file => Assert.Equal("open", file.State));
        await database.ShutdownAsync().WaitAsync(TestDatabase.Patience);
        await TestDatabase.NothingIsOpenAsync(again);
        TestDatabase.CheckDatafiles(again, database.Datafiles);
        RequireLayout(again, move, before);
    }

    /// <summary>What lies where, apart from the WAL; a link with what it leads to.</summary>
    public static IReadOnlyList<string> Layout(SimulatedDisk disk)
    {
        string[] folders = [TestDatabase.Folder, "/data2", "/data3"];
        return [.. folders.Where(folder => disk.Stat(folder) is not null).SelectMany(folder => disk.List(folder)
            .Select(name => Path.Combine(folder, name))
            .Where(path => disk.Stat(path) is { IsFolder: false })
            .Select(path => disk.ReadLink(path) is { } target ? $"{path} -> {target}" : path))];
    }

    /// <summary>The layout after the move.</summary>
    public static IReadOnlyList<string> After(MoveCase move, IReadOnlyList<string> before)
    {
        IEnumerable<string> others = before.Where(line => !line.Contains("b.pitr", StringComparison.Ordinal));
        string[] own = move switch
        {
            MoveCase.ByLink or MoveCase.CompactLinked => [$"{Name} -> {First}", First],
            MoveCase.LinkAgain => [$"{Name} -> {Second}", Second],
            MoveCase.Back or MoveCase.Compact => [Name],
            MoveCase.ByRecord => [First],
            MoveCase.RecordFromLink => [Second],
            MoveCase.FromOutside => [$"{First} -> {Second}", Second],
            _ => throw new ArgumentOutOfRangeException(nameof(move)),
        };
        return [.. others.Concat(own).Order(StringComparer.Ordinal)];
    }

    public async ValueTask DisposeAsync()
    {
        await _enough.CancelAsync();
        _enough.Dispose();
        await TestDatabase.Ended(Database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
    }

    private static void RequireLayout(SimulatedDisk disk, MoveCase move, IReadOnlyList<string> before)
    {
        IReadOnlyList<string> found = [.. Layout(disk).Order(StringComparer.Ordinal)];
        IReadOnlyList<string> former = [.. before.Order(StringComparer.Ordinal)];
        IReadOnlyList<string> moved = After(move, before);
        Assert.True(
            found.SequenceEqual(former) || found.SequenceEqual(moved),
            $"There is\n  {string.Join("\n  ", found)}\nexpected\n  {string.Join("\n  ", former)}\nor\n  "
            + string.Join("\n  ", moved));
    }

    private static async Task<int> RequireRowsAsync(PitrDatabase database, int least, int most)
    {
        await Task.Yield();
        int rows = (int)database.Count(database.GetTable("rows"));
        Assert.InRange(rows, least, most);
        for (int i = 0; i < rows; i++)
        {
            byte[]? value = database.Get(database.GetTable("rows"), Key(i));
            Assert.True(value is not null, $"Row {i} of {rows} is not there.");
            Assert.StartsWith($"{i}.", System.Text.Encoding.ASCII.GetString(value!), StringComparison.Ordinal);
        }

        return rows;
    }

    private static byte[] Key(int number) =>
        ModelStore.BytesOf("k" + number.ToString("D6", CultureInfo.InvariantCulture));

    private static byte[] Value(int number, int bytes) =>
        ModelStore.BytesOf((number.ToString(CultureInfo.InvariantCulture) + ".").PadRight(bytes, 'v'));
}
