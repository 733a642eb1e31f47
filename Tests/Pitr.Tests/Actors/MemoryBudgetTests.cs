using System.Text;
using Pitr.Actors;

namespace Pitr.Tests;

/// <summary>A database of ten times its budget works, and its native memory stays within the budget.</summary>
public sealed class MemoryBudgetTests : IAsyncLifetime
{
    private const long BudgetBytes = 16L << 20;
    private const int Rows = 80_000; // of 2,000 bytes: 160 MB
    private const int ValueBytes = 2000;

    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-memory").FullName;
    private readonly PitrOptions _options = new() { MemoryBudgetBytes = BudgetBytes };
    private PitrDatabase _database = null!;
    private Table _table = null!;

    public async Task InitializeAsync()
    {
        _database = await PitrDatabase.CreateAsync(Path.Combine(_folder, "db"), _options);
        _table = await _database.CreateTableAsync("rows");
    }

    public async Task DisposeAsync()
    {
        await _database.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_database_of_ten_times_its_budget_is_loaded_read_overwritten_and_opened_again_within_it()
    {
        for (int from = 0; from < Rows; from += 500)
            await PutAsync(Enumerable.Range(from, 500), version: 1);
        await RequireWithinBudgetAsync();
        await _database.CheckpointAsync();
        var random = new Random(1);
        for (int i = 0; i < 10_000; i++)
            RequireRow(random.Next(Rows));
        await RequireWithinBudgetAsync();
        using (Snapshot snapshot = _database.OpenSnapshot())
        {
            await PutAsync(Enumerable.Range(0, 2000).Select(n => n * 40), version: 2);
            await _database.CheckpointAsync();
            Assert.Equal(Rows, snapshot.Count(_table));
            Assert.Equal(1, snapshot.Get(_table, Key(40))![0]);
            await RequireWithinBudgetAsync();
        }

        Assert.Equal(Rows, _database.Count(_table));
        await _database.DisposeAsync();
        _database = await PitrDatabase.OpenAsync(Path.Combine(_folder, "db"), _options);
        _table = _database.GetTable("rows");
        Assert.Equal(Rows, _database.Scan(_table, ScanRange.All).Count());
        Assert.Equal(2, _database.Get(_table, Key(40))![0]);
        await RequireWithinBudgetAsync();
    }

    private async Task PutAsync(IEnumerable<int> rows, byte version)
    {
        var batch = new WriteBatch();
        byte[] value = new byte[ValueBytes];
        value[0] = version;
        foreach (int row in rows)
            batch.Put(_table, Key(row), value);
        await _database.CommitAsync(batch);
    }

    private void RequireRow(int row) => Assert.Equal(ValueBytes, _database.Get(_table, Key(row))!.Length);

    /// <summary>
    /// A thread of the pool that is held up inside an epoch may push the cache beyond for a moment, and the engine looks
    /// each second. A quarter of the budget is left for what was committed after the last look at the buffers.
    /// </summary>
    private Task RequireWithinBudgetAsync()
    {
        const long Most = BudgetBytes + (BudgetBytes / 4);
        return TestEngine.Until(
            () => _database.HeldBytes.CachedBytes + _database.HeldBytes.BufferBytes <= Most,
            "pages and buffers take no more than their budget");
    }

    private static byte[] Key(int row) => Encoding.ASCII.GetBytes($"row-{row:D8}");
}
