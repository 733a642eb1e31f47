using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>A stretch of the record stream.</summary>
/// <param name="Timeline">Whose.</param>
/// <param name="Lineage">What its records' checksums hold.</param>
/// <param name="From">The LSN of the first byte.</param>
/// <param name="Bytes">The stream, without a segment's header.</param>
internal sealed record StreamPiece(TimelineId Timeline, Lineage Lineage, Lsn From, ReadOnlyMemory<byte> Bytes)
{
    /// <summary>Just past the last byte.</summary>
    public Lsn To => From + Bytes.Length;
}

/// <summary>
/// Where <c>pitr wal dump</c> takes its bytes from: one segment, an archived object, a folder of segments, a database
/// or a store.
/// </summary>
/// <param name="Pieces">By timeline and LSN, each read when its turn comes; they may overlap, and have holes.</param>
/// <param name="Database">The database's folder, if it lies around them; null otherwise.</param>
/// <param name="OnlyFirst">True if one was asked for: the others are there for a record that it does not hold to its
/// end.</param>
internal sealed record SegmentPieces(IEnumerable<StreamPiece> Pieces, string? Database, bool OnlyFirst)
{
    private const string WalFolder = "wal";

    /// <summary>What there is at a path or address.</summary>
    public static SegmentPieces At(string path)
    {
        if (File.Exists(path))
            return OfFile(path);
        if (File.Exists(Path.Combine(path, Storage.ControlFileStore.FileName)))
            path = Path.Combine(path, WalFolder);
        if (Directory.Exists(path) && RawSegments(path) is { Length: > 0 } segments)
            return new SegmentPieces(segments.Select(ReadRaw), DatabaseAround(path), OnlyFirst: false);
        if (!Directory.Exists(path) && !StoreAddress.HasScheme(path))
        {
            throw new VerbFailedException(
                $"There is no segment or store '{path}'.",
                "Name a segment of a database's wal/, an archived one, or a store.");
        }
        return new SegmentPieces(OfStore(OfflineStores.Open(path)), Database: null, OnlyFirst: false);
    }

    private static SegmentPieces OfFile(string path)
    {
        string name = Path.GetFileName(path);
        string folder = Path.GetDirectoryName(path)!;
        if (name.Length < SegmentName.Length || !SegmentName.TryParse(name.AsSpan(0, SegmentName.Length), out _))
        {
            throw new VerbFailedException(
                $"'{path}' does not have the name of a segment.",
                "A segment's name begins with 24 hexadecimal digits.");
        }
        bool isRaw = name.Length == SegmentName.Length;
        IEnumerable<string> siblings = Directory.EnumerateFiles(folder, $"{name[..8]}*")
            .Where(other => (Path.GetFileName(other).Length == SegmentName.Length) == isRaw
                && string.CompareOrdinal(Path.GetFileName(other), name) >= 0)
            .Order(StringComparer.Ordinal);
        IEnumerable<StreamPiece> pieces = siblings.Select(other =>
            isRaw
            ? ReadRaw(other)
            : ReadArchived(Path.GetDirectoryName(folder)!, ObjectName.WalPrefix + Path.GetFileName(other),
                File.ReadAllBytes(other)));
        return new SegmentPieces(pieces, isRaw ? DatabaseAround(folder) : null, OnlyFirst: true);
    }

    /// <summary>Whole segments and, of those that are not whole there, the parts (H36).</summary>
    private static IEnumerable<StreamPiece> OfStore(IArchiveStore store)
    {
        ArchiveCatalog catalog = ArchiveCatalog.Load(store);
        HashSet<string> leftOver = [.. catalog.LeftOverParts.Select(part => part.Name)];
        return store.List(ObjectName.WalPrefix)
            .Where(name => ObjectName.TryParseSegment(name, out _, out _)
                || (ObjectName.TryParsePart(name, out _, out _, out _, out _) && !leftOver.Contains(name)))
            .Order(StringComparer.Ordinal)
            .Select(name => ReadArchived(store.Name, name, store.Get(name)));
    }

    private static string[] RawSegments(string folder) =>
        [
            .. Directory.EnumerateFiles(folder)
                .Where(path => Path.GetFileName(path).Length == SegmentName.Length
                    && SegmentName.TryParse(Path.GetFileName(path), out _))
                .Order(StringComparer.Ordinal),
        ];

    private static string? DatabaseAround(string walFolder) =>
        Path.GetDirectoryName(walFolder) is { } folder
            && File.Exists(Path.Combine(folder, Storage.ControlFileStore.FileName))
            ? folder
            : null;

    private static StreamPiece ReadRaw(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        SegmentHeader header = SegmentHeader.Read(bytes, path);
        return new StreamPiece(header.Name.Timeline, header.Lineage, header.Start, bytes.AsMemory(SegmentHeader.Bytes));
    }

    private static StreamPiece ReadArchived(string store, string name, ReadOnlyMemory<byte> content)
    {
        ArchivedSegment segment = ArchivedSegment.Decode(store, name, content.Span);
        return new StreamPiece(segment.Identity.Timeline, segment.Identity.Lineage, segment.From, segment.Stream);
    }
}
