using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>A parent timeline's part of the path: what lies before the fork.</summary>
/// <param name="Timeline">Its number.</param>
/// <param name="Lineage">Its lineage.</param>
/// <param name="Start">Where its first record begins.</param>
/// <param name="Fork">The last LSN that it shares with its child.</param>
internal sealed record WalStretch(TimelineId Timeline, Lineage Lineage, Lsn Start, Lsn Fork);

/// <summary>Something that knows how far the log went (H7).</summary>
/// <param name="Lsn">It went at least so far.</param>
/// <param name="Knower">For the message: "datafile 'main'", "the store 'file:/backup'".</param>
internal sealed record KnownPosition(Lsn Lsn, string Knower);

/// <summary>What opening a log needs to be told.</summary>
internal sealed record WalOpeningRequest
{
    /// <summary>The folder, with the identity of the timeline to be continued. Nothing of it is ready yet.</summary>
    public required WalFolder Folder { get; init; }

    /// <summary>Where that timeline's first record begins.</summary>
    public required Lsn TimelineStart { get; init; }

    /// <summary>Where reading begins.</summary>
    public required Lsn RedoLsn { get; init; }

    /// <summary>The end of the log that the control file knows; it was synced (H21).</summary>
    public required Lsn KnownEnd { get; init; }

    /// <summary>The last commit time that the control file knows.</summary>
    public DateTimeOffset LastCommitTime { get; init; }

    /// <summary>The path before the timeline, first one first.</summary>
    public IReadOnlyList<WalStretch> Parents { get; init; } = [];

    /// <summary>The datafiles' checkpoint LSNs, the stores' ends.</summary>
    public IReadOnlyList<KnownPosition> MustReach { get; init; } = [];
}

/// <summary>A part of the log that replay reads, proven and durable.</summary>
internal sealed record WalReplayPart(WalIdentity Identity, WalRange Range);

/// <summary>An opened log.</summary>
/// <param name="Appender">Stands at the end. The caller makes segments ready
/// (<see cref="WalFolder.EnsureReady"/>).</param>
/// <param name="How">Whether the log ended, or ended in a torn group.</param>
/// <param name="LastGroupStart">The start LSN of the last group that was read; zero if there was none.</param>
/// <param name="LastTransactionId">The greatest transaction id above the redo point; 0 if there was none.</param>
/// <param name="LastCommitTime">The last commit time, of the log or as the request knew it: the commit clock goes on
/// from it.</param>
/// <param name="Replay">What replay reads, in this order.</param>
internal sealed record WalOpened(
    WalAppender Appender, WalEnd How, Lsn LastGroupStart, TransactionId LastTransactionId,
    DateTimeOffset LastCommitTime,
    IReadOnlyList<WalReplayPart> Replay)
{
    /// <summary>The end of the log; everything below is durable.</summary>
    public Lsn End => Appender.DurableLsn;
}

/// <summary>
/// Opens the log of a timeline that is continued: finds its end, makes what was read durable, and stands ready to
/// append.
/// </summary>
/// <remarks>
/// ORDER, and what each step prevents
/// <code>
///   1  prove the parents' part above the redo  it must reach each fork
///   2  prove the timeline to its end           EndOfWal tells the end from damage (H6)
///   3  compare the end with what others know   a shorter log is refused (H7)
///   4  remove strays                           what an interrupted preallocation left
///   5  write the last group's bytes again      they may lie in the page cache only, marked clean (H3)
///   6  write zeroes up to the segment's end,   what a torn group reached there (H2, H3); before 7, since a record
///      and sync                                whose beginning came back without its rest would be a gap (H44)
///   6a if the log ends with a segment: zeroes  the same: a torn record that begins with the segment loses its
///      over the length in the next, and sync   beginning before its rest (H44)
///   7  remove the segments behind that are     what it reached further on: a new file cannot hold it, while zeroes
///      not zero, from the last one             written over it might stay in the cache, if their sync threw; each
///                                              durably before the next, or a hole with a segment behind it would be
///                                              a gap
///   8  sync every segment from the redo point, and the folder (its names: H5)
/// </code>
/// Nothing is written or removed before 3 has passed: a log that is refused stays as it was found. And only segments of
/// the folder's own timeline are: after a promotion the last group may be the parent's, and what lies behind it is
/// somebody's history (H3). Before 8 has ended, nothing that was read may be applied, shown or shipped; so the caller
/// replays afterwards, from <see cref="WalOpened.Replay"/>.
///
/// Below the known end nothing needs to be written again, and the last group begins at or above the redo point, which
/// is a group's end (H1).
///
/// THREADS  one. FAILURE  nothing is lost by trying again; a step that was done is done again.
/// </remarks>
internal static class WalOpening
{
    private const int ChunkBytes = 1 << 20;

