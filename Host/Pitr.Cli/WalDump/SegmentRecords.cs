using System.Buffers.Binary;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>A good record, where it was found.</summary>
/// <param name="Timeline">Whose.</param>
/// <param name="Bytes">The whole record.</param>
internal readonly record struct FoundRecord(TimelineId Timeline, ReadOnlyMemory<byte> Bytes)
{
    /// <summary>The record; valid as long as its bytes.</summary>
    public WalRecord Record => new(Bytes.Span);
}

/// <summary>
/// The records in pieces of the WAL, as far as they are good: for looking, not for recovery.
/// </summary>
/// <remarks>
/// Pieces that follow each other are joined, so that a record which spans segments comes whole, and once. What does not
/// pass is stepped over in multiples of 8 bytes: a piece that begins within a record shows what follows it; what of that
/// is damage, <see cref="Damaged"/> says. Memory holds one piece and the record that it does not hold to its end.
/// A piece that is not wanted is read only if the one before it ends within a record, and gives no other then.
/// THREADS  one.
/// </remarks>
/// <param name="source">Where they are.</param>
/// <param name="wanted">Which pieces may have what is looked for; null: all.</param>
internal sealed class SegmentRecords(SegmentPieces source, Func<PieceSource, bool>? wanted = null)
{
    private readonly RecordRun _run = new();

    /// <summary>What was stepped over and had been records, as far as it was read.</summary>
    public IReadOnlyList<SearchGap> Damaged => _run.Damaged;

    /// <summary>True unless something in a piece had been records and is none any more.</summary>
    public static bool IsSound(StreamPiece piece)
    {
        var run = new RecordRun();
        int at = 0;
        while (TryNext(piece, ref at, isLast: true, out FoundRecord record))
            run.Take(record);
        return run.Damaged.Count == 0;
    }

    /// <summary>True if a record begins in the piece, also one that it does not hold to its end.</summary>
    public static bool OneBegins(StreamPiece piece)
    {
        int at = 0;
        return TryNext(piece, ref at, isLast: false, out _) || at + RecordCodec.HeaderBytes <= piece.Bytes.Length;
    }

    /// <summary>Pieces that were read.</summary>
    public int PiecesRead { get; private set; }

    /// <summary>The records, by timeline and LSN; each valid until the next one is asked for.</summary>
    public IEnumerable<FoundRecord> Read(CancellationToken cancellationToken)
    {
        StreamPiece? rest = null; // what came before the next piece and is no whole record yet
        Lsn? stop = null;
        foreach (PieceSource next in source.Pieces)
        {
            cancellationToken.ThrowIfCancellationRequested();
            bool isWanted = wanted?.Invoke(next) ?? true;
            if (!isWanted && (rest is not { Bytes.IsEmpty: false } || rest.Timeline != next.Timeline))
            {
                if (rest is not null && rest.Timeline == next.Timeline)
                    _run.Break(rest.Timeline, rest.To);
                else
                    _run.Break();
                rest = null;
                continue;
            }
            StreamPiece fresh = next.Read();
            PiecesRead++;
            bool follows = rest is not null && Follows(rest, fresh);
            if (stop is { } first && (!follows || rest!.From >= first))
                break;
            foreach (FoundRecord record in follows ? [] : Drain(rest))
                yield return record;
            if (!follows)
                _run.Break();
            StreamPiece piece = follows ? Join(rest!, fresh) : fresh;
            if (source.OnlyFirst)
                stop ??= fresh.To;
            int at = 0;
            bool isOver = !isWanted && !follows;
            while (!isOver && TryNext(piece, ref at, isLast: false, out FoundRecord record))
            {
                Lsn start = record.Record.StartLsn;
                if (stop is { } end && start >= end)
                    yield break;
                _run.Take(record);
                isOver = !isWanted && start >= fresh.From;
                if (!isOver)
                    yield return record;
            }
            if (isOver)
                _run.Break(piece.Timeline, Lsn.Zero);
            rest = isOver ? null : piece with { From = piece.From + at, Bytes = piece.Bytes[at..] };
        }
        foreach (FoundRecord record in stop is { } last && rest!.From >= last ? [] : Drain(rest))
            yield return record;
    }

    private static bool Follows(StreamPiece rest, StreamPiece next) =>
        next.Lineage == rest.Lineage && next.From <= rest.To && next.To > rest.To;

    private static StreamPiece Join(StreamPiece rest, StreamPiece next)
    {
        ReadOnlyMemory<byte> fresh = next.Bytes[(int)(rest.To - next.From)..];
        if (rest.Bytes.IsEmpty)
            return next with { From = rest.To, Bytes = fresh };
        byte[] joined = new byte[rest.Bytes.Length + fresh.Length];
        rest.Bytes.CopyTo(joined);
        fresh.CopyTo(joined.AsMemory(rest.Bytes.Length));
        return rest with { Bytes = joined };
    }

    /// <summary>What is good behind something that only looked like the beginning of a long record.</summary>
    private IEnumerable<FoundRecord> Drain(StreamPiece? rest)
    {
        int at = 0;
        while (rest is not null && TryNext(rest, ref at, isLast: true, out FoundRecord record))
        {
            _run.Take(record);
            yield return record;
        }
    }

    /// <summary>
    /// The next good record; false at the end, or where one begins that the piece does not hold to its end.
    /// </summary>
    private static bool TryNext(StreamPiece piece, ref int at, bool isLast, out FoundRecord record)
    {
        ReadOnlySpan<byte> stream = piece.Bytes.Span;
        for (; at + RecordCodec.HeaderBytes <= stream.Length; at += 8)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(stream[at..]);
            ulong start = BinaryPrimitives.ReadUInt64LittleEndian(stream[(at + RecordCodec.StartLsnAt)..]);
            if (!RecordCodec.IsLength(length) || start != (piece.From + at).Value)
                continue;
            if (at + (long)length > stream.Length)
            {
                if (isLast)
                    continue;
                record = default;
                return false;
            }
            if (!RecordCodec.CrcMatches(stream.Slice(at, (int)length), piece.Lineage))
                continue;
            record = new FoundRecord(piece.Timeline, piece.Bytes.Slice(at, (int)length));
            at += (int)length;
            return true;
        }
        record = default;
        return false;
    }
}
