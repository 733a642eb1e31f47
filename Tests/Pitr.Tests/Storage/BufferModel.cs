using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// What a write buffer should hold: all versions of all keys, in ordered collections of the base class library.
/// </summary>
internal sealed class BufferModel
{
    private readonly SortedDictionary<byte[], List<(Lsn Lsn, byte[]? Value)>> _keys = new(ByteOrder.Instance);

    public int KeyCount => _keys.Count;

    public IEnumerable<byte[]> Keys => _keys.Keys;

    public void Write(byte[] key, byte[]? value, Lsn lsn)
    {
        if (!_keys.TryGetValue(key, out List<(Lsn, byte[]?)>? versions))
            _keys.Add(key, versions = []);
        versions.Add((lsn, value));
    }

    public (BufferHit Hit, byte[] Value, Lsn Lsn) Get(byte[] key, Lsn at) =>
        _keys.TryGetValue(key, out List<(Lsn, byte[]?)>? versions)
            ? NewestOf(versions, at)
            : (BufferHit.None, [], Lsn.Zero);

    /// <summary>All keys with a version at or below the LSN, in order.</summary>
    public List<(byte[] Key, BufferHit Hit, byte[] Value, Lsn Lsn)> Scan(Lsn at)
    {
        var rows = new List<(byte[], BufferHit, byte[], Lsn)>();
        foreach ((byte[] key, List<(Lsn, byte[]?)> versions) in _keys)
        {
            (BufferHit hit, byte[] value, Lsn lsn) = NewestOf(versions, at);
            if (hit != BufferHit.None)
                rows.Add((key, hit, value, lsn));
        }
        return rows;
    }

    private static (BufferHit Hit, byte[] Value, Lsn Lsn) NewestOf(List<(Lsn Lsn, byte[]? Value)> versions, Lsn at)
    {
        for (int version = versions.Count - 1; version >= 0; version--)
        {
            (Lsn lsn, byte[]? value) = versions[version];
            if (lsn <= at)
                return (value is null ? BufferHit.Delete : BufferHit.Put, value ?? [], lsn);
        }
        return (BufferHit.None, [], Lsn.Zero);
    }
}

/// <summary>The order of keys: bytewise, unsigned, the shorter first.</summary>
internal sealed class ByteOrder : IComparer<byte[]>
{
    public static readonly ByteOrder Instance = new();

    public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
}
