using System.Text;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A database with the real engine on a simulated disk, and beside it a model of what it should contain. When it is
/// disposed, the content is compared with the model, every datafile is checked page by page, and nothing is left open.
/// </summary>
internal sealed class TestDatabase : IAsyncDisposable
{
    public const string Folder = "/db";

    /// <summary>The longest that a test waits for what must happen; a hang becomes a failure.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(12);

    private readonly Func<PitrOptions, PitrOptions> _with;
    private readonly long _seed;
    private bool _isOpen;

    private TestDatabase(long seed, SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with)
    {
        _seed = seed;
        Disk = disk;
        _with = with ?? (static options => options);
    }

    public SimulatedDisk Disk { get; private set; }

    public PitrDatabase Database { get; private set; } = null!;

    /// <summary>What it should contain.</summary>
    public ModelStore Model { get; init; } = new();

    public static SimulatedDisk NewDisk(long seed = 1)
    {
        var disk = new SimulatedDisk(seed);
        disk.CreateFolders("/");
        return disk;
    }

    /// <summary>Small segments and buffers, no pauses, and random numbers from a seed.</summary>
    public static PitrOptions OptionsFor(SimulatedDisk disk, long seed)
    {
        var random = new SeededRandom(seed);
        var gate = new Lock();
        return new PitrOptions
        {
            FileSystem = disk,
            WalSegmentBytes = 64 << 10,
            MemoryBudgetBytes = 16 << 20,
            Delay = static _ => { },
            DrawRandom = () =>
            {
                lock (gate)
                    return random.NextBits();
            },
        };
    }

    public static async Task<TestDatabase> CreateAsync(
        long seed = 1, Func<PitrOptions, PitrOptions>? with = null, SimulatedDisk? disk = null)
    {
        var made = new TestDatabase(seed, disk ?? NewDisk(seed), with);
        made.Database = await PitrDatabase.CreateAsync(Folder, made.Options()).WaitAsync(Patience);
        made._isOpen = true;
        return made;
    }

    /// <summary>Opens a database that is on the disk already.</summary>
    public static async Task<TestDatabase> OpenAsync(
        SimulatedDisk disk, ModelStore model, long seed = 1, Func<PitrOptions, PitrOptions>? with = null)
    {
        var opened = new TestDatabase(seed, disk, with) { Model = model };
        opened.Database = await PitrDatabase.OpenAsync(Folder, opened.Options()).WaitAsync(Patience);
        opened._isOpen = true;
        return opened;
    }

    public string PathOf(string datafile) => Database.Datafiles.Single(file => file.Name == datafile).Path;

    public async Task<Table> CreateTableAsync(string name, string? datafile = null)
    {
        Table table = await Database.CreateTableAsync(name, datafile).WaitAsync(Patience);
        Model.CreateTable(name);
        return table;
    }

    public async Task<Table> CreateTableInNewFileAsync(string table, string datafile)
    {
        await Database.CreateDatafileAsync(datafile).WaitAsync(Patience);
        return await CreateTableAsync(table, datafile);
    }

