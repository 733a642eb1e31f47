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

/// <summary>A stretch that is there by its name: read when its turn comes, if at all.</summary>
/// <param name="Timeline">Whose.</param>
/// <param name="Number">Its segment.</param>
/// <param name="IsPart">Of a segment that is not whole there.</param>
/// <param name="Read">Its bytes.</param>
/// <param name="Index">Which keys it touches; null if nothing says so.</param>
/// <param name="Range">Where it begins and ends, without reading it; null if that is not known.</param>
internal sealed record PieceSource(
    TimelineId Timeline, ulong Number, bool IsPart, Func<StreamPiece> Read, Func<KeyIndex?> Index,
    Func<(Lsn From, Lsn To)?> Range)
{
    /// <summary>The stream's bytes in a whole segment, without reading it; null if that is not known.</summary>
    public Func<long?> StreamBytes { get; init; } = () => Range() is { } range ? range.To - range.From : null;
}

/// <summary>
/// Where <c>pitr wal dump</c> and <c>pitr wal find</c> take their bytes from: one segment, an archived object, a folder
/// of segments, a database or a store.
/// </summary>
/// <param name="Pieces">By timeline and LSN; they may overlap, and have holes.</param>
/// <param name="Database">The database's folder, if it lies around them; null otherwise.</param>
/// <param name="OnlyFirst">True if one was asked for: the others are there for a record that it does not hold to its
/// end.</param>
internal sealed record SegmentPieces(IReadOnlyList<PieceSource> Pieces, string? Database, bool OnlyFirst)
{
    private const string WalFolder = "wal";

    /// <summary>What there is at a path or address.</summary>
    public static SegmentPieces At(string path, PitrOptions stores)
    {
        if (File.Exists(path))
            return OfFile(path);
        if (File.Exists(Path.Combine(path, Storage.ControlFileStore.FileName)))
            path = Path.Combine(path, WalFolder);
        if (Directory.Exists(path) && RawSegments(path) is { Length: > 0 } segments)
            return new SegmentPieces([.. segments.Select(Raw)], DatabaseAround(path), OnlyFirst: false);
        if (!Directory.Exists(path) && !StoreAddress.HasScheme(path))
        {
            throw new VerbFailedException(
                $"There is no segment or store '{path}'.",
                "Name a segment of a database's wal/, an archived one, or a store.");
        }
        return new SegmentPieces(OfStore(OfflineStores.Open(path, stores)), Database: null, OnlyFirst: false);
    }

    /// <summary>
    /// A database's own WAL and that of stores as one: each segment once, from the folder if it is there, by the index
    /// of whichever store has one; where a copy is damaged, from the next place that has it.
    /// </summary>
    public static SegmentPieces Of(string? database, IEnumerable<string> stores, PitrOptions options)
    {
        var places = new List<IReadOnlyList<PieceSource>>();
        if (database is not null)
            places.Add([.. RawSegments(Path.Combine(database, WalFolder)).Select(Raw)]);
        places.AddRange(stores.Select(store => OfStore(OfflineStores.Open(store, options))));
        PieceSource[] pieces =
        [
            .. places.SelectMany(place => place)
                .GroupBy(piece => (piece.Timeline, piece.Number))
                .OrderBy(segment => segment.Key.Timeline.Value).ThenBy(segment => segment.Key.Number)
                .SelectMany(segment => Merge([.. segment])),
        ];
        return new SegmentPieces(pieces, database, OnlyFirst: false);
    }

    private static IEnumerable<PieceSource> Merge(IReadOnlyList<PieceSource> copies)
    {
        PieceSource[] wholes = [.. copies.Where(copy => !copy.IsPart)];
        return wholes.Length == 0
            ? copies // parts of several stores overlap, and agree
            : [wholes[0] with
            {
                Read = () => FirstReadable(wholes),
                Index = () => wholes.Select(copy => copy.Index()).FirstOrDefault(index => index is not null),
            }];
    }

    private static StreamPiece FirstReadable(PieceSource[] copies)
    {
        for (int n = 0; ; n++)
        {
            try
            {
                StreamPiece piece = copies[n].Read();
                if (n + 1 == copies.Length || SegmentRecords.IsSound(piece))
                    return piece;
            }
            catch (Exception error) when (n + 1 < copies.Length
                && error is DamageException or NotFoundException or FileNotFoundException)
            {
                // The next place has the same segment.
            }
        }
    }

    private static SegmentPieces OfFile(string path)
    {
        string name = Path.GetFileName(path);
        string folder = Path.GetDirectoryName(path)!;
        if (TarOrNone(path) is { } tar)
            return new SegmentPieces(OfStore(tar), Database: null, OnlyFirst: false);
        bool isRaw = name.Length == SegmentName.Length;
        IEnumerable<string> siblings = Directory.EnumerateFiles(folder, $"{name[..8]}*")
            .Where(other => (Path.GetFileName(other).Length == SegmentName.Length) == isRaw
                && string.CompareOrdinal(Path.GetFileName(other), name) >= 0)
            .Order(StringComparer.Ordinal);
        PieceSource[] pieces = [.. siblings.Select(other => isRaw ? Raw(other) : OfObject(folder, other))];
        return new SegmentPieces(pieces, isRaw ? DatabaseAround(folder) : null, OnlyFirst: true);
    }

