using System.IO.Hashing;
using System.Runtime.InteropServices;

namespace Pitr.Simulation;

/// <summary>One number for a tree of folders and files: what is seen of it and what is on the disk.</summary>
internal sealed class DiskFingerprint
{
    private readonly Dictionary<SimulatedNode, ulong> _known = [];

    /// <summary>
    /// From now on the files that lie in a folder count by their lengths: what they hold is not the same in each process
    /// (the framework writes the number of the process into the headers of a pax tar).
    /// </summary>
    public void CountByLength(SimulatedFolder folder)
    {
        foreach (SimulatedFile file in folder.Cached.Values.Concat(folder.Durable.Values).OfType<SimulatedFile>())
            _known[file] = SparseContent.Mix((ulong)file.Cached.LengthBytes, (ulong)file.Durable.LengthBytes);
    }

    public ulong Of(SimulatedNode node)
    {
        if (_known.TryGetValue(node, out ulong known))
            return known;
        ulong number = node switch
        {
            SimulatedFolder folder => SparseContent.Mix(OfNames(folder.Cached), OfNames(folder.Durable)),
            SimulatedFile file => SparseContent.Mix(file.Cached.Fingerprint(), file.Durable.Fingerprint()),
            SimulatedSymlink link => OfText(link.Target),
            _ => throw new InvalidOperationException($"No fingerprint of {node.GetType().Name}."),
        };
        _known.Add(node, number);
        return number;
    }

    /// <summary>In any order, since a folder has none.</summary>
    private ulong OfNames(Dictionary<string, SimulatedNode> names)
    {
        ulong sum = (ulong)names.Count;
        foreach ((string name, SimulatedNode node) in names)
            sum += SparseContent.Mix(OfText(name), Of(node));
        return sum;
    }

    private static ulong OfText(string text) => XxHash3.HashToUInt64(MemoryMarshal.AsBytes(text.AsSpan()));
}
