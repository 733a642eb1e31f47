using Microsoft.Data.Sqlite;

namespace Pitr.Bench;

/// <summary>SQLite in WAL mode with synchronous=FULL; one thread commits all queued puts in one transaction.</summary>
internal sealed class SqliteEngine : IBenchEngine
{
    private readonly string _connection;
    private readonly SqliteConnection _writer;
    private readonly SqliteCommand _put;
    private readonly Batcher _batcher;

    public SqliteEngine(string folder)
    {
        _connection = $"Data Source={Path.Combine(folder, "db.sqlite")};Pooling=False";
        _writer = new SqliteConnection(_connection);
        _writer.Open();
        Run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-524288; CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID;");
        _put = _writer.CreateCommand();
        _put.CommandText = "INSERT INTO kv(k, v) VALUES($k, $v) ON CONFLICT(k) DO UPDATE SET v = excluded.v";
        _put.Parameters.Add("$k", SqliteType.Blob);
        _put.Parameters.Add("$v", SqliteType.Blob);
        _batcher = new Batcher(Commit);
    }

    public string Name => "sqlite";

    public bool IsBlocking => false;

    public void Load()
    {
        var random = new Random(1);
        Run("BEGIN");
        for (int i = 0; i < Workload.Keys; i++)
        {
            byte[] key = new byte[Workload.KeyBytes];
            byte[] value = new byte[Workload.ValueBytes];
            Workload.Key(i, key);
            Workload.Value(random, value);
            Put(key, value);
        }

        Run("COMMIT");
    }

    public Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer() => _batcher.CommitAsync;

    public Func<byte[], bool> Reader()
    {
        var connection = new SqliteConnection(_connection);
        connection.Open();
        SqliteCommand get = connection.CreateCommand();
        get.CommandText = "SELECT v FROM kv WHERE k = $k";
        SqliteParameter parameter = get.Parameters.Add("$k", SqliteType.Blob);
        return key =>
        {
            parameter.Value = key;
            return get.ExecuteScalar() is byte[];
        };
    }

    public long Scan()
    {
        using SqliteCommand scan = _writer.CreateCommand();
        scan.CommandText = "SELECT k, v FROM kv ORDER BY k";
        using SqliteDataReader rows = scan.ExecuteReader();
        long count = 0;
        while (rows.Read())
        {
            _ = rows.GetFieldValue<byte[]>(0);
            _ = rows.GetFieldValue<byte[]>(1);
            count++;
        }

        return count;
    }

    public void Dispose()
    {
        _batcher.Dispose();
        _put.Dispose();
        _writer.Dispose();
    }

    private void Commit(List<Batcher.Put> puts)
    {
        Run("BEGIN IMMEDIATE");
        foreach (Batcher.Put put in puts)
            Put(put.Key.ToArray(), put.Value.ToArray());
        Run("COMMIT");
    }

    private void Put(byte[] key, byte[] value)
    {
        _put.Parameters[0].Value = key;
        _put.Parameters[1].Value = value;
        _put.ExecuteNonQuery();
    }

    private void Run(string sql)
    {
        using SqliteCommand command = _writer.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
