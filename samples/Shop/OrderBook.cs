using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace Pitr.Samples.Shop;

/// <summary>What a customer asks for.</summary>
internal sealed record OrderRequest(string Customer, string Item, int Quantity);

/// <summary>An order that was taken: it is durable.</summary>
internal sealed record Order(long Number, string Customer, string Item, int Quantity);

/// <summary>
/// Orders and stock. An order takes its number, and the goods out of the stock, in one transaction: all of it or nothing,
/// and never twice the last lamp.
/// </summary>
internal sealed class OrderBook(PitrDatabase database)
{
    /// <summary>Orders by number; in a datafile of their own, since there will be many.</summary>
    public const string OrdersTable = "orders";

    /// <summary>That datafile.</summary>
    public const string OrdersDatafile = "orders";

    private static readonly byte[] LastNumber = "last-number"u8.ToArray();
    private static readonly (string Item, int Quantity)[] FirstStock = [("lamp", 100), ("rug", 5), ("vase", 20)];

    /// <summary>Makes what is not there yet.</summary>
    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        if (database.Datafiles.All(file => file.Name != OrdersDatafile))
            await database.CreateDatafileAsync(OrdersDatafile, cancellationToken: cancellationToken);
        if (!database.TryGetTable(OrdersTable, out _))
            await database.CreateTableAsync(OrdersTable, OrdersDatafile, cancellationToken);
        if (database.TryGetTable("stock", out _))
            return;
        Table stock = await database.CreateTableAsync("stock", cancellationToken: cancellationToken);
        var batch = new WriteBatch();
        foreach ((string item, int quantity) in FirstStock)
            batch.Put(stock, Encoding.UTF8.GetBytes(item), BitConverter.GetBytes(quantity));
        await database.CommitAsync(batch, cancellationToken);
    }

    /// <summary>Takes an order; null if there is not enough in stock. When it returns it is on the disk.</summary>
    public async Task<Order?> TakeAsync(OrderRequest request, CancellationToken cancellationToken)
    {
        if (string.IsNullOrWhiteSpace(request.Customer) || string.IsNullOrWhiteSpace(request.Item) || request.Quantity <= 0)
            throw new ArgumentException("An order says who (customer), what (item) and how many (quantity, 1 or more).");
        Table orders = database.GetTable(OrdersTable);
        Table stock = database.GetTable("stock");
        byte[] item = Encoding.UTF8.GetBytes(request.Item);
        while (true)
        {
            using Transaction transaction = await database.BeginTransactionAsync(cancellationToken);
            int left = transaction.Get(stock, item) is { } found ? BitConverter.ToInt32(found) : 0;
            if (left < request.Quantity)
                return null;
            long number = transaction.Get(orders, LastNumber) is { } last ? BitConverter.ToInt64(last) + 1 : 1;
            var order = new Order(number, request.Customer, request.Item, request.Quantity);
            transaction.Put(stock, item, BitConverter.GetBytes(left - request.Quantity));
            transaction.Put(orders, LastNumber, BitConverter.GetBytes(number));
            transaction.Put(orders, KeyOf(number), JsonSerializer.SerializeToUtf8Bytes(order, JsonSerializerOptions.Web));
            try
            {
                await transaction.CommitAsync(cancellationToken);
                return order;
            }
            catch (ConflictException)
            {
                // Somebody else took an order at the same moment: look again.
            }
        }
    }

    /// <summary>An order by its number.</summary>
    public Order? Find(long number) =>
        database.Get(database.GetTable(OrdersTable), KeyOf(number)) is { } value ? OrderOf(value) : null;

    /// <summary>All orders, of this moment.</summary>
    public IReadOnlyList<Order> Orders() => OrdersOf(database);

    /// <summary>What is left of each item.</summary>
    public IReadOnlyDictionary<string, int> Stock() => database.Scan(database.GetTable("stock"), ScanRange.All)
        .ToDictionary(row => Encoding.UTF8.GetString(row.Key), row => BitConverter.ToInt32(row.Value));

    /// <summary>The mistake: every order is gone, in one transaction. Returns how many there were.</summary>
    public async Task<int> RemoveAllAsync(CancellationToken cancellationToken)
    {
        Table orders = database.GetTable(OrdersTable);
        var batch = new WriteBatch();
        foreach (Order order in Orders())
            batch.Delete(orders, KeyOf(order.Number));
        if (batch.Count > 0)
            await database.CommitAsync(batch, cancellationToken);
        return batch.Count;
    }

    /// <summary>Puts orders that are not there, in one transaction. Returns how many.</summary>
    public async Task<int> PutMissingAsync(IEnumerable<Order> from, CancellationToken cancellationToken)
    {
        Table orders = database.GetTable(OrdersTable);
        using Transaction transaction = await database.BeginTransactionAsync(cancellationToken);
        int count = 0;
        foreach (Order order in from)
        {
            if (transaction.Get(orders, KeyOf(order.Number)) is not null)
                continue;
            transaction.Put(orders, KeyOf(order.Number), JsonSerializer.SerializeToUtf8Bytes(order, JsonSerializerOptions.Web));
            count++;
        }

        if (count > 0)
            await transaction.CommitAsync(cancellationToken);
        return count;
    }

    /// <summary>All orders of a database, which may be one of the past.</summary>
    public static IReadOnlyList<Order> OrdersOf(PitrDatabase database) =>
        [.. database.Scan(database.GetTable(OrdersTable), new ScanRange { To = LastNumber }).Select(row => OrderOf(row.Value))];

    /// <summary>Numbers in the order in which they count; below every letter.</summary>
    private static byte[] KeyOf(long number)
    {
        byte[] key = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(key, number);
        return key;
    }

    private static Order OrderOf(byte[] value) => JsonSerializer.Deserialize<Order>(value, JsonSerializerOptions.Web)!;
}
