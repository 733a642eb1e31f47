namespace Pitr.Simulation;

/// <summary>Decides, from a seed, what of the unsynced survives power loss, and builds the disk that has it.</summary>
/// <remarks>
/// One seed in eight loses all that was not synced and one in eight loses nothing, because real crashes do either
/// often. Otherwise each file and folder draws its own way, from the seed and its inode, so that one file's choice does
/// not depend on how much was written to another.
/// </remarks>
internal sealed class PowerLoss(long seed)
{
    private const int SectorBytes = 512;

    private readonly Dictionary<SimulatedNode, SimulatedNode> _copies = [];
    private readonly Dictionary<SimulatedVolume, SimulatedVolume> _volumes = [];
    private readonly Way? _forAll = new SeededRandom(seed).Next(8) switch
    {
        0 => Way.Nothing,
        1 => Way.Everything,
        _ => null,
    };

    private enum Way
    {
        Nothing,
        Everything,
        Prefix,
        Some,
    }

    public SimulatedDisk Copy(SimulatedDisk disk, SimulatedFolder root, ulong lastInode)
    {
        var copy = (SimulatedFolder)CopyOf(root);
        foreach (SimulatedNode node in _copies.Values)
        {
            if (node is SimulatedFile { Links: > 0 } file)
                file.Volume.UsedBytes += file.Cached.LengthBytes;
        }
        return new SimulatedDisk(unchecked(disk.Seed + seed), lastInode, copy);
    }

    /// <summary>Applies any combination of sectors of the changes: what a failed sync leaves on the disk.</summary>
    public static void KeepSome(SparseContent content, List<ContentChange> changes, ref SeededRandom random)
    {
        Way way = WayOf(ref random);
        int kept = way switch
        {
            Way.Nothing => 0,
            Way.Prefix => random.Next(changes.Count + 1),
            _ => changes.Count,
        };
        int percent = way == Way.Some ? 1 + random.Next(99) : 100;
        for (int i = 0; i < kept; i++)
            KeepSome(content, changes[i], percent, isLast: way == Way.Prefix && i == kept - 1, ref random);
    }

    private static void KeepSome(
        SparseContent content, ContentChange change, int percent, bool isLast, ref SeededRandom random)
    {
        if (change.IsLength)
        {
            if (percent == 100 || random.Chance(percent))
                SimulatedFile.Apply(content, change);
            return;
        }
        ReadOnlySpan<byte> bytes = change.Bytes;
        if (percent == 100 && !isLast)
        {
            content.Write(change.Offset, bytes);
            return;
        }
        // The length may be there without the bytes, and the bytes of a prefix may end at any sector.
        if (random.Chance(50) && content.LengthBytes < change.Offset + bytes.Length)
            content.SetLength(change.Offset + bytes.Length);
        long cut = isLast ? change.Offset + random.Next(bytes.Length + 1) : long.MaxValue;
        for (int at = 0; at < bytes.Length;)
        {
            long offset = change.Offset + at;
            int part = (int)Math.Min(SectorBytes - offset % SectorBytes, bytes.Length - at);
            if (offset < cut && (percent == 100 || random.Chance(percent)))
                content.Write(offset, bytes.Slice(at, part));
            at += part;
        }
    }

    private static Way WayOf(ref SeededRandom random) => random.Next(6) switch
    {
        0 => Way.Nothing,
        1 => Way.Everything,
        2 or 3 => Way.Prefix,
        _ => Way.Some,
    };

    private SimulatedNode CopyOf(SimulatedNode node)
    {
        if (_copies.TryGetValue(node, out SimulatedNode? known))
            return known;
        switch (node)
        {
            case SimulatedFolder folder:
                var copy = new SimulatedFolder(folder.Inode, VolumeOf(folder));
                _copies.Add(folder, copy);
                foreach ((string name, SimulatedNode child) in NamesLeft(folder))
                {
                    SimulatedNode childCopy = CopyOf(child);
                    copy.Cached.Add(name, childCopy);
                    copy.Durable.Add(name, childCopy);
                    if (childCopy is SimulatedFile linked)
                        linked.Links++;
                }
                return copy;
            case SimulatedFile file:
                SparseContent content = file.Durable.Clone();
                if (file.Pending.Count > 0)
                {
                    SeededRandom random = RandomOf(file);
                    if (_forAll == Way.Everything)
                        file.Pending.ForEach(change => SimulatedFile.Apply(content, change));
                    else if (_forAll is null)
                        KeepSome(content, file.Pending, ref random);
                }
                var left =
                    new SimulatedFile(file.Inode, VolumeOf(file)) { Cached = content, Durable = content.Clone() };
                _copies.Add(file, left);
                return left;
            case SimulatedSymlink link:
                var same = new SimulatedSymlink(link.Inode, VolumeOf(link), link.Target);
                _copies.Add(link, same);
                return same;
            default:
                throw new InvalidOperationException($"No copy of {node.GetType().Name}.");
        }
    }

