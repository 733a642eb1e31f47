using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// Proves finished segments of one timeline before they leave the database: what an archive is given is what was
/// logged, since the local copy goes once the store has it.
/// </summary>
/// <remarks>
/// Proved are the very bytes that are shipped: the segment's header, and the chain of its records (CRC-32C, place,
/// the CRC of the record before). The chain goes on from segment to segment; where it cannot (the first segment that an
/// engine start ships), it begins at the first good record in the segment, and the rest of a record from the segment
/// before is taken as it is.
/// THREADS  one. FAILURE  DamageException WalDamaged or SegmentHeaderDamaged; the state is then as it was.
/// </remarks>
internal sealed class SegmentProof(WalFolder folder, WalIdentity identity)
{
    private const int BeginsKept = 64; // more than are ever proved again

    // how a segment's chain begins: at which record, and with which CRC of the one before; null: not known
    private readonly SortedDictionary<ulong, (Lsn At, uint Crc)?> _begins = [];

    /// <summary>Proves one segment.</summary>
    /// <param name="number">Which.</param>
    /// <param name="file">The file's bytes.</param>
    /// <param name="timelineStart">Where the timeline's first record begins.</param>
    /// <param name="end">
    /// Up to where records are durable, or the fork up to which they count: where a record ends. If it lies in the segment,
    /// what lies behind it there is not looked at.
    /// </param>
    /// <param name="index">Gets the records that begin in the segment.</param>
    public void Require(
        ulong number, ReadOnlyMemory<byte> file, Lsn timelineStart, Lsn end, KeyIndexBuilder? index = null)
    {
        string path = folder.PathOf(new SegmentName(identity.Timeline, number));
        SegmentHeader header = SegmentHeader.Read(file.Span, path);
        if (header != SegmentHeader.For(identity, folder.Geometry, number))
        {
            throw WalErrors.SegmentHeaderDamaged(
                path, $"it is the header of segment {header.Name} of lineage {header.Lineage}");
        }
        using var bytes = new SegmentBytes(folder, identity, number, file[SegmentHeader.Bytes..]);
        Lsn start = folder.Geometry.StartOf(number);
        // Again, if the push that it, or one before it, was proved for has failed.
        (Lsn At, uint Crc)? known = _begins.GetValueOrDefault(number);
        Lsn? from = known?.At ?? FirstRecord(bytes, start, timelineStart);
        Lsn upTo = Lsn.Min(bytes.To, end);
        if (from is null || from >= upTo)
        {
            Keep(number, known, known);
            return; // one record fills the segment
        }
        uint? chained = known?.Crc;
        using var reader = new WalReader(bytes, from == timelineStart
            ? WalRange.OfTimeline(identity.Lineage, from.Value, end).UpTo(end)
            : WalRange.FromKnown(identity.Lineage, from.Value, end).UpTo(end));
        for (bool isFirst = true; reader.Next < upTo; isFirst = false)
        {
            if (!reader.MoveNext())
            {
                if (reader.End!.At >= bytes.To)
                {
                    index?.GiveUp();
                    return; // the rest of the last record is in a segment that is not here
                }
                throw reader.End.ToException();
            }
            if (isFirst && chained is { } crc && reader.Current.PreviousCrc != crc)
            {
                throw WalErrors.WalDamaged(
                    path, bytes.Place(from.Value).Offset, from.Value, "a record does not follow the one before it");
            }
            index?.Add(reader.Current);
        }
        Keep(number, known, (reader.Next, reader.LastCrc));
    }

    private void Keep(ulong number, (Lsn At, uint Crc)? begin, (Lsn At, uint Crc)? next)
    {
        _begins[number] = begin;
        _begins[number + 1] = next;
        while (_begins.Count > BeginsKept)
            _begins.Remove(_begins.First().Key);
    }

    private Lsn? FirstRecord(SegmentBytes bytes, Lsn start, Lsn timelineStart)
    {
        if (timelineStart >= start)
            return timelineStart;
        Span<byte> header = stackalloc byte[RecordCodec.HeaderBytes];
        for (Lsn at = start; at < bytes.To; at += 8)
        {
            if (bytes.Read(at, header) < header.Length)
                return null;
            uint length = MemoryMarshal.Read<uint>(header);
            if (!RecordCodec.IsLength(length)
                || MemoryMarshal.Read<ulong>(header[RecordCodec.StartLsnAt..]) != at.Value)
                continue;
            byte[] record = GC.AllocateUninitializedArray<byte>((int)length);
            if (bytes.Read(at, record) == record.Length && RecordCodec.CrcMatches(record, identity.Lineage))
                return at;
        }
        return null;
    }

    /// <summary>A segment in memory, and what follows it from the folder.</summary>
    private sealed class SegmentBytes(WalFolder folder, WalIdentity identity, ulong number, ReadOnlyMemory<byte> stream)
        : IWalBytes
    {
        private readonly FolderWalBytes _behind = new(folder, identity);
        private readonly Lsn _from = folder.Geometry.StartOf(number);

        public Lsn To { get; } = folder.Geometry.StartOf(number + 1);

        public bool MayEndInRecord => true;

        public int Read(Lsn at, Span<byte> to)
        {
            if (at < _from)
                return 0;
            int here = 0;
            if (at < To)
            {
                here = (int)Math.Min(to.Length, To - at);
                stream.Span.Slice((int)(at - _from), here).CopyTo(to);
            }
            return here == to.Length ? here : here + _behind.Read(at + here, to[here..]);
        }

        public Lsn NextAfter(Lsn hole) => hole < To ? hole : _behind.NextAfter(hole);

        public (string Path, long Offset) Place(Lsn at) => _behind.Place(at);

        public void Dispose() => _behind.Dispose();
    }
}