    /// <summary>A file whose name is no segment's can only be the tar of a set.</summary>
    private static IArchiveStore? TarOrNone(string path)
    {
        string name = Path.GetFileName(path);
        if (name.Length >= SegmentName.Length && SegmentName.TryParse(name.AsSpan(0, SegmentName.Length), out _))
            return null;
        try
        {
            return OfflineStores.Open(path, StoreKinds.Options);
        }
        catch (DamageException)
        {
            throw new VerbFailedException(
                $"'{path}' does not have the name of a segment, and is no tar of a backup set.",
                "A segment's name begins with 24 hexadecimal digits.");
        }
    }

    /// <summary>Whole segments and, of those that are not whole there, the parts (H36).</summary>
    private static PieceSource[] OfStore(IArchiveStore store)
    {
        ArchiveCatalog catalog = ArchiveCatalog.Load(store);
        HashSet<string> leftOver = [.. catalog.LeftOverParts.Select(part => part.Name)];
        return
        [
            .. store.List(ObjectName.WalPrefix)
                .Where(name => !leftOver.Contains(name))
                .Order(StringComparer.Ordinal)
                .Select(name => OfObject(store, name)).OfType<PieceSource>(),
        ];
    }

    private static PieceSource? OfObject(IArchiveStore store, string name)
    {
        if (ObjectName.TryParsePart(name, out TimelineId timeline, out ulong number, out Lsn from, out Lsn to))
        {
            var part = new SegmentSource(timeline, number, from, to, [new ArchivedPart(name, timeline, number, from, to)]);
            return new PieceSource(
                timeline, number, IsPart: true, () => ArchiveReader.Follow(store, part, now => ReadStretch(store, now)),
                () => null, () => (from, to));
        }
        return ObjectName.TryParseSegment(name, out timeline, out number)
            ? new PieceSource(
                timeline, number, IsPart: false, () => ReadArchived(store.Name, name, store.Get(name)),
                () => KeyIndex.Read(store, timeline, number), () => RangeOf(store, name))
            : null;
    }

    private static (Lsn From, Lsn To)? RangeOf(IArchiveStore store, string name)
    {
        byte[] header = new byte[ArchivedSegment.HeaderBytes];
        using Stream content = store.OpenRead(name);
        int read = content.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
        ArchivedSegment segment = ArchivedSegment.DecodeHeader(store.Name, name, header.AsSpan(0, read));
        return (segment.From, segment.To);
    }

    private static PieceSource OfObject(string folder, string path)
    {
        string name = ObjectName.WalPrefix + Path.GetFileName(path);
        _ = SegmentName.TryParse(Path.GetFileName(path).AsSpan(0, SegmentName.Length), out SegmentName segment);
        return new PieceSource(
            segment.Timeline, segment.Number, !ObjectName.TryParseSegment(name, out _, out _),
            () => ReadArchived(Path.GetDirectoryName(folder)!, name, File.ReadAllBytes(path)), () => null, () => null);
    }

    private static string[] RawSegments(string folder) => !Directory.Exists(folder)
        ? []
        :
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

    private static PieceSource Raw(string path)
    {
        _ = SegmentName.TryParse(Path.GetFileName(path), out SegmentName segment);
        return new PieceSource(
            segment.Timeline, segment.Number, IsPart: false, () => ReadRaw(path), () => null, () => null)
        {
            StreamBytes = () => new FileInfo(path).Length - SegmentHeader.Bytes,
        };
    }

    private static StreamPiece ReadRaw(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        SegmentHeader header = SegmentHeader.Read(bytes, path);
        return new StreamPiece(header.Name.Timeline, header.Lineage, header.Start, bytes.AsMemory(SegmentHeader.Bytes));
    }

    /// <summary>What a source has between its ends, out of as many objects as it lies in.</summary>
    private static StreamPiece ReadStretch(IArchiveStore store, SegmentSource source)
    {
        byte[] stream = new byte[source.To - source.From];
        Lineage lineage = default;
        Lsn reached = source.From;
        foreach (string name in source.Parts?.Select(static part => part.Name)
            ?? [ObjectName.Segment(source.Timeline, source.Number)])
        {
            StreamPiece piece = ReadArchived(store.Name, name, store.Get(name));
            Lsn end = Lsn.Min(piece.To, source.To);
            if (piece.From > reached || end < reached)
                throw ArchiveErrors.Damaged(store.Name, name, $"it holds {piece.From} to {piece.To}");
            piece.Bytes[(int)(reached - piece.From)..(int)(end - piece.From)].CopyTo(stream.AsMemory((int)(reached - source.From)));
            (lineage, reached) = (piece.Lineage, end);
        }
        return new StreamPiece(source.Timeline, lineage, source.From, stream.AsMemory(0, (int)(reached - source.From)));
    }

    private static StreamPiece ReadArchived(string store, string name, ReadOnlyMemory<byte> content)
    {
        ArchivedSegment segment = ArchivedSegment.Decode(store, name, content.Span);
        return new StreamPiece(segment.Identity.Timeline, segment.Identity.Lineage, segment.From, segment.Stream);
    }
}
