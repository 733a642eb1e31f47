using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>WAL that a search had to do without, [From, To).</summary>
/// <param name="Timeline">Whose.</param>
/// <param name="From">Its first byte.</param>
/// <param name="To">Just past its last.</param>
/// <param name="IsDamaged">Bytes are there, and are no records; else no place that was looked into has any.</param>
internal sealed record SearchGap(TimelineId Timeline, Lsn From, Lsn To, bool IsDamaged)
{
    /// <summary>The code of what it is.</summary>
    public int ExitCode => IsDamaged ? ExitCodes.Damage : ExitCodes.Refused;

    /// <summary>In one word.</summary>
    public string Kind => IsDamaged ? "damaged" : "missing";

    /// <summary>What lies in no piece, between the first and the last piece of each timeline.</summary>
    /// <param name="pieces">By timeline and LSN; they may overlap.</param>
    public static IReadOnlyList<SearchGap> Between(IReadOnlyList<PieceSource> pieces)
    {
        long? segmentBytes = SegmentBytes(pieces);
        var gaps = new List<SearchGap>();
        foreach (IGrouping<TimelineId, PieceSource> timeline in pieces.GroupBy(static piece => piece.Timeline))
        {
            Lsn? reached = null;
            foreach ((Lsn from, Lsn to) in timeline
                .Select(piece => RangeOf(piece, segmentBytes)).OfType<(Lsn From, Lsn To)>().OrderBy(static range => range.From))
            {
                if (reached is { } end && from > end)
                    gaps.Add(new SearchGap(timeline.Key, end, from, IsDamaged: false));
                reached = reached is { } before ? Lsn.Max(before, to) : to;
            }
        }
        return gaps;
    }

    private static (Lsn From, Lsn To)? RangeOf(PieceSource piece, long? segmentBytes)
    {
        if (piece.IsPart)
            return piece.Range();
        return segmentBytes is { } bytes
            ? (new Lsn(piece.Number * (ulong)bytes), new Lsn((piece.Number + 1) * (ulong)bytes))
            : null;
    }

    /// <summary>Of the stream in one segment: all have the same, so that one is asked.</summary>
    private static long? SegmentBytes(IReadOnlyList<PieceSource> pieces)
    {
        foreach (PieceSource whole in pieces.Where(static piece => !piece.IsPart))
        {
            try
            {
                if (whole.StreamBytes() is { } bytes)
                    return bytes;
            }
            catch (Exception gone) when (gone is NotFoundException or FileNotFoundException or DamageException)
            {
                // Removed since it was listed, or damaged: the next one says as much.
            }
        }
        return null;
    }
}
