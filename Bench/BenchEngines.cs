namespace Pitr.Bench;

/// <summary>The engines by name.</summary>
internal static class BenchEngines
{
    public static IReadOnlyList<string> Names { get; } =
        ["raw-log", "pitr", "rocksdb-batched", "rocksdb", "sqlite", "lmdb", "fasterlog"];

    public static IBenchEngine Open(string name, string folder) => name switch
    {
        "raw-log" => new RawLogEngine(folder),
        "pitr" => new PitrEngine(folder),
        "rocksdb" => new RocksDbEngine(folder, isBatched: false),
        "rocksdb-batched" => new RocksDbEngine(folder, isBatched: true),
        "sqlite" => new SqliteEngine(folder),
        "lmdb" => new LmdbEngine(folder),
        "fasterlog" => new FasterLogEngine(folder),
        _ => throw new ArgumentException($"There is no engine '{name}'; there are {string.Join(", ", Names)}."),
    };
}