    /// <exception cref="DamageException">The log is damaged below its end.</exception>
    /// <exception cref="RefusedException">A segment is missing, the log is shorter than others know, or
    /// foreign.</exception>
    /// <exception cref="StorageFailedException">The disk said no.</exception>
    public static WalOpened Open(WalOpeningRequest request)
    {
        WalFolder folder = request.Folder;
        var read = new Progress(request.LastCommitTime);
        (WalEnd end, List<WalReplayPart> parts) = Prove(request, read);
        folder.RemoveStrays();
        Lsn from = Lsn.Max(request.RedoLsn, request.TimelineStart);
        uint lastCrc = read.OwnLastCrc ?? LastCrcBefore(folder, request.TimelineStart, end.At);

        WalSegment? current = MakeDurable(folder, parts, Lsn.Max(read.OwnGroupStart, from), end.At);
        var last = new GroupTime(new DateTimeOffset(read.CommitTimeTicks, TimeSpan.Zero),
            new DateTimeOffset(read.RawClockTicks, TimeSpan.Zero));
        var appender = new WalAppender(folder, current, new LogTail(end.At, lastCrc, last));
        return new WalOpened(
            appender, end, read.GroupStart, new TransactionId(read.TransactionId), last.CommitTime, parts);
    }

    /// <summary>
    /// Steps 1 to 3 alone: where the log ends, and what replay would read. Nothing is written; what was read may not be
    /// durable.
    /// </summary>
    /// <exception cref="PitrException">As <see cref="Open"/>.</exception>
    public static (Lsn End, IReadOnlyList<WalReplayPart> Replay) Look(WalOpeningRequest request)
    {
        (WalEnd end, List<WalReplayPart> parts) = Prove(request, new Progress(request.LastCommitTime));
        return (end.At, parts);
    }

    private static (WalEnd End, List<WalReplayPart> Parts) Prove(WalOpeningRequest request, Progress read)
    {
        WalFolder folder = request.Folder;
        List<WalReplayPart> parts = [];
        foreach (WalStretch parent in request.Parents)
        {
            if (parent.Fork > request.RedoLsn)
                parts.Add(ProveParent(folder, request.RedoLsn, parent, read));
        }
        Lsn from = Lsn.Max(request.RedoLsn, request.TimelineStart);
        WalRange range = from == request.TimelineStart
            ? WalRange.OfTimeline(folder.Identity.Lineage, from, request.KnownEnd)
            : WalRange.FromKnown(folder.Identity.Lineage, from, request.KnownEnd);
        read.OwnLastCrc = from == request.TimelineStart ? range.PreviousCrc : null;
        WalEnd end = Prove(folder, folder.Identity, range, read, isOwn: true);
        RequireReached(end, request);
        parts.Add(new WalReplayPart(folder.Identity, range.UpTo(end.At) with { KnownEnd = end.At }));
        return (end, parts);
    }

    private static WalReplayPart ProveParent(WalFolder folder, Lsn redo, WalStretch parent, Progress read)
    {
        var identity = new WalIdentity(folder.Identity.System, parent.Timeline, parent.Lineage);
        WalRange range = (redo <= parent.Start
            ? WalRange.OfTimeline(parent.Lineage, parent.Start, parent.Fork)
            : WalRange.FromKnown(parent.Lineage, redo, parent.Fork)).UpTo(parent.Fork);
        WalEnd end = Prove(folder, identity, range, read, isOwn: false);
        if (end.At != parent.Fork)
            throw end.ToException();
        return new WalReplayPart(identity, range);
    }

    private static WalEnd Prove(WalFolder folder, WalIdentity identity, WalRange range, Progress read, bool isOwn)
    {
        using var reader = new WalReader(new FolderWalBytes(folder, identity), range);
        while (reader.MoveNext())
            read.Note(reader.Current, isOwn);
        return reader.End!;
    }

