using System.Globalization;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>
/// One writer's story on a database, with what it should contain after each step that was acknowledged.
/// </summary>
internal sealed class CrashStory
{
    private readonly SimulatedDisk _disk;
    private readonly Lock _gate = new();
    private readonly WriterHistory _history = new();
    private (int Done, LifeOperation? Pending)? _frozen;
    private int _number;

    public CrashStory(SimulatedDisk disk) => _disk = disk;

    public static PitrOptions Options(SimulatedDisk disk) => TestDatabase.OptionsFor(disk, disk.OperationCount) with
    {
        WalSegmentBytes = 16 << 10,
        ArchiveStores = ["/archive"],
        ArchiveShutdownWait = TimeSpan.FromSeconds(2),
    };

    public Task<PitrDatabase> CreateAsync() =>
        PitrDatabase.CreateAsync(TestDatabase.Folder, Options(_disk)).WaitAsync(TestDatabase.Patience);

    /// <summary>From now on nothing counts as acknowledged.</summary>
    public void Freeze()
    {
        lock (_gate)
            _frozen ??= (_history.Done.Count, _history.Pending);
    }

    /// <summary>Tells it on an open database; with its end, an orderly shutdown.</summary>
    public async Task TellAsync(PitrDatabase database, bool isEnded)
    {
        await CreateTableAsync(database, "orders", "main");
        await database.CreateDatafileAsync("b").WaitAsync(TestDatabase.Patience);
        await CreateTableAsync(database, "stock", "b");
        await CommitManyAsync(database, 4, ["orders", "stock"]);
        await database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        await CommitManyAsync(database, 2, ["orders", "stock"], valueBytes: 9000);
        FenceGrant fence = await database.FenceAsync("b", TimeSpan.FromMinutes(5)).WaitAsync(TestDatabase.Patience);
        await CommitManyAsync(database, 2, ["orders", "stock"]);
        await database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        await database.UnfenceAsync(fence.FenceId).WaitAsync(TestDatabase.Patience);
        await database.CreateDatafileAsync("c").WaitAsync(TestDatabase.Patience);
        await CreateTableAsync(database, "events", "c");
        await CommitManyAsync(database, 3, ["orders", "events"]);
        await database.SwitchWalAsync().WaitAsync(TestDatabase.Patience);
        await DropTableAsync(database, "events");
        await database.DropDatafileAsync("c").WaitAsync(TestDatabase.Patience);
        await CommitManyAsync(database, 2, ["orders", "stock"], valueBytes: 5000);
        await database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        await CommitManyAsync(database, 3, ["orders", "stock"]);
        if (isEnded)
            await database.ShutdownAsync().WaitAsync(TestDatabase.Patience);
    }

    /// <summary>
    /// Opens what is left: every acknowledged step is there, and of the one under way all or nothing.
    /// </summary>
    public async Task RequireAsync(SimulatedDisk left)
    {
        PitrDatabase database = await PitrDatabase.OpenAsync(TestDatabase.Folder, Options(left))
            .WaitAsync(TestDatabase.Patience);
        (int done, LifeOperation? pending) = _frozen ?? (_history.Done.Count, _history.Pending);
        var model = new ModelStore();
        foreach (LifeOperation operation in _history.Done.Take(done))
            operation.ApplyTo(model);
        if (pending is not null && pending.IsIn(database))
            pending.ApplyTo(model);
        model.RequireEqual(database, "after the end");
        await database.ShutdownAsync().WaitAsync(TestDatabase.Patience);
        await TestDatabase.NothingIsOpenAsync(left);
        TestDatabase.CheckDatafiles(left, database.Datafiles);
    }

    private Task CreateTableAsync(PitrDatabase database, string name, string datafile) =>
        DoAsync(new LifeOperation { CreatesTable = name }, () => database.CreateTableAsync(name, datafile));

    private Task DropTableAsync(PitrDatabase database, string name) =>
        DoAsync(new LifeOperation { DropsTable = name }, () => database.DropTableAsync(name));

    private async Task CommitManyAsync(PitrDatabase database, int count, string[] tables, int valueBytes = 60)
    {
        for (int i = 0; i < count; i++)
        {
            _number++;
            var operation = new LifeOperation();
            var batch = new WriteBatch();
            foreach (string table in tables)
            {
                string sign = _number.ToString(CultureInfo.InvariantCulture);
                byte[] value = ModelStore.BytesOf(sign.PadRight(valueBytes, 'v'));
                operation.Changes.Add(new ModelChange(table, $"k{_number % 7}", value));
                operation.Changes.Add(new ModelChange(table, "last", ModelStore.BytesOf(sign)));
                operation.Changes.Add(new ModelChange(table, $"k{(_number + 3) % 7}", null));
            }

            foreach (ModelChange change in operation.Changes)
            {
                if (change.Value is null)
                    batch.Delete(database.GetTable(change.Table), ModelStore.BytesOf(change.Key));
                else
                    batch.Put(database.GetTable(change.Table), ModelStore.BytesOf(change.Key), change.Value);
            }

            await DoAsync(operation, () => database.CommitAsync(batch).AsTask());
        }
    }

    private async Task DoAsync(LifeOperation operation, Func<Task> run)
    {
        lock (_gate)
            _history.Pending = operation;
        await run().WaitAsync(TestDatabase.Patience);
        lock (_gate)
        {
            _history.Done.Add(operation);
            _history.Pending = null;
        }
    }
}
