using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>An event of the log, and where it ends.</summary>
internal sealed record LoggedEvent(WalEvent Event, Lsn Lsn, DateTimeOffset Time);

/// <summary>Records of one timeline in segments that follow each other, each of them proven.</summary>
/// <param name="Identity">Whose.</param>
/// <param name="From">Where the first record begins that could be found.</param>
/// <param name="To">Just past the last record.</param>
/// <param name="End">How they ended.</param>
/// <param name="LastGroupStart">Where the last group begins.</param>
/// <param name="LastTransaction">The greatest transaction id; 0 if there is no transaction.</param>
/// <param name="Events">Creates, drops, moves, the timeline's start, and the last checkpoint.</param>
/// <param name="NamesEnd">Just past the last segment that is there by name, whatever is in it.</param>
internal sealed record WalRun(
    WalIdentity Identity, Lsn From, Lsn To, WalEnd End, Lsn LastGroupStart, TransactionId LastTransaction,
    IReadOnlyList<LoggedEvent> Events, Lsn NamesEnd)
{
    /// <summary>The last checkpoint's record; null if there is none.</summary>
    public LoggedEvent? Checkpoint => Events.LastOrDefault(logged => logged.Event is WalEvent.Checkpoint);
}

/// <summary>
/// What a folder of segments holds, without being told: for a database whose control file is gone, or is not to be
/// believed. Changes nothing.
/// </summary>
/// <remarks>
/// Whose a segment is its header says. Where in a segment the first record begins is not known: it is looked for at every
/// multiple of 8, at a place that says it is that place and whose CRC, which covers the lineage, fits (H2, H6). From there
/// on each record chains to the one before.
/// INVARIANTS
///   WS1  No byte counts that is not in a record which was proven.
///   WS2  A run ends where its records do. If the log was known to go on there (a bad record before a later group, a
///        hole), <see cref="WalRun.End"/> says so, and the run counts as having all that its names stand for; segments
///        that were made ready for a log of which no record is left, as having reached them: who needs what is missing is
///        told of a gap, never of an end (H6, H7).
/// THREADS  one.
/// </remarks>
internal sealed class WalSurvey
{
    private readonly IFileSystem _files;
    private readonly List<WalRun> _runs = [];
    private readonly List<SegmentName> _names = [];
    private readonly List<string> _findings = [];

    private WalSurvey(IFileSystem files, string folder) => (_files, Folder) = (files, folder);

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>Whose WAL it is; null if there is none.</summary>
    public SystemIdentifier? System { get; private set; }

    /// <summary>How long its segments are; 0 if there are none.</summary>
    public int SegmentBytes { get; private set; }

    /// <summary>By timeline and place.</summary>
    public IReadOnlyList<WalRun> Runs => _runs;

    /// <summary>What could not be read, and what else is to be told.</summary>
    public IReadOnlyList<string> Findings => _findings;

    /// <summary>Just past the highest LSN of a timeline that the folder has, or had (WS2); zero if there is nothing.</summary>
    public Lsn HighestEnd(TimelineId timeline)
    {
        Lsn end = _runs.Where(run => run.Identity.Timeline == timeline)
            .Select(run => run.End.IsWhole ? run.To : run.NamesEnd).DefaultIfEmpty().Max();
        if (_runs.Count > 0 || SegmentBytes == 0)
            return end; // ready segments of a timeline that was left say nothing
        ulong first = _names.Where(name => name.Timeline == timeline).Select(name => name.Number).DefaultIfEmpty().Min();
        return new WalGeometry(SegmentBytes).StartOf(first);
    }

    /// <summary>The last run of each timeline, by number: what lies before a hole is of no use to who continues it.</summary>
    public IEnumerable<WalRun> LastRuns =>
        _runs.GroupBy(run => run.Identity.Timeline).Select(group => group.MaxBy(run => run.To.Value)!)
            .OrderBy(run => run.Identity.Timeline.Value);

    /// <summary>Reads all of it.</summary>
    /// <exception cref="RefusedException">ForeignSystem: segments of two databases. BranchAmbiguous: two lineages with
    /// one number.</exception>
    /// <exception cref="StorageFailedException">The disk can't be read.</exception>
    public static WalSurvey Of(IFileSystem files, string folder, CancellationToken cancellation = default)
    {
        var survey = new WalSurvey(files, folder);
        if (files.Stat(folder) is { IsFolder: true })
            survey.ReadFolder(cancellation);
        return survey;
    }