    /// <summary>Steps 2 and 3: the log ends where it may.</summary>
    private static void RequireReached(WalEnd end, WalOpeningRequest request)
    {
        if (end.Reason == WalEndReason.Gap && end.At < request.KnownEnd && end.Row == "E5")
            throw WalErrors.TooShort(end.At, request.KnownEnd, "the control file");
        if (!end.IsWhole)
            throw end.ToException();
        foreach (KnownPosition known in request.MustReach)
        {
            if (known.Lsn > end.At)
                throw WalErrors.TooShort(end.At, known.Lsn, known.Knower);
        }
    }

    /// <summary>Steps 5 to 8; returns the segment to be continued, null if the log ends at a boundary.</summary>
    private static WalSegment? MakeDurable(WalFolder folder, List<WalReplayPart> parts, Lsn lastGroup, Lsn end)
    {
        WalGeometry geometry = folder.Geometry;
        bool isAtBoundary = geometry.StartOf(geometry.NumberOf(end)) == end;
        ulong next = isAtBoundary ? geometry.NumberOf(end) : geometry.NumberOf(end) + 1;
        List<WalSegment> open = [];
        Queue<WalSegment> zeroes = new();
        try
        {
            for (ulong number = geometry.NumberOf(lastGroup); number < next; number++)
            {
                IFileHandle handle = folder.Open(number, folder.Identity, FileOpen.ReadWrite);
                var segment = new WalSegment(number, handle, geometry);
                open.Add(segment);
                WriteAgain(segment, Lsn.Max(lastGroup, segment.Start), Lsn.Min(end, segment.End));
                if (end < segment.End)
                    WriteZeroes(segment, end);
            }
            foreach (WalSegment segment in open)
                segment.Handle.SyncData();
            TakeZeroes(folder, next, isAtBoundary, zeroes);
            SyncAll(folder, parts, open, zeroes);
            folder.ContinueAt(next);
            while (zeroes.TryDequeue(out WalSegment? zero))
                folder.AddReady(zero);
            WalSegment? current = isAtBoundary || open.Count == 0 ? null : open[^1];
            if (current is not null)
                open.Remove(current);
            return current;
        }
        finally
        {
            foreach (WalSegment segment in open.Concat(zeroes))
                segment.Dispose();
        }
    }

