using System.Text;
using Pitr.Actors;

namespace Pitr.Tests;

/// <summary>One change of a model; a null value is a delete.</summary>
internal sealed record ModelChange(string Table, string Key, byte[]? Value);

/// <summary>What a database should contain: tables of ordered keys, without any of the product's code.</summary>
internal sealed class ModelStore
{
    private readonly SortedDictionary<string, SortedDictionary<string, byte[]>> _tables = new(StringComparer.Ordinal);

    public IEnumerable<string> Tables => _tables.Keys;

    public void CreateTable(string name) =>
        _tables.Add(name, new SortedDictionary<string, byte[]>(StringComparer.Ordinal));

    public void DropTable(string name) => _tables.Remove(name);

    public byte[]? Get(string table, string key) => _tables[table].GetValueOrDefault(key);

    public void Apply(IEnumerable<ModelChange> changes)
    {
        foreach (ModelChange change in changes)
        {
            if (change.Value is null)
                _tables[change.Table].Remove(change.Key);
            else
                _tables[change.Table][change.Key] = change.Value;
        }
    }

    /// <summary>
    /// Every table, key and value of the database is in the model and the other way round, forwards and backwards.
    /// </summary>
    public void RequireEqual(PitrDatabase database, string context)
    {
        Assert.Equal(_tables.Keys, database.Tables.Select(table => table.Name));
        foreach (Table table in database.Tables)
        {
            List<KeyValue> found = [.. database.Scan(table, ScanRange.All)];
            List<KeyValue> backwards = [.. database.Scan(table, new ScanRange { Reverse = true })];
            RequireEqual(table.Name, found, context);
            backwards.Reverse();
            RequireEqual(table.Name, backwards, context + ", backwards");
            Assert.Equal(found.Count, database.Count(table));
            foreach ((string key, byte[] value) in _tables[table.Name])
                Assert.True(
                    value.AsSpan().SequenceEqual(database.Get(table, BytesOf(key))),
                    $"{context}: a get of {table.Name}/{key} differs from the scan.");
        }
    }

    public static byte[] BytesOf(string key) => Encoding.ASCII.GetBytes(key);

    private void RequireEqual(string table, List<KeyValue> found, string context)
    {
        SortedDictionary<string, byte[]> expected = _tables[table];
        var left = new SortedDictionary<string, byte[]>(expected, StringComparer.Ordinal);
        foreach (KeyValue row in found)
        {
            string key = Encoding.ASCII.GetString(row.Key);
            Assert.True(left.Remove(key, out byte[]? value), $"{context}: {table}/{key} is there and should not be.");
            Assert.True(
                value.AsSpan().SequenceEqual(row.Value),
                $"{context}: {table}/{key} is '{Words(row.Value)}' and should be '{Words(value)}'.");
        }

        Assert.True(
            left.Count == 0, $"{context}: {table} lacks {left.Count} keys, the first is {left.Keys.FirstOrDefault()}.");
        Assert.Equal(expected.Keys, found.Select(row => Encoding.ASCII.GetString(row.Key)));
    }

    private static string Words(ReadOnlySpan<byte> value) =>
        $"{Encoding.ASCII.GetString(value[..Math.Min(value.Length, 24)])}… ({value.Length} bytes)";
}