    private Dictionary<string, SimulatedNode> NamesLeft(SimulatedFolder folder)
    {
        if (folder.Pending.Count == 0 || _forAll == Way.Nothing)
            return folder.Durable;
        SeededRandom random = RandomOf(folder);
        Way way = _forAll ?? WayOf(ref random);
        int kept = way switch
        {
            Way.Nothing => 0,
            Way.Prefix => random.Next(folder.Pending.Count + 1),
            _ => folder.Pending.Count,
        };
        var names = new Dictionary<string, SimulatedNode>(folder.Durable, StringComparer.Ordinal);
        for (int i = 0; i < kept; i++)
        {
            if (way != Way.Some || random.Chance(50))
                SimulatedFolder.Apply(names, folder.Pending[i]);
        }
        return names;
    }

    private SeededRandom RandomOf(SimulatedNode node) => new(unchecked(seed * 1_000_003 + (long)node.Inode));

    private SimulatedVolume VolumeOf(SimulatedNode node)
    {
        if (!_volumes.TryGetValue(node.Volume, out SimulatedVolume? copy))
            _volumes.Add(node.Volume, copy = node.Volume.Empty());
        return copy;
    }
}

/// <summary>
/// Builds the disk that the next process finds: page cache and what is unsynced in it, no locks, no handles.
/// </summary>
internal sealed class ProcessDeath
{
    private readonly Dictionary<SimulatedNode, SimulatedNode> _copies = [];
    private readonly Dictionary<SimulatedVolume, SimulatedVolume> _volumes = [];

    public static SimulatedDisk Copy(SimulatedDisk disk, SimulatedFolder root, ulong lastInode)
    {
        var death = new ProcessDeath();
        var copy = (SimulatedFolder)death.CopyOf(root);
        foreach (SimulatedNode node in death._copies.Values)
        {
            if (node is SimulatedFile { Links: > 0 } file)
                file.Volume.UsedBytes += file.Cached.LengthBytes;
        }
        return new SimulatedDisk(disk.Seed, lastInode, copy);
    }

    private SimulatedNode CopyOf(SimulatedNode node)
    {
        if (_copies.TryGetValue(node, out SimulatedNode? known))
            return known;
        switch (node)
        {
            case SimulatedFolder folder:
                var copy = new SimulatedFolder(folder.Inode, VolumeOf(folder));
                _copies.Add(folder, copy);
                foreach ((string name, SimulatedNode child) in folder.Cached)
                    copy.Cached.Add(name, CopyOf(child));
                foreach ((string name, SimulatedNode child) in folder.Durable)
                    copy.Durable.Add(name, CopyOf(child));
                foreach (NameChange change in folder.Pending)
                    copy.Pending.Add(change with { Node = change.Node is null ? null : CopyOf(change.Node) });
                return copy;
            case SimulatedFile file:
                var left = new SimulatedFile(file.Inode, VolumeOf(file))
                {
                    Cached = file.Cached.Clone(),
                    Durable = file.Durable.Clone(),
                    Pending = [.. file.Pending],
                    Links = file.Links,
                };
                _copies.Add(file, left);
                return left;
            case SimulatedSymlink link:
                var same = new SimulatedSymlink(link.Inode, VolumeOf(link), link.Target);
                _copies.Add(link, same);
                return same;
            default:
                throw new InvalidOperationException($"No copy of {node.GetType().Name}.");
        }
    }

    private SimulatedVolume VolumeOf(SimulatedNode node)
    {
        if (!_volumes.TryGetValue(node.Volume, out SimulatedVolume? copy))
            _volumes.Add(node.Volume, copy = node.Volume.Empty());
        return copy;
    }
}
