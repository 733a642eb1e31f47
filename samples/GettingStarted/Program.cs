using System.Text;
using Pitr;

await using PitrDatabase database = await PitrDatabase.OpenOrCreateAsync("shop");
Table orders = database.TryGetTable("orders", out Table? known) ? known : await database.CreateTableAsync("orders");

// One change. When the task completes it is durable and visible.
CommitResult commit = await database.PutAsync(orders, "1001"u8.ToArray(), "lamp"u8.ToArray());
Console.WriteLine($"transaction {commit.TransactionId} at {commit.Lsn}, {commit.Time:O}");

// Several changes, all or none. A batch may be used again once its commit has completed.
var batch = new WriteBatch();
batch.Put(orders, "1002"u8, "rug"u8);
batch.Delete(orders, "1001"u8);
await database.CommitAsync(batch);

// Read and write, serializable: if what was read has changed meanwhile, the commit throws a ConflictException.
using (Transaction transaction = await database.BeginTransactionAsync())
{
    byte[]? rug = transaction.Get(orders, "1002"u8);
    transaction.Put(orders, "1003"u8, rug ?? "vase"u8.ToArray());
    await transaction.CommitAsync();
}

// A moment that stays as it is, over all tables, while commits go on.
using (Snapshot snapshot = database.OpenSnapshot())
{
    foreach (KeyValue row in snapshot.Scan(orders, new ScanRange { From = "1002"u8.ToArray() }))
        Console.WriteLine($"{Encoding.UTF8.GetString(row.Key)} = {Encoding.UTF8.GetString(row.Value)}");
}
