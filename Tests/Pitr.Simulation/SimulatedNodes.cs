using System.Diagnostics.CodeAnalysis;

namespace Pitr.Simulation;

/// <summary>The room of one simulated file system.</summary>
internal sealed class SimulatedVolume
{
    /// <summary>How many bytes it holds; lengths of files count, sparse or not.</summary>
    public long CapacityBytes { get; set; } = long.MaxValue;

    public long UsedBytes { get; set; }
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
/// <param name="Offset">Where; or the new length if <paramref name="Bytes"/> is null.</param>
/// <param name="Bytes">What was written; null for a change of length.</param>
internal readonly record struct ContentChange(long Offset, byte[]? Bytes);

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
        if (change.Bytes is { } bytes)
            content.Write(change.Offset, bytes);
        else
            content.SetLength(change.Offset);
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
