using System.Globalization;
using System.Text;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// One life of a database between two openings: writers, transactions that conflict, DDL, checkpoints, fences,
/// snapshots and scans at the same time, until the disk is copied as after power loss or a kill, at any operation on
/// it.
/// </summary>
/// <remarks>
/// The tables: t0, t1 in main, t2 in b, t3 in c; counters in main, journal in b. Every blind batch writes the same
/// number into "pair" rows of t0, t2 and t3, and every transaction that increments a counter adds a row to the journal:
/// a
/// snapshot in which these differ has half of a transaction.
/// </remarks>
internal sealed class EngineLife
{
    public const int Writers = 4;
    private const int Counters = 3;
    private const int MaintainerIndex = Writers;
    private static readonly string[] Workers =
        ["writer 0", "writer 1", "writer 2", "writer 3", "maintenance", "fences", "reader", "shutdown"];

    private readonly long _seed;
    private readonly SimulatedDisk _disk;
    private readonly Lock _gate = new();
    private readonly WriterHistory[] _histories =
        [.. Enumerable.Range(0, Writers + 1).Select(_ => new WriterHistory())];
    private readonly LifeEnd _end;
    private readonly bool _isPowerLoss;
    private (int Done, LifeOperation? Pending)[] _atCopy = [];
    private SimulatedDisk? _copy;
    private PitrDatabase _database = null!;
    private volatile bool _isStopping;

    public EngineLife(long seed, SimulatedDisk disk, ModelStore model)
    {
        _seed = seed;
        _disk = disk;
        Model = model;
        var random = new SeededRandom(seed * 53);
        _end = LifeEnd.Drawn(ref random);
        _isPowerLoss = random.Chance(70);
    }

    /// <summary>What must be in the database when it is opened.</summary>
    public ModelStore Model { get; }

    /// <summary>How it ends: for a failure's message.</summary>
    public string How => $"{_end.Kind} {_end.Of}{(_isPowerLoss ? " power loss" : " kill")}";

    public static long NumberOf(byte[]? value) =>
        value is null ? 0 : long.Parse(Encoding.ASCII.GetString(value), CultureInfo.InvariantCulture);

    public static byte[] BytesOf(long number) => Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    /// <summary>Tiny budgets, so that segments are switched and recycled and flushes run all the time.</summary>
    public static PitrOptions Options(SimulatedDisk disk, long seed, long databaseSeed)
    {
        return TestDatabase.OptionsFor(disk, seed) with
        {
            WalSegmentBytes = databaseSeed % 2 == 0 ? 64 << 10 : 16 << 10,
            CheckpointWalBytes = databaseSeed % 3 == 0 ? 40 << 10 : 200 << 10,
            WriteBufferBytesMax = databaseSeed % 5 == 0 ? 1 << 20 : 2 << 20,
            ArchiveStores = databaseSeed % 4 == 1 ? ["/archive"] : [],
            ArchiveShutdownWait = TimeSpan.FromSeconds(2),
        };
    }

    /// <summary>Makes the tables.</summary>
    public static async Task BeginAsync(PitrDatabase database, ModelStore model)
    {
        await database.CreateDatafileAsync("b");
        await database.CreateDatafileAsync("c");
        foreach ((string table, string file) in ((string, string)[])[
            ("t0", "main"), ("t1", "main"), ("t2", "b"), ("t3", "c"), ("counters", "main"), ("journal", "b")])
        {
            await database.CreateTableAsync(table, file);
            model.CreateTable(table);
        }
    }

