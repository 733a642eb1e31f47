using System.Collections.Immutable;
using System.Text;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A moment of a recorded run: what is true at an LSN, as text that a database can be compared with.</summary>
internal sealed record Moment(Lsn Lsn, DateTimeOffset Time, TransactionId Transaction, string Content);

/// <summary>A database on a simulated disk beside an oracle that knows its content after every change.</summary>
internal sealed class RecoveryLab
{
    public const string Folder = "/db";
    public const string Archive = "/archive";
    private ImmutableSortedDictionary<string, string> _files = ImmutableSortedDictionary.Create<string, string>(
        StringComparer.Ordinal);
    private ImmutableSortedDictionary<string, string> _rows = ImmutableSortedDictionary.Create<string, string>(
        StringComparer.Ordinal);

    public RecoveryLab(int seed = 1)
    {
        Disk = new SimulatedDisk(seed);
        Random = new Random(seed);
    }

    public SimulatedDisk Disk { get; set; }

    public Random Random { get; }

    /// <summary>No value is longer.</summary>
    public int ValueBytesMax { get; init; } = 700;

    public List<Moment> Moments { get; } = [];

    /// <summary>Everything committed so far, as <see cref="ContentOf"/> shows it.</summary>
    public string Content =>
        Text(_files.Select(table => $"{table.Key}@{table.Value}"), _rows.Select(row => $"{row.Key}={row.Value}"));

    public static PitrOptions OptionsOn(IFileSystem disk, params string[] stores) => new()
    {
        FileSystem = disk,
        WalSegmentBytes = 16 << 10,
        MemoryBudgetBytes = 16 << 20,
        ArchiveStores = stores,
        ArchiveShutdownWait = TimeSpan.FromSeconds(10),
        Delay = static _ => { },
    };

    public PitrOptions Options => OptionsOn(Disk);

    public Task<PitrDatabase> CreateAsync(params string[] stores) =>
        PitrDatabase.CreateAsync(Folder, OptionsOn(Disk, stores));

    public async Task CreateTableAsync(PitrDatabase database, string name, string? datafile = null)
    {
        await database.CreateTableAsync(name, datafile);
        _files = _files.Add(name, datafile ?? "main");
    }

    public async Task DropTableAsync(PitrDatabase database, string name)
    {
        await database.DropTableAsync(name);
        _files = _files.Remove(name);
        _rows = _rows.RemoveRange(_rows.Keys.Where(key => key.StartsWith(name + "/", StringComparison.Ordinal)));
    }

    /// <summary>Commits one batch of puts and deletes over all tables, and notes the moment.</summary>
    public async Task<Moment> CommitAsync(PitrDatabase database, int operations = 3)
    {
        var batch = new WriteBatch();
        for (int i = 0; i < operations; i++)
        {
            Table table = database.Tables[Random.Next(database.Tables.Count)];
            string key = $"k{Random.Next(40):d2}";
            if (Random.Next(4) == 0)
            {
                batch.Delete(table, Encoding.UTF8.GetBytes(key));
                _rows = _rows.Remove($"{table.Name}/{key}");
            }
            else
            {
                char letter = (char)('a' + Random.Next(26));
                string value = $"{Moments.Count}:{new string(letter, Random.Next(ValueBytesMax))}";
                batch.Put(table, Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(value));
                _rows = _rows.SetItem($"{table.Name}/{key}", value);
            }
        }

        CommitResult result = await database.CommitAsync(batch);
        var moment = new Moment(result.Lsn, result.Time, result.TransactionId, Content);
        Moments.Add(moment);
        return moment;
    }

    public async Task CommitManyAsync(PitrDatabase database, int count)
    {
        for (int i = 0; i < count; i++)
            await CommitAsync(database);
    }

    /// <summary>
    /// A run with a backup under load, then tables and datafiles that come and go, checkpoints and switches.
    /// </summary>
    /// <param name="seed">Of what is committed.</param>
    /// <param name="valueBytesMax">No value is longer.</param>
    /// <param name="bases">The backup builds on so many others, made before it, one on the other.</param>
    public static async Task<(RecoveryLab Lab, BackupResult Backup, RestorePoint Point)> RecordedAsync(
        int seed = 1, int valueBytesMax = 700, int bases = 0)
    {
        var lab = new RecoveryLab(seed) { ValueBytesMax = valueBytesMax };
        await using PitrDatabase database = await lab.CreateAsync(Archive);
        await lab.CreateTableAsync(database, "orders");
        await database.CreateDatafileAsync("early");
        await lab.CreateTableAsync(database, "archived", "early");
        await lab.CommitManyAsync(database, 8);
        for (int n = 0; n < bases; n++)
        {
            await database.BackupAsync(new BackupRequest { Store = Archive, Incremental = n > 0 });
            await lab.CommitManyAsync(database, 4);
        }

        Task<BackupResult> running = database.BackupAsync(
            new BackupRequest { Store = Archive, Incremental = bases > 0, Jobs = 1 + bases });
        while (!running.IsCompleted)
            await lab.CommitAsync(database);
        BackupResult backup = await running;
        await lab.CommitManyAsync(database, 3);
        await database.CreateDatafileAsync("late");
        await lab.CreateTableAsync(database, "events", "late");
        await lab.CommitManyAsync(database, 4);
        RestorePoint point = await database.CreateRestorePointAsync("monday");
        lab.Moments.Add(new Moment(point.Lsn, point.Time, default, lab.Content));
        await database.CheckpointAsync();
        await lab.CommitManyAsync(database, 3);
        await lab.DropTableAsync(database, "archived");
        await lab.CommitManyAsync(database, 2);
        await database.DropDatafileAsync("early");
        await database.SwitchWalAsync();
        await lab.CommitManyAsync(database, 3);
        await lab.DropTableAsync(database, "events");
        await lab.CommitManyAsync(database, 2);
        await database.CheckpointAsync();
        await lab.CreateTableAsync(database, "events", "late");
        await lab.CommitManyAsync(database, 3);
        return (lab, backup, point);
    }

    /// <summary>Restores on a disk and returns what is there.</summary>
    public static async Task<string> RestoredAsync(
        IFileSystem disk, RecoveryTarget target, string into = "/restored", bool detached = true,
        string? timeline = null,
        string store = Archive)
    {
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = store,
                Into = into,
                Target = target,
                Detached = detached,
                Timeline = timeline
            },
            OptionsOn(disk));
        return await ContentAtAsync(disk, into);
    }

    public static async Task<string> ContentAtAsync(IFileSystem disk, string folder)
    {
        await using PitrDatabase database = await PitrDatabase.OpenAsync(folder, OptionsOn(disk));
        return ContentOf(database);
    }

    public static string ContentOf(PitrDatabase database)
    {
        using Snapshot snapshot = database.OpenSnapshot();
        Dictionary<FileId, string> files = database.Datafiles.ToDictionary(file => file.Id, file => file.Name);
        return Text(
            snapshot.Tables.OrderBy(table => table.Name, StringComparer.Ordinal).Select(
                table => $"{table.Name}@{files[table.DatafileId]}"),
            snapshot.Tables.OrderBy(table => table.Name, StringComparer.Ordinal).SelectMany(table =>
                snapshot.Scan(table, ScanRange.All).Select(row =>
                    $"{table.Name}/{Encoding.UTF8.GetString(row.Key)}={Encoding.UTF8.GetString(row.Value)}")));
    }

    private static string Text(IEnumerable<string> tables, IEnumerable<string> rows) =>
        string.Join('\n', tables.Concat(rows));
}