    private static void WriteAgain(WalSegment segment, Lsn from, Lsn to)
    {
        byte[] chunk = new byte[(int)Math.Min(ChunkBytes, Math.Max(to - from, 0))];
        while (from < to)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(chunk.Length, to - from));
            int read = segment.Handle.Read(SegmentHeader.Bytes + (from - segment.Start), part);
            Invariant.Require(read == part.Length, "W2", $"Segment {segment.Number} became shorter.");
            segment.Write(from, part);
            from += part.Length;
        }
    }

    private static void WriteZeroes(WalSegment segment, Lsn from)
    {
        byte[] chunk = new byte[(int)Math.Min(ChunkBytes, segment.End - from)];
        for (; from < segment.End; from += Math.Min(chunk.Length, segment.End - from))
            segment.Write(from, chunk.AsSpan(0, (int)Math.Min(chunk.Length, segment.End - from)));
    }

    /// <summary>
    /// Steps 6a and 7: opens the segments behind the end that are whole and zero, and removes all others of the
    /// timeline.
    /// </summary>
    private static void TakeZeroes(WalFolder folder, ulong next, bool isAtBoundary, Queue<WalSegment> zeroes)
    {
        List<SegmentName> removed = [];
        foreach (SegmentName name in folder.List())
        {
            if (name.Timeline != folder.Identity.Timeline || name.Number < next)
                continue;
            WalSegment? zero = removed.Count == 0 && name.Number == next + (ulong)zeroes.Count
                ? OpenIfZero(folder, name.Number) : null;
            if (zero is null)
                removed.Add(name);
            else
                zeroes.Enqueue(zero);
        }
        if (isAtBoundary && removed.Count > 0 && removed[0].Number == next)
            VoidFirstRecord(folder, next);
        foreach (SegmentName name in Enumerable.Reverse(removed))
            folder.Remove([name]);
    }

    /// <summary>
    /// Step 6a. Its length and CRC only: a segment that was zero in the cache alone, because the sync threw, would be
    /// taken as a ready one the next time.
    /// </summary>
    private static void VoidFirstRecord(WalFolder folder, ulong number)
    {
        using IFileHandle handle = folder.Open(number, folder.Identity, FileOpen.ReadWrite);
        handle.Write(SegmentHeader.Bytes, new byte[RecordCodec.PreviousCrcAt]);
        handle.SyncData();
    }

    private static WalSegment? OpenIfZero(WalFolder folder, ulong number)
    {
        IFileHandle handle = folder.Open(number, folder.Identity, FileOpen.ReadWrite);
        bool isZero = false;
        try
        {
            isZero = IsZero(handle, folder.Geometry.SegmentBytes);
        }
        finally
        {
            if (!isZero)
                handle.Dispose();
        }
        return isZero ? new WalSegment(number, handle, folder.Geometry) : null;
    }

    private static bool IsZero(IFileHandle handle, int segmentBytes)
    {
        byte[] chunk = new byte[Math.Min(ChunkBytes, segmentBytes)];
        for (long at = SegmentHeader.Bytes; at < segmentBytes; at += chunk.Length)
        {
            int read = handle.Read(at, chunk);
            if (chunk.AsSpan(0, read).ContainsAnyExcept((byte)0))
                return false;
        }
        return true;
    }

    /// <summary>Step 8.</summary>
    private static void SyncAll(
        WalFolder folder, List<WalReplayPart> parts, List<WalSegment> open, IEnumerable<WalSegment> zeroes)
    {
        foreach (WalReplayPart part in parts)
        {
            Lsn to = part.Range.To;
            ulong first = folder.Geometry.NumberOf(part.Range.From);
            for (ulong number = first; folder.Geometry.StartOf(number) < to; number++)
            {
                if (part.Identity == folder.Identity && open.Exists(segment => segment.Number == number))
                    continue; // it was, by the handle that wrote
                using IFileHandle handle = folder.Open(number, part.Identity, FileOpen.ReadWrite);
                handle.SyncData();
            }
        }
        foreach (WalSegment zero in zeroes)
            zero.Handle.SyncData();
        folder.Files.SyncFolder(folder.Folder);
    }

    /// <summary>
    /// The CRC of the record that ends at an LSN, where the redo point is the end of the log (after a checkpoint during
    /// replay, which logs nothing, H21): from the segments before it, the first record from which the chain reaches
    /// that LSN.
    /// </summary>
    private static uint LastCrcBefore(WalFolder folder, Lsn timelineStart, Lsn end)
    {
        WalGeometry geometry = folder.Geometry;
        for (ulong number = geometry.NumberOf(end + -8); number >= geometry.NumberOf(timelineStart); number--)
        {
            using var source = new FolderWalBytes(folder, folder.Identity);
            byte[] payload = new byte[(int)Math.Min(geometry.PayloadBytes, end - geometry.StartOf(number))];
            if (source.Read(geometry.StartOf(number), payload) < payload.Length)
                break;
            for (int at = 0; at + RecordCodec.HeaderBytes <= payload.Length; at += 8)
            {
                Lsn start = geometry.StartOf(number) + at;
                if (BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(at + RecordCodec.StartLsnAt)) != start.Value)
                    continue;
                WalRange range = WalRange.FromKnown(folder.Identity.Lineage, start, end).UpTo(end);
                using var reader = new WalReader(new FolderWalBytes(folder, folder.Identity), range);
                while (reader.MoveNext())
                {
                }
                if (reader.Next == end)
                    return reader.LastCrc;
            }
        }
        throw WalErrors.Gap(geometry.StartOf(geometry.NumberOf(end + -8)), "the record before the redo point");
    }

    /// <summary>What was read so far.</summary>
    private sealed class Progress
    {
        public Progress(DateTimeOffset lastCommitTime) =>
            (CommitTimeTicks, RawClockTicks) = (lastCommitTime.UtcTicks, lastCommitTime.UtcTicks);

        public Lsn GroupStart { get; private set; }
        public Lsn OwnGroupStart { get; private set; }
        public uint? OwnLastCrc { get; set; }
        public ulong TransactionId { get; private set; }
        public long CommitTimeTicks { get; private set; }
        public long RawClockTicks { get; private set; }

        public void Note(WalRecord record, bool isOwn)
        {
            GroupStart = record.GroupStart;
            TransactionId = Math.Max(TransactionId, record.TransactionId.Value);
            if (record.CommitTimeTicks >= CommitTimeTicks)
                (CommitTimeTicks, RawClockTicks) = (record.CommitTimeTicks, record.RawClockTicks);
            if (isOwn)
                (OwnGroupStart, OwnLastCrc) = (record.GroupStart, record.Crc);
        }
    }
}