    /// <summary>
    /// Lives on an open database, which contains the model, until its end. Returns the disk that it left and what is to
    /// be found on it: the next opening decides what of the operations under way was there.
    /// </summary>
    public async Task<(SimulatedDisk Left, Func<PitrDatabase, ModelStore> Resolve)> RunAsync(PitrDatabase database)
    {
        _database = database;
        _end.Begin(_disk, TakeCopy);
        Task[] work = [
            .. Enumerable.Range(0, Writers).Select(writer => Task.Run(() => WriteAsync(writer))),
            Task.Run(MaintainAsync), Task.Run(FenceAsync), Task.Run(Look)];
        await Task.WhenAny(Task.WhenAll(work), _end.Begun).WaitAsync(TestDatabase.Patience);
        if (!_end.Begun.IsCompleted)
            await Task.WhenAll(work); // it failed: say how
        if (_end.Kind == LifeEndKind.DiskFails) // work ends by itself, or is told to
            await Task.WhenAny(Task.WhenAll(work), Task.Delay(20));
        _isStopping = true;
        bool isOrderly = _end.Kind == LifeEndKind.Shutdown;
        Task closing = isOrderly
            ? EndOrderlyAsync(work, database)
            : TestDatabase.Ended(database.ShutdownAsync(force: true));
        await EndAllAsync([.. work, closing]);
        _disk.BeforeOperation = null;
        _disk.Faults.Clear();
        await TestDatabase.NothingIsOpenAsync(_disk);
        if (_copy is null)
            TakeCopy();
        return (_copy!, Resolve);
    }

    /// <summary>
    /// Everything comes to rest first, so that the crash is in the middle of the shutdown's own steps.
    /// </summary>
    private async Task EndOrderlyAsync(Task[] work, PitrDatabase database)
    {
        await Task.WhenAll(work);
        _end.BeginShutdown(_disk, TakeCopy);
        await database.ShutdownAsync();
    }

    /// <summary>Nobody waits for ever; whoever does is named.</summary>
    private static async Task EndAllAsync(Task[] work)
    {
        Task all = Task.WhenAll(work);
        if (await Task.WhenAny(all, Task.Delay(TestDatabase.Patience)) == all)
            await all;
        string[] waiting = [.. Workers.Where((_, i) => !work[i].IsCompleted)];
        Assert.True(waiting.Length == 0, $"Still waiting after the end: {string.Join(", ", waiting)}.");
    }

    private void TakeCopy()
    {
        if (_copy is not null)
            return;
        lock (_gate)
            _atCopy = [.. _histories.Select(history => (history.Done.Count, history.Pending))];
        _copy = _isPowerLoss ? _disk.CrashCopy(_seed) : _disk.KillCopy();
    }

    /// <summary>
    /// The model with all that was acknowledged before the copy, and with what was under way if it is there.
    /// </summary>
    private ModelStore Resolve(PitrDatabase database)
    {
        for (int i = 0; i < _histories.Length; i++)
        {
            (int done, LifeOperation? pending) = _atCopy[i];
            foreach (LifeOperation operation in _histories[i].Done.Take(done))
                operation.ApplyTo(Model);
            if (pending is not null && pending.IsIn(database))
                pending.ApplyTo(Model);
        }

        Lsn last = _histories
            .SelectMany((history, i) => history.Done.Take(_atCopy[i].Done))
            .Select(done => done.Lsn).DefaultIfEmpty().Max();
        Assert.True(
            database.VisibleLsn >= last,
            $"The database opened at {database.VisibleLsn}, below the acknowledged {last}.");
        return Model;
    }

    /// <summary>After it, a refusal is no surprise.</summary>
    private bool IsOver => _isStopping || _end.HasBegun;

    // ---- writers ---------------------------------------------------------------------------------

    private async Task WriteAsync(int writer)
    {
        var random = new SeededRandom(_seed * 31 + writer);
        for (int number = 1; !_isStopping; number++)
        {
            long id = _seed * 100_000 + number;
            bool isTransaction = random.Chance(25);
            LifeOperation operation = isTransaction
                ? TransactionOf(writer, id, ref random)
                : BatchOf(writer, id, ref random);
            Func<Task<Lsn>> run = isTransaction ? () => IncrementAsync(operation) : () => CommitAsync(operation);
            if (!await TryAsync(writer, operation, run))
                return;
        }
    }

