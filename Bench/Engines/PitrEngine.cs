using System.Runtime.CompilerServices;

namespace Pitr.Bench;

/// <summary>Pitr as an application uses it: one table, one batch a writer, used again and again.</summary>
internal sealed class PitrEngine : IBenchEngine
{
    private readonly PitrDatabase _database;
    private readonly Table _table;

    public PitrEngine(string folder)
    {
        _database = PitrDatabase.CreateAsync(folder, new PitrOptions { MemoryBudgetBytes = 2L << 30 }).GetAwaiter()
            .GetResult();
        _table = _database.CreateTableAsync("bench").GetAwaiter().GetResult();
    }

    public string Name => "pitr";

    public bool IsBlocking => false;

    public void Load()
    {
        var random = new Random(1);
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        var batch = new WriteBatch();
        for (int i = 0; i < Workload.Keys;)
        {
            for (int n = 0; n < 10_000; n++, i++)
            {
                Workload.Key(i, key);
                Workload.Value(random, value);
                batch.Put(_table, key, value);
            }

            _database.CommitAsync(batch).AsTask().GetAwaiter().GetResult();
            batch.Clear();
        }

        _database.CheckpointAsync().GetAwaiter().GetResult();
    }

    public Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer()
    {
        var batch = new WriteBatch();
        return CommitAsync;

        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))] // an application awaits the commit itself
        async ValueTask CommitAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value)
        {
            batch.Clear();
            batch.Put(_table, key.Span, value.Span);
            await _database.CommitAsync(batch).ConfigureAwait(false);
        }
    }

    public Func<byte[], bool> Reader() => key => _database.Get(_table, key) is not null;

    public long Scan()
    {
        long count = 0;
        long bytes = 0;
        foreach (KeyValue row in _database.Scan(_table, ScanRange.All))
        {
            bytes += row.Key.Length + row.Value.Length;
            count++;
        }

        return bytes > 0 ? count : 0;
    }

    public void Dispose() => _database.DisposeAsync().AsTask().GetAwaiter().GetResult();
}
