using Pitr;

await using PitrDatabase database = await PitrDatabase.OpenOrCreateAsync("db");
Table orders = database.TryGetTable("orders", out Table? known) ? known : await database.CreateTableAsync("orders");

await database.PutAsync(orders, "1001"u8.ToArray(), "two apples"u8.ToArray());   // durable when it returns

using Transaction transaction = await database.BeginTransactionAsync();          // snapshot, serializable
byte[]? order = transaction.Get(orders, "1001"u8);
transaction.Put(orders, "1002"u8, order);
CommitResult commit = await transaction.CommitAsync();                           // or throws ConflictException