    /// <summary>False if the engine has stopped.</summary>
    private async Task<bool> TryAsync(int writer, LifeOperation operation, Func<Task<Lsn>> run)
    {
        WriterHistory history = _histories[writer];
        lock (_gate)
            history.Pending = operation;
        try
        {
            operation.Lsn = await run().WaitAsync(TestDatabase.Patience);
        }
        catch (ConflictException)
        {
            lock (_gate)
                history.Pending = null;
            return true;
        }
        catch (PitrException) when (IsOver)
        {
            return false;
        }

        lock (_gate)
        {
            history.Done.Add(operation);
            history.Pending = null;
        }

        return true;
    }

    private static LifeOperation BatchOf(int writer, long id, ref SeededRandom random)
    {
        var operation = new LifeOperation();
        foreach (string table in (string[])["t0", "t2", "t3"])
            operation.Changes.Add(new ModelChange(table, $"pair-{writer}", BytesOf(id)));
        int changes = random.Chance(5) ? 400 : random.Next(6);
        for (int i = 0; i < changes; i++)
        {
            string table = $"t{random.Next(4)}";
            string key = $"{writer}/{random.Next(random.Chance(50) ? 20 : 2000):D5}";
            operation.Changes.Add(new ModelChange(table, key, random.Chance(20) ? null : ValueOf(id, ref random)));
        }

        return operation;
    }

    private static byte[] ValueOf(long id, ref SeededRandom random)
    {
        int length = random.Next(100) switch
        {
            < 85 => random.Next(200),
            < 98 => random.Next(3000),
            _ => random.Next(60_000),
        };
        byte[] value = new byte[length];
        for (int i = 0; i < length; i++)
            value[i] = (byte)(id * 7 + i * 13);
        return value;
    }

    private async Task<Lsn> CommitAsync(LifeOperation operation)
    {
        var batch = new WriteBatch();
        foreach (ModelChange change in operation.Changes)
        {
            Table table = _database.GetTable(change.Table);
            if (change.Value is null)
                batch.Delete(table, ModelStore.BytesOf(change.Key));
            else
                batch.Put(table, ModelStore.BytesOf(change.Key), change.Value);
        }

        return (await _database.CommitAsync(batch)).Lsn;
    }

    private static LifeOperation TransactionOf(int writer, long id, ref SeededRandom random)
    {
        string counter = $"{random.Next(Counters)}";
        var operation = new LifeOperation { Counter = counter };
        operation.Changes.Add(new ModelChange("journal", $"{counter}/{writer}/{id}", BytesOf(id)));
        return operation;
    }

    /// <summary>
    /// Reads a counter and writes it back, one more, with a row in the journal, which lies in another file.
    /// </summary>
    private async Task<Lsn> IncrementAsync(LifeOperation operation)
    {
        using Transaction transaction = await _database.BeginTransactionAsync();
        Table counters = _database.GetTable("counters");
        byte[] key = ModelStore.BytesOf(operation.Counter!);
        transaction.Put(counters, key, BytesOf(NumberOf(transaction.Get(counters, key)) + 1));
        ModelChange row = operation.Changes[0];
        transaction.Put(_database.GetTable(row.Table), ModelStore.BytesOf(row.Key), row.Value);
        return (await transaction.CommitAsync()).Lsn;
    }

    // ---- the others ------------------------------------------------------------------------------

    private async Task MaintainAsync()
    {
        var random = new SeededRandom(_seed * 37);
        try
        {
            for (int number = 0; !_isStopping; number++)
            {
                switch (random.Next(4))
                {
                    case 0:
                        await _database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
                        break;
                    case 1:
                        await _database.SwitchWalAsync().WaitAsync(TestDatabase.Patience);
                        break;
                    default:
                        if (!await MakeAndDropAsync($"x{_seed % 1000}-{number}", random.Chance(50), random.Chance(70)))
                            return;
                        break;
                }
            }
        }
        catch (PitrException) when (IsOver)
        {
            // the engine has stopped
        }
    }

