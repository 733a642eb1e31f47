using RocksDbSharp;

namespace Pitr.Bench;

/// <summary>RocksDB with sync writes, bloom filter of 10 bits, no compression, 512 MiB cache, recycled logs.</summary>
internal sealed class RocksDbEngine : IBenchEngine
{
    private readonly RocksDb _db;
    private readonly WriteOptions _sync = new WriteOptions().SetSync(true);
    private readonly Batcher? _batcher;

    public RocksDbEngine(string folder, bool isBatched)
    {
        BlockBasedTableOptions table = new BlockBasedTableOptions()
            .SetFilterPolicy(BloomFilterPolicy.Create(10, false))
            .SetBlockCache(Cache.CreateLru(512UL << 20));
        DbOptions options = new DbOptions().SetCreateIfMissing(true).SetCompression(Compression.No)
            .SetRecycleLogFileNum(4).SetBlockBasedTableFactory(table);
        _db = RocksDb.Open(options, folder);
        _batcher = isBatched ? new Batcher(Commit) : null;
        Name = isBatched ? "rocksdb-batched" : "rocksdb";
    }

    public string Name { get; }

    public bool IsBlocking => _batcher is null;

    public void Load()
    {
        var random = new Random(1);
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        for (int i = 0; i < Workload.Keys;)
        {
            using var batch = new RocksDbSharp.WriteBatch();
            for (int n = 0; n < 10_000; n++, i++)
            {
                Workload.Key(i, key);
                Workload.Value(random, value);
                batch.Put(key, value);
            }

            _db.Write(batch);
        }
    }

    public Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer() => _batcher is not null
        ? _batcher.CommitAsync
        : (key, value) =>
        {
            _db.Put(key.ToArray(), value.ToArray(), writeOptions: _sync);
            return ValueTask.CompletedTask;
        };

    public Func<byte[], bool> Reader() => key => _db.Get(key) is not null;

    public long Scan()
    {
        using Iterator rows = _db.NewIterator();
        long count = 0;
        long bytes = 0;
        for (rows.SeekToFirst(); rows.Valid(); rows.Next())
        {
            bytes += rows.GetKeySpan().Length + rows.GetValueSpan().Length;
            count++;
        }

        return bytes > 0 ? count : 0;
    }

    public void Dispose()
    {
        _batcher?.Dispose();
        _db.Dispose();
    }

    private void Commit(List<Batcher.Put> puts)
    {
        using var batch = new RocksDbSharp.WriteBatch();
        foreach (Batcher.Put put in puts)
            batch.Put(put.Key.ToArray(), put.Value.ToArray());
        _db.Write(batch, _sync);
    }
}
