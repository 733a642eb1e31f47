using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>A record that touched the key that was looked for.</summary>
/// <param name="Timeline">On which timeline.</param>
/// <param name="StartLsn">Where it begins.</param>
/// <param name="Lsn">Its LSN.</param>
/// <param name="Time">Its commit time.</param>
/// <param name="TransactionId">0 for a drop.</param>
/// <param name="Kind">What it left of the key.</param>
/// <param name="ValueBytes">Of the value that was put.</param>
internal sealed record KeyTouch(
    TimelineId Timeline, Lsn StartLsn, Lsn Lsn, DateTimeOffset Time, TransactionId TransactionId, TouchKind Kind,
    int ValueBytes);

/// <summary>What a search came to.</summary>
/// <param name="Touches">By timeline and LSN.</param>
/// <param name="Segments">Segments and parts that there are.</param>
/// <param name="SegmentsRead">Those that had to be read.</param>
/// <param name="HasBranches">There is WAL of several timelines: an LSN alone may not say which moment is meant.</param>
/// <param name="Gaps">WAL between what was searched that is not there, or is damaged: it may have touched the key.</param>
internal sealed record KeySearchResult(
    IReadOnlyList<KeyTouch> Touches, int Segments, int SegmentsRead, bool HasBranches, IReadOnlyList<SearchGap> Gaps)
{
    /// <summary>Not 0 if something may have been missed.</summary>
    public int ExitCode => Gaps.Select(static gap => gap.ExitCode).DefaultIfEmpty(ExitCodes.Done).Max();

    /// <summary>The target that stops just before a record.</summary>
    public string TargetBefore(KeyTouch touch) => $"--target-lsn {touch.Lsn} --exclusive"
        + (HasBranches ? $" --timeline {touch.Timeline}" : "");
}

/// <summary>Which transactions touched a key, and which removed it: the moment to stop before.</summary>
internal sealed class KeyFinder
{
    /// <summary>Where the WAL is.</summary>
    public required SegmentPieces Source { get; init; }

    /// <summary>The key's table, by name (each that ever had it) or number.</summary>
    public required string Table { get; init; }

    public required byte[] Key { get; init; }

    /// <summary>Only what removed it.</summary>
    public bool OnlyDeleted { get; init; }

    /// <summary>Only what was committed at or after it.</summary>
    public DateTimeOffset Since { get; init; } = DateTimeOffset.MinValue;

    /// <summary>Searches.</summary>
    /// <exception cref="NotFoundException">TableUnknown.</exception>
    public KeySearchResult Find(CancellationToken cancellationToken)
    {
        var names = new TableNames();
        if (Source.Database is { } folder)
            names.Learn(new ControlFileStore(EngineFactory.FileSystemOf(new PitrOptions()), folder).ReadAny());
        var query = new WalQuery(names.Find(Table, Source, cancellationToken), Key);
        var records = new SegmentRecords(Source, piece => MayHave(piece, query));
        var touches = new SortedDictionary<(uint, Lsn), KeyTouch>(); // parts of several stores overlap
        foreach (FoundRecord found in records.Read(cancellationToken))
        {
            WalRecord record = found.Record;
            if (record.CommitTimeTicks < Since.UtcTicks)
                continue;
            TouchKind kind = query.Touch(record, out int valueBytes);
            if (kind == TouchKind.None || (OnlyDeleted && kind == TouchKind.Put))
                continue;
            touches[(found.Timeline.Value, record.Lsn)] = new KeyTouch(
                found.Timeline, record.StartLsn, record.Lsn, record.CommitTime, record.TransactionId, kind, valueBytes);
        }
        return new KeySearchResult(
            [.. touches.Values], Source.Pieces.Count, records.PiecesRead,
            Source.Pieces.Select(piece => piece.Timeline).Distinct().Count() > 1,
            [
                .. SearchGap.Between(Source.Pieces).Concat(records.Damaged)
                    .OrderBy(static gap => gap.Timeline.Value).ThenBy(static gap => gap.From),
            ]);
    }

    private bool MayHave(PieceSource piece, WalQuery query) => piece.Index() is not { } index
        || (index.LastCommitTicks >= Since.UtcTicks && query.MayConcern(index, OnlyDeleted));
}