    /// <summary>A table, often in a datafile of its own, that is filled, and often dropped again.</summary>
    private async Task<bool> MakeAndDropAsync(string name, bool inNewFile, bool isDropped)
    {
        if (inNewFile)
            await _database.CreateDatafileAsync(name).WaitAsync(TestDatabase.Patience);
        string file = inNewFile ? name : "c";
        if (!await TryAsync(MaintainerIndex, new LifeOperation { CreatesTable = name }, async () =>
        {
            await _database.CreateTableAsync(name, file);
            return default;
        }))
            return false;
        for (int i = 0; i < 3; i++)
        {
            var fill = new LifeOperation();
            for (int row = 0; row < 20; row++)
                fill.Changes.Add(new ModelChange(name, $"{row:D3}", BytesOf(i)));
            if (!await TryAsync(MaintainerIndex, fill, () => CommitAsync(fill)))
                return false;
        }

        if (!isDropped)
            return true;
        if (!await TryAsync(MaintainerIndex, new LifeOperation { DropsTable = name }, async () =>
        {
            await _database.DropTableAsync(name);
            return default;
        }))
            return false;
        if (inNewFile)
            await _database.DropDatafileAsync(name).WaitAsync(TestDatabase.Patience);
        return true;
    }

    /// <summary>Fences a file, and looks whether a byte of it changes until it is unfenced.</summary>
    private async Task FenceAsync()
    {
        var random = new SeededRandom(_seed * 41);
        try
        {
            while (!_isStopping)
            {
                string file = ((string[])["main", "b", "c"])[random.Next(3)];
                FenceGrant fence = await _database.FenceAsync(file, TimeSpan.FromMinutes(5))
                    .WaitAsync(TestDatabase.Patience);
                byte[] before = _disk.ReadAll(fence.Path);
                for (int i = random.Next(30); i > 0; i--)
                    await Task.Yield();
                byte[] after = _disk.ReadAll(fence.Path);
                await _database.UnfenceAsync(fence.FenceId).WaitAsync(TestDatabase.Patience);
                Assert.True(before.AsSpan().SequenceEqual(after), $"Datafile {file} changed while it was fenced.");
            }
        }
        catch (PitrException error) when (error.Code == ErrorCode.FenceBroken || IsOver)
        {
            // the engine has stopped, or the file's buffers were full
        }
    }

    /// <summary>No snapshot shows half of a transaction (I2).</summary>
    private void Look()
    {
        var random = new SeededRandom(_seed * 43);
        try
        {
            while (!_isStopping)
            {
                using Snapshot snapshot = _database.OpenSnapshot();
                for (int rounds = random.Next(3); rounds >= 0; rounds--)
                    LookAt(snapshot);
                Table any = _database.GetTable($"t{random.Next(4)}");
                List<byte[]> rows = [.. snapshot.Scan(any, ScanRange.All).Select(row => row.Key)];
                List<byte[]> back = [.. snapshot.Scan(any, new ScanRange { Reverse = true }).Select(row => row.Key)];
                back.Reverse();
                Assert.Equal(rows, back);
            }
        }
        catch (PitrException error) when (error.Code == ErrorCode.SnapshotTooOld || IsOver)
        {
            // the engine has stopped
        }
        catch (Exception) when (_disk.IsOff || IsOver)
        {
            // a cache miss after the end
        }
    }

    private void LookAt(Snapshot snapshot)
    {
        for (int writer = 0; writer < Writers; writer++)
        {
            byte[] key = ModelStore.BytesOf($"pair-{writer}");
            long first = NumberOf(snapshot.Get(_database.GetTable("t0"), key));
            Assert.Equal(first, NumberOf(snapshot.Get(_database.GetTable("t2"), key)));
            Assert.Equal(first, NumberOf(snapshot.Get(_database.GetTable("t3"), key)));
        }

        for (int counter = 0; counter < Counters; counter++)
        {
            long count = NumberOf(snapshot.Get(_database.GetTable("counters"), ModelStore.BytesOf($"{counter}")));
            var rows = new ScanRange { Prefix = ModelStore.BytesOf($"{counter}/") };
            Assert.Equal(count, snapshot.Scan(_database.GetTable("journal"), rows).LongCount());
        }
    }
}
