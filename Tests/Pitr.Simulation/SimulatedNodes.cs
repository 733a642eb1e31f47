using System.Diagnostics.CodeAnalysis;

namespace Pitr.Simulation;

/// <summary>The room of one simulated file system.</summary>
internal sealed class SimulatedVolume
{
    /// <summary>How many bytes it holds; lengths of files count, sparse or not.</summary>
    public long CapacityBytes { get; set; } = long.MaxValue;

    public long UsedBytes { get; set; }

    /// <summary>Tells it from others of the disk.</summary>
    public ulong Device { get; init; }

    /// <summary>The same one of a copy of the disk.</summary>
    public SimulatedVolume Empty() => new() { CapacityBytes = CapacityBytes, Device = Device };
}

/// <summary>An inode: what a name stands for.</summary>
internal abstract class SimulatedNode(ulong inode, SimulatedVolume volume)
{
    public ulong Inode { get; } = inode;
    public SimulatedVolume Volume { get; } = volume;
}

/// <summary>A symbolic link; its target is durable together with its name.</summary>
internal sealed class SimulatedSymlink(ulong inode, SimulatedVolume volume, string target)
    : SimulatedNode(inode, volume)
{
    public string Target { get; } = target;
}

/// <summary>A change of content that is in the page cache and not known to be on the disk.</summary>
internal readonly struct ContentChange
{
    private static byte[] s_zeroes = new byte[64 << 10];

    private readonly byte[]? _bytes; // zeroes are shared, and may be more
    private readonly int _lengthBytes;

    private ContentChange(long offset, byte[]? bytes, int lengthBytes) =>
        (Offset, _bytes, _lengthBytes) = (offset, bytes, lengthBytes);

    /// <summary>Where it begins; or the new length.</summary>
    public long Offset { get; }

    /// <summary>True for a change of length, false for a write.</summary>
    public bool IsLength => _bytes is null;

    /// <summary>What was written.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _lengthBytes);

    public static ContentChange OfLength(long lengthBytes) => new(lengthBytes, null, 0);

    /// <summary>A write. Most of what is written to a WAL ahead of its use is zeroes, of which one array is enough.</summary>
    public static ContentChange Of(long offset, ReadOnlySpan<byte> bytes)
    {
        if (bytes.ContainsAnyExcept((byte)0))
            return new ContentChange(offset, bytes.ToArray(), bytes.Length);
        byte[] zeroes = s_zeroes;
        if (zeroes.Length < bytes.Length)
            s_zeroes = zeroes = new byte[bytes.Length];
        return new ContentChange(offset, zeroes, bytes.Length);
    }
}

/// <summary>A file: what reads see, what the disk has, and what lies between.</summary>
internal sealed class SimulatedFile(ulong inode, SimulatedVolume volume) : SimulatedNode(inode, volume)
{
    public SparseContent Cached { get; set; } = new();
    public SparseContent Durable { get; set; } = new();

    /// <summary>In the order in which they were made.</summary>
    public List<ContentChange> Pending { get; set; } = [];

    public int Links { get; set; }
    public int Handles { get; set; }
    public bool IsLocked { get; set; }

    public static void Apply(SparseContent content, ContentChange change)
    {
        if (change.IsLength)
            content.SetLength(change.Offset);
        else
            content.Write(change.Offset, change.Bytes);
    }
}

/// <summary>Names that change together: one, or the two of a rename inside a folder.</summary>
internal readonly record struct NameChange(string Name, SimulatedNode? Node, string? RemovedName);

/// <summary>A folder: the names that everybody sees, those that are on the disk, and what lies between.</summary>
internal sealed class SimulatedFolder(ulong inode, SimulatedVolume volume) : SimulatedNode(inode, volume)
{
    public Dictionary<string, SimulatedNode> Cached { get; } = new(StringComparer.Ordinal);
    public Dictionary<string, SimulatedNode> Durable { get; } = new(StringComparer.Ordinal);
    public List<NameChange> Pending { get; } = [];

    public bool TryGet(ReadOnlySpan<char> name, [NotNullWhen(true)] out SimulatedNode? node) =>
        Cached.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(name, out node);

    public void Change(NameChange change)
    {
        Apply(Cached, change);
        Pending.Add(change);
    }

    public void Sync()
    {
        foreach (NameChange change in Pending)
            Apply(Durable, change);
        Pending.Clear();
    }

    public static void Apply(Dictionary<string, SimulatedNode> names, NameChange change)
    {
        if (change.RemovedName is { } removed)
            names.Remove(removed);
        if (change.Node is { } node)
            names[change.Name] = node;
        else
            names.Remove(change.Name);
    }
}
