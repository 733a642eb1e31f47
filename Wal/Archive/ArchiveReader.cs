namespace Pitr.Wal;

/// <summary>Bytes of the WAL stream that came from a store.</summary>
/// <param name="Source">What they were made of.</param>
/// <param name="Identity">Checked to be the path's.</param>
/// <param name="From">The LSN of the first byte: at or below what is needed.</param>
/// <param name="Stream">The stream's bytes from there, without a segment's header.</param>
/// <param name="Times">What is known of the times in it.</param>
internal sealed record FetchedSegment(
    SegmentSource Source, SegmentIdentity Identity, Lsn From, ReadOnlyMemory<byte> Stream, SegmentTimes Times)
{
    public Lsn To => From + Stream.Length;
}

/// <summary>
/// Fetches WAL from a store, each object wholly checked and known to be of the path that is followed (I10).
/// </summary>
/// <remarks>
/// PARTS    are joined, and go when their segment is whole, while a running database ships (H36): one that is not there any
///          more is looked for in what stands for it, which has the same bytes.
/// FAILURE  DamageException ArchiveDamaged if an object is not what was written, or is of another database or lineage
///          than its name promises on this path; StorageFailedException StoreFailed if the store does not give it;
///          NotFoundException ArchiveObjectUnknown if it is gone since it was listed.
/// </remarks>
internal sealed class ArchiveReader(IArchiveStore store, TimelineHistory path)
{
    /// <summary>The bytes of one source, and more where that comes with them.</summary>
    public FetchedSegment Fetch(SegmentSource source) => Follow(store, source, FetchAsNamed);

    private FetchedSegment FetchAsNamed(SegmentSource source)
    {
        if (source.IsWhole)
        {
            ArchivedSegment whole = Get(ObjectName.Segment(source.Timeline, source.Number), source);
            return new FetchedSegment(source, whole.Identity, whole.From, whole.Stream, whole.Times);
        }

        IReadOnlyList<ArchivedPart> parts = source.Parts!;
        byte[] stream = new byte[parts[^1].To - parts[0].From];
        SegmentTimes times = SegmentTimes.Empty;
        SegmentIdentity? identity = null;
        foreach (ArchivedPart part in parts)
        {
            ArchivedSegment content = Get(part.Name, source);
            content.Stream.CopyTo(stream.AsMemory((int)(part.From - parts[0].From)));
            times = SegmentTimes.Join(times, content.Times);
            identity = content.Identity;
        }
        return new FetchedSegment(source, identity!, parts[0].From, stream, times);
    }

    /// <summary>Only the times of a whole segment: its object's first bytes are read.</summary>
    public SegmentTimes FetchTimes(SegmentSource source) => Follow(store, source, FetchTimesAsNamed);

    private SegmentTimes FetchTimesAsNamed(SegmentSource source)
    {
        if (!source.IsWhole)
            return FetchAsNamed(source).Times;
        string name = ObjectName.Segment(source.Timeline, source.Number);
        byte[] header = new byte[ArchivedSegment.HeaderBytes];
        using Stream content = store.OpenRead(name);
        int read = content.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
        ArchivedSegment segment = ArchivedSegment.DecodeHeader(store.Name, name, header.AsSpan(0, read));
        RequireOnPath(store.Name, path, name, segment);
        return segment.Times;
    }

    /// <summary>
    /// The sources as pieces that a <see cref="StreamWalBytes"/> reads one after the other, each fetched when its turn
    /// comes; all of one timeline.
    /// </summary>
    public StreamWalBytes Bytes(IEnumerable<SegmentSource> sources) => new([.. sources.Select(source => new WalPiece(
        source.From, source.To, $"{store.Name}/{ObjectName.Segment(source.Timeline, source.Number)}", SkipBytes: 0,
        () => Open(source)))]);

    /// <summary>Reads a source, or what stands for its parts by now.</summary>
    /// <exception cref="NotFoundException">ArchiveObjectUnknown: it is gone, and nothing stands for all of it.</exception>
    public static T Follow<T>(IArchiveStore store, SegmentSource source, Func<SegmentSource, T> read)
    {
        while (true)
        {
            try
            {
                return read(source);
            }
            catch (NotFoundException) when (!source.IsWhole)
            {
                SegmentSource? now = ArchiveCatalog.Load(store)
                    .Source(source.Timeline, source.Number, source.From, source.To);
                if (now is null || now.To < source.To || now.Parts?.SequenceEqual(source.Parts!) == true)
                    throw;
                source = now;
            }
        }
    }

    private MemoryStream Open(SegmentSource source)
    {
        FetchedSegment fetched = Fetch(source);
        if (fetched.From > source.From || fetched.To < source.To)
        {
            throw ArchiveErrors.Damaged(store.Name, ObjectName.Segment(source.Timeline, source.Number),
                $"it holds {fetched.From} to {fetched.To} instead of {source.From} to {source.To}");
        }
        return new MemoryStream(
            fetched.Stream[(int)(source.From - fetched.From)..(int)(source.To - fetched.From)].ToArray());
    }

    private ArchivedSegment Get(string name, SegmentSource source)
    {
        ArchivedSegment segment = ArchivedSegment.Decode(store.Name, name, store.Get(name).Span);
        RequireOnPath(store.Name, path, name, segment);
        if (segment.Identity.Number != source.Number)
            throw ArchiveErrors.Damaged(store.Name, name, $"it is of segment {segment.Identity.Number}");
        return segment;
    }

    /// <summary>I10: that an object is of this database, and of a lineage that its timeline has on the path.</summary>
    /// <exception cref="DamageException">ArchiveDamaged.</exception>
    public static void RequireOnPath(string storeName, TimelineHistory path, string name, ArchivedSegment segment)
    {
        if (segment.Identity.System != path.System)
            throw ArchiveErrors.Damaged(storeName, name,
                $"it is of the database {segment.Identity.System} instead of {path.System}");
        foreach (TimelineEntry entry in path.Path)
        {
            if (entry.Timeline == segment.Identity.Timeline && entry.Lineage == segment.Identity.Lineage)
                return;
        }
        throw ArchiveErrors.Damaged(storeName, name,
            $"its lineage {segment.Identity.Lineage} is not that of timeline {segment.Identity.Timeline} on this path");
    }
}