    public async Task<CommitResult> PutAsync(Table table, string key, string value)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(value);
        CommitResult result = await Database.PutAsync(table, ModelStore.BytesOf(key), bytes).AsTask()
            .WaitAsync(Patience);
        Model.Apply([new ModelChange(table.Name, key, bytes)]);
        return result;
    }

    /// <summary>Puts "k00000" … in one transaction.</summary>
    public async Task<CommitResult> PutManyAsync(
        Table table, int from, int count, int valueBytes = 100, char fill = 'v')
    {
        byte[] value = Encoding.ASCII.GetBytes(new string(fill, valueBytes));
        var batch = new WriteBatch();
        var changes = new List<ModelChange>();
        for (int i = from; i < from + count; i++)
        {
            batch.Put(table, ModelStore.BytesOf($"k{i:D5}"), value);
            changes.Add(new ModelChange(table.Name, $"k{i:D5}", value));
        }

        CommitResult result = await Database.CommitAsync(batch).AsTask().WaitAsync(Patience);
        Model.Apply(changes);
        return result;
    }

    public string? Get(Table table, string key) =>
        Database.Get(table, ModelStore.BytesOf(key)) is { } value ? Encoding.ASCII.GetString(value) : null;

    public Task<CheckpointResult> CheckpointAsync() => Database.CheckpointAsync().WaitAsync(Patience);

    public async Task<DatafileStatus> StatusOfAsync(string datafile) =>
        (await Database.GetStatusAsync().WaitAsync(Patience)).Datafiles.Single(file => file.Name == datafile);

    /// <summary>Content and model are equal, through every way of reading.</summary>
    public void Check(string context = "now") => Model.RequireEqual(Database, context);

    /// <summary>An orderly shutdown, and open again.</summary>
    public async Task ReopenAsync()
    {
        await CloseAsync();
        await OpenAgainAsync();
    }

    /// <summary>Power loss or process death, then open again on what it left; what was promised is checked.</summary>
    public async Task CrashAsync(bool isPowerLoss = true)
    {
        SimulatedDisk left = isPowerLoss ? Disk.CrashCopy(_seed) : Disk.KillCopy();
        await AbandonAsync();
        Disk = left;
        await OpenAgainAsync();
        Check("after a crash");
    }

    /// <summary>Opens it again on the same disk, after the engine ended by itself.</summary>
    public async Task OpenAgainAsync()
    {
        Database = await PitrDatabase.OpenAsync(Folder, Options()).WaitAsync(Patience);
        _isOpen = true;
    }

    public async Task CloseAsync()
    {
        _isOpen = false;
        await Database.ShutdownAsync().WaitAsync(Patience);
        RequireNothingOpen();
        CheckDatafiles(Disk, Database.Datafiles);
    }

    /// <summary>
    /// The engine goes away as at a crash: its disk is off, and whatever it still says does not count.
    /// </summary>
    public async Task AbandonAsync()
    {
        _isOpen = false;
        Disk.PowerOff();
        await Ended(Database.ShutdownAsync(force: true)).WaitAsync(Patience);
    }

    /// <summary>Waits for an end, whatever it is.</summary>
    public static Task Ended(Task task) => task.ContinueWith(
        static ended => _ = ended.Exception, CancellationToken.None, TaskContinuationOptions.None,
        TaskScheduler.Default);

    /// <summary>After the engine stopped by a failure.</summary>
    public async Task EndedAsync()
    {
        _isOpen = false;
        await Ended(Database.ShutdownAsync()).WaitAsync(Patience);
        RequireNothingOpen();
    }

    public async ValueTask DisposeAsync()
    {
        if (!_isOpen)
            return;
        Check("at the end");
        await CloseAsync();
    }

    /// <summary>Every page of every datafile has exactly one use and is what was written.</summary>
    public static void CheckDatafiles(SimulatedDisk disk, IEnumerable<DatafileInfo> datafiles)
    {
        using var cache = new PageCache(PageCache.BudgetBytesMin, new EpochTable());
        using var arenas = new ArenaPool(1 << 20);
        var environment = new DatafileEnvironment(
            disk, cache, cache.Epochs, new PacedWriter(TimeProvider.System, static _ => { }), arenas);
        foreach (DatafileInfo file in datafiles)
        {
            DatafileReport report = DatafileCheck.Run(environment, file.Path);
            Assert.True(report.IsSound, $"{file.Name}: {string.Join('\n', report.Problems)}");
        }
    }

    /// <summary>What workers had open is closed soon after the engine's end, and nothing else is open (I12).</summary>
    public static async Task NothingIsOpenAsync(SimulatedDisk disk)
    {
        long began = TimeProvider.System.GetTimestamp();
        while ((disk.OpenHandleCount > 0 || disk.HeldLockCount > 0)
            && TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(3))
            await Task.Delay(1);
        Assert.Empty(disk.OpenHandlePaths);
        Assert.Equal(0, disk.HeldLockCount);
    }

    private PitrOptions Options() => _with(OptionsFor(Disk, _seed + Disk.OperationCount));

    private void RequireNothingOpen()
    {
        Assert.Empty(Disk.OpenHandlePaths); // I12
        Assert.Equal(0, Disk.HeldLockCount);
    }
}
