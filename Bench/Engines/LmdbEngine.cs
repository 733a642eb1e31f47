using System.Runtime.InteropServices;
using LightningDB;

namespace Pitr.Bench;

/// <summary>LMDB with default (sync) flags; one thread commits all queued puts in one transaction.</summary>
internal sealed class LmdbEngine : IBenchEngine
{
    private readonly LightningEnvironment _environment;
    private readonly LightningDatabase _database;
    private readonly Batcher _batcher;
    private readonly List<LightningTransaction> _readers = [];

    /// <summary>
    /// The package's own library wants a newer C library than some distributions have: take the system's first.
    /// </summary>
    static LmdbEngine() => NativeLibrary.SetDllImportResolver(
        typeof(LightningEnvironment).Assembly,
        (name, _, _) => name == "lmdb" && NativeLibrary.TryLoad("liblmdb.so.0", out nint handle) ? handle : nint.Zero);

    public LmdbEngine(string folder)
    {
        _environment =
            new LightningEnvironment(folder, new EnvironmentConfiguration { MapSize = 8L << 30, MaxDatabases = 1 });
        _environment.Open();
        using LightningTransaction transaction = _environment.BeginTransaction();
        _database =
            transaction.OpenDatabase(configuration: new DatabaseConfiguration { Flags = DatabaseOpenFlags.Create });
        transaction.Commit();
        _batcher = new Batcher(Commit);
    }

    public string Name => "lmdb";

    public bool IsBlocking => false;

    public void Load()
    {
        var random = new Random(1);
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        using LightningTransaction transaction = _environment.BeginTransaction();
        for (int i = 0; i < Workload.Keys; i++)
        {
            Workload.Key(i, key);
            Workload.Value(random, value);
            transaction.Put(_database, key, value);
        }

        transaction.Commit();
    }

    public Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer() => _batcher.CommitAsync;

    public Func<byte[], bool> Reader()
    {
        LightningTransaction transaction = _environment.BeginTransaction(TransactionBeginFlags.ReadOnly);
        lock (_readers)
            _readers.Add(transaction);
        return key => transaction.Get(_database, key).resultCode == MDBResultCode.Success;
    }

    public long Scan()
    {
        using LightningTransaction transaction = _environment.BeginTransaction(TransactionBeginFlags.ReadOnly);
        using LightningCursor cursor = transaction.CreateCursor(_database);
        long count = 0;
        long bytes = 0;
        while (cursor.Next().resultCode == MDBResultCode.Success)
        {
            (MDBResultCode _, MDBValue key, MDBValue value) = cursor.GetCurrent();
            bytes += key.AsSpan().Length + value.AsSpan().Length;
            count++;
        }

        return bytes > 0 ? count : 0;
    }

    public void Dispose()
    {
        _batcher.Dispose();
        foreach (LightningTransaction reader in _readers)
            reader.Dispose();
        _database.Dispose();
        _environment.Dispose();
    }

    private void Commit(List<Batcher.Put> puts)
    {
        using LightningTransaction transaction = _environment.BeginTransaction();
        foreach (Batcher.Put put in puts)
            transaction.Put(_database, put.Key.Span, put.Value.Span);
        transaction.Commit();
    }
}