    private void ReadFolder(CancellationToken cancellation)
    {
        var headers = new List<SegmentHeader>();
        foreach (string file in _files.List(Folder))
        {
            if (!SegmentName.TryParse(file, out SegmentName name))
                continue;
            _names.Add(name);
            if (HeaderOf(name) is not { } header)
                continue;
            if (headers.Find(other => other.System != header.System) is { SegmentBytes: > 0 } foreign)
                throw WalErrors.TwoSystems(Folder, foreign.System, header.System);
            if (headers.Find(other => other.Name.Timeline == header.Name.Timeline && other.Lineage != header.Lineage)
                is { SegmentBytes: > 0 } twin)
                throw WalErrors.TwoLineages(Folder, header.Name.Timeline, twin.Lineage, header.Lineage);
            headers.Add(header);
            SegmentBytes = header.SegmentBytes;
        }

        if (headers.Count == 0)
            return;
        System = headers[0].System;
        var geometry = new WalGeometry(SegmentBytes);
        foreach (IGrouping<TimelineId, SegmentHeader> timeline in headers
            .OrderBy(header => header.Name.Number).GroupBy(header => header.Name.Timeline).OrderBy(group => group.Key.Value))
        {
            Lsn namesEnd = geometry.StartOf(
                _names.Where(name => name.Timeline == timeline.Key).Max(name => name.Number) + 1);
            SegmentHeader[] own = [.. timeline];
            var folder = new WalFolder(_files, Folder, SegmentBytes, own[0].Identity);
            for (int first = 0; first < own.Length;)
            {
                int behind = first + 1;
                while (behind < own.Length && own[behind].Name.Number == own[behind - 1].Name.Number + 1)
                    behind++;
                ReadRun(folder, own[first].Name.Number, own[behind - 1].Name.Number, namesEnd, cancellation);
                first = behind;
            }
        }
    }

    private SegmentHeader? HeaderOf(SegmentName name)
    {
        string path = $"{Folder}/{name}";
        try
        {
            using IFileHandle handle = _files.Open(path, FileOpen.Read);
            Span<byte> bytes = stackalloc byte[SegmentHeader.Bytes];
            int read = handle.Read(0, bytes);
            SegmentHeader header = SegmentHeader.Read(bytes[..read], path);
            return header.Name == name && handle.LengthBytes == header.SegmentBytes
                && (SegmentBytes == 0 || SegmentBytes == header.SegmentBytes)
                ? header
                : throw WalErrors.SegmentHeaderDamaged(path, $"it says segment {header.Name}");
        }
        catch (PitrException error) when (error is DamageException or RefusedException)
        {
            _findings.Add($"A WAL segment is not used: {error.Message}");
            return null;
        }
    }

    private void ReadRun(WalFolder folder, ulong first, ulong last, Lsn namesEnd, CancellationToken cancellation)
    {
        for (ulong number = first; number <= last; number++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (FirstRecordIn(folder, number) is not { } from)
                continue; // the inside of one record, or zeroes
            using var reader = new WalReader(
                new FolderWalBytes(folder, folder.Identity), WalRange.FromKnown(folder.Identity.Lineage, from, from + 8));
            var events = new List<LoggedEvent>();
            Lsn to = from;
            Lsn group = from;
            ulong transaction = 0;
            while (reader.MoveNext())
            {
                WalRecord record = reader.Current;
                (to, group) = (record.Lsn, record.GroupStart);
                transaction = Math.Max(transaction, record.TransactionId.Value);
                Note(events, record);
            }

            _runs.Add(new WalRun(
                folder.Identity, from, to, reader.End!, Lsn.Max(group, folder.Geometry.StartOf(first)),
                new TransactionId(transaction), events, namesEnd));
            return;
        }
    }

    private static void Note(List<LoggedEvent> events, WalRecord record)
    {
        switch (record.Kind)
        {
            case WalRecordKind.Checkpoint:
                events.RemoveAll(logged => logged.Event is WalEvent.Checkpoint);
                break;
            case WalRecordKind.CreateDatafile or WalRecordKind.DropDatafile or WalRecordKind.CreateTable
                or WalRecordKind.DropTable or WalRecordKind.MoveDatafile or WalRecordKind.TimelineStart:
                break;
            default:
                return;
        }

        events.Add(new LoggedEvent(record.Event!, record.Lsn, record.CommitTime));
    }

    /// <summary>Where the first record begins of those that begin in a segment; null if none does.</summary>
    private static Lsn? FirstRecordIn(WalFolder folder, ulong number)
    {
        WalGeometry geometry = folder.Geometry;
        byte[] payload = new byte[geometry.PayloadBytes];
        using (var source = new FolderWalBytes(folder, folder.Identity))
            payload = payload[..source.Read(geometry.StartOf(number), payload)];
        for (int at = 0; at + RecordCodec.HeaderBytes <= payload.Length; at += 8)
        {
            Lsn start = geometry.StartOf(number) + at;
            if (BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(at + RecordCodec.StartLsnAt)) != start.Value)
                continue;
            using var reader = new WalReader(
                new FolderWalBytes(folder, folder.Identity), WalRange.FromKnown(folder.Identity.Lineage, start, start + 8));
            if (reader.MoveNext())
                return start;
        }

        return null;
    }
}
