using System.Globalization;
using System.Text;

namespace Pitr.Simulation;

/// <summary>One operation on a disk.</summary>
/// <param name="Op">What.</param>
/// <param name="Path">Of what; for names, the old one or the folder.</param>
/// <param name="Other">The second path of a rename, link or symlink.</param>
/// <param name="Offset">Of reads, writes and write-backs; the new length of SetLength.</param>
/// <param name="LengthBytes">Of reads, writes and write-backs.</param>
internal readonly record struct LoggedOperation(FileOp Op, string Path, string? Other, long Offset, long LengthBytes);

/// <summary>The operations of a disk in order, as text for golden files; off until it is started.</summary>
internal sealed class OperationLog
{
    private readonly List<LoggedOperation> _operations = [];

    /// <summary>True if operations are noted.</summary>
    public bool IsOn { get; private set; }

    /// <summary>True if reads, opens, lists and other questions are noted too.</summary>
    public bool WithReads { get; private set; }

    public IReadOnlyList<LoggedOperation> Operations => _operations;

    /// <summary>Begins anew.</summary>
    public void Start(bool withReads = false)
    {
        _operations.Clear();
        (IsOn, WithReads) = (true, withReads);
    }

    public void Stop() => IsOn = false;

    internal void Add(in LoggedOperation operation)
    {
        if (IsOn && (WithReads || SimulatedDisk.ChangesTheDisk(operation.Op) || operation.Op == FileOp.StartWriteback))
            _operations.Add(operation);
    }

    /// <summary>One line an operation; paths without <paramref name="root"/>, where they begin with it.</summary>
    public string Text(string root = "/")
    {
        var text = new StringBuilder();
        string prefix = root.EndsWith('/') ? root : root + "/";
        foreach (LoggedOperation operation in _operations)
        {
            string path = Short(operation.Path, prefix);
            string line = operation.Op switch
            {
                FileOp.Create => $"create {path}",
                FileOp.Open => $"open {path}",
                FileOp.Read => $"read {path} {operation.Offset}+{operation.LengthBytes}",
                FileOp.Write => $"write {path} {operation.Offset}+{operation.LengthBytes}",
                FileOp.SyncData => $"sync data {path}",
                FileOp.StartWriteback => $"start writeback {path} {operation.Offset}+{operation.LengthBytes}",
                FileOp.SetLength => $"set length {path} {operation.Offset}",
                FileOp.Rename => $"rename {path} -> {Short(operation.Other!, prefix)}",
                FileOp.Link => $"link {path} -> {Short(operation.Other!, prefix)}",
                FileOp.Symlink => $"symlink {path} -> {operation.Other}",
                FileOp.ReadLink => $"read link {path}",
                FileOp.Delete => $"delete {path}",
                FileOp.DeleteFolder => $"delete folder {path}",
                FileOp.CreateFolder => $"create folder {path}",
                FileOp.SyncFolder => $"sync folder {path}",
                FileOp.Stat => $"stat {path}",
                FileOp.List => $"list {path}",
                FileOp.FreeBytes => $"free bytes {path}",
                FileOp.Lock => $"lock {path}",
                _ => throw new InvalidOperationException($"No words for {operation.Op}."),
            };
            text.Append(CultureInfo.InvariantCulture, $"{line}\n");
        }
        return text.ToString();
    }

    private static string Short(string path, string prefix) =>
        path.StartsWith(prefix, StringComparison.Ordinal) ? path[prefix.Length..]
        : path + "/" == prefix ? "." : path;
}
