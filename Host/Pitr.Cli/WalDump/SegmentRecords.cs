using System.Buffers.Binary;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>
/// The records in pieces of the WAL, as far as they are good: for looking, not for recovery.
/// </summary>
/// <remarks>
/// Pieces that follow each other are joined, so that a record which spans segments comes whole, and once. What does not
/// pass is stepped over in multiples of 8 bytes: a piece that begins within a record shows what follows it. Memory
/// holds one piece and the record that it does not hold to its end.
/// </remarks>
internal static class SegmentRecords
{
    /// <summary>The records, by timeline and LSN.</summary>
    public static IEnumerable<RecordDescription> Read(SegmentPieces source, CancellationToken cancellationToken)
    {
        StreamPiece? rest = null; // what came before the next piece and is no whole record yet
        Lsn? stop = null;
        foreach (StreamPiece next in source.Pieces)
        {
            cancellationToken.ThrowIfCancellationRequested();
            bool follows = rest is not null && Follows(rest, next);
            if (stop is { } first && (!follows || rest!.From >= first))
                break;
            foreach (RecordDescription record in follows ? [] : Drain(rest))
                yield return record;
            StreamPiece piece = follows ? Join(rest!, next) : next;
            if (source.OnlyFirst)
                stop ??= next.To;
            int at = 0;
            while (TryNext(piece, ref at, isLast: false, out RecordDescription? record))
            {
                if (stop is { } end && Lsn.Parse(record!.StartLsn) >= end)
                    yield break;
                yield return record!;
            }
            rest = piece with { From = piece.From + at, Bytes = piece.Bytes[at..] };
        }
        foreach (RecordDescription record in stop is { } last && rest!.From >= last ? [] : Drain(rest))
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
    private static IEnumerable<RecordDescription> Drain(StreamPiece? rest)
    {
        int at = 0;
        while (rest is not null && TryNext(rest, ref at, isLast: true, out RecordDescription? record))
            yield return record!;
    }

    /// <summary>
    /// The next good record; false at the end, or where one begins that the piece does not hold to its end.
    /// </summary>
    private static bool TryNext(StreamPiece piece, ref int at, bool isLast, out RecordDescription? description)
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
                description = null;
                return false;
            }
            var record = new WalRecord(stream.Slice(at, (int)length));
            if (!RecordCodec.CrcMatches(record.Bytes, piece.Lineage))
                continue;
            description = WalDump.DescribeWithOperations(record);
            at += (int)length;
            return true;
        }
        description = null;
        return false;
    }
}
