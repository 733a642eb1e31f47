using System.Buffers.Binary;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>
/// The records in a segment, an archived object or a whole store, as far as they are good: for looking, not for recovery. What
/// does not pass is stepped over in multiples of 8 bytes, so a segment that begins within a record shows what follows it.
/// </summary>
internal static class SegmentRecords
{
    /// <summary>The records, in the order of names.</summary>
    public static IEnumerable<RecordDescription> Read(string path, CancellationToken cancellationToken)
    {
        if (Directory.Exists(path) || path.Contains("://", StringComparison.Ordinal))
        {
            IArchiveStore store = OfflineStores.Open(path);
            return store.List("")
                .Where(IsSegment)
                .OrderBy(name => name, StringComparer.Ordinal)
                .SelectMany(name => OfArchived(store.Name, name, store.Get(name), cancellationToken));
        }
        if (!File.Exists(path))
            throw new VerbFailedException($"There is no segment or store '{path}'.", "Name a file of wal/ or of a store, or a store.");
        byte[] bytes = File.ReadAllBytes(path);
        string file = Path.GetFileName(path);
        if (!SegmentName.TryParse(file.AsSpan(0, Math.Min(24, file.Length)), out _))
            throw new VerbFailedException($"'{path}' does not have the name of a segment.", "A segment's name begins with 24 hexadecimal digits.");
        if (file.Length > 24)
            return OfArchived(Path.GetDirectoryName(path)!, file, bytes, cancellationToken);
        SegmentHeader header = SegmentHeader.Read(bytes, path);
        return OfStream(header.Start, header.Lineage, bytes.AsMemory(SegmentHeader.Bytes), cancellationToken);
    }

    /// <summary>A store keeps its segments in a folder of its own; their names begin with 24 digits.</summary>
    private static bool IsSegment(string name)
    {
        ReadOnlySpan<char> last = name.AsSpan(name.LastIndexOf('/') + 1);
        return last.Length >= 24 && SegmentName.TryParse(last[..24], out _) && !name.StartsWith("backups/", StringComparison.Ordinal);
    }

    private static IEnumerable<RecordDescription> OfArchived(
        string store, string name, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        ArchivedSegment segment = ArchivedSegment.Decode(store, name, content.Span);
        return OfStream(segment.From, segment.Identity.Lineage, segment.Stream, cancellationToken);
    }

    private static IEnumerable<RecordDescription> OfStream(
        Lsn start, Lineage lineage, ReadOnlyMemory<byte> stream, CancellationToken cancellationToken)
    {
        int at = 0;
        while (at + RecordCodec.HeaderBytes <= stream.Length)
        {
            if (TryRead(start, lineage, stream.Span, at, out RecordDescription? record, out int length))
            {
                cancellationToken.ThrowIfCancellationRequested();
                yield return record!;
            }
            at += length;
        }
    }

    private static bool TryRead(
        Lsn start, Lineage lineage, ReadOnlySpan<byte> stream, int at, out RecordDescription? record, out int length)
    {
        record = null;
        length = 8;
        uint claimed = BinaryPrimitives.ReadUInt32LittleEndian(stream[at..]);
        if (!RecordCodec.IsLength(claimed) || at + (long)claimed > stream.Length)
            return false;
        var bytes = new WalRecord(stream.Slice(at, (int)claimed));
        if (bytes.StartLsn != start + at || !RecordCodec.CrcMatches(bytes.Bytes, lineage))
            return false;
        record = WalDump.DescribeWithOperations(bytes);
        length = (int)claimed;
        return true;
    }
}
