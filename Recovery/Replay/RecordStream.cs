using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Proven records in LSN order along a path of timelines.</summary>
internal interface IRecordStream : IDisposable
{
    /// <summary>Where the first record is looked for.</summary>
    Lsn From { get; }

    /// <summary>The record at which the stream stands; valid until it moves.</summary>
    WalRecord Current { get; }

    /// <summary>The timeline of that record; at the end, the one at which the stream ended.</summary>
    TimelineEntry Timeline { get; }

    /// <summary>Moves to the next record; false at the end, which <see cref="End"/> describes.</summary>
    bool MoveNext();

    /// <summary>How reading ended; null while it goes on.</summary>
    WalEnd? End { get; }
}

/// <summary>One timeline's stretch of a path.</summary>
/// <param name="Timeline">Whose records.</param>
/// <param name="Bytes">Where they are.</param>
/// <param name="From">Where the first begins.</param>
/// <param name="To">Where the stretch ends: the next fork on the path; MaxValue for the last.</param>
/// <param name="KnownEnd">The WAL is known to have been durable up to here.</param>
internal sealed record PathLeg(TimelineEntry Timeline, Func<IWalBytes> Bytes, Lsn From, Lsn To, Lsn KnownEnd);

/// <summary>
/// Reads along a path: each timeline's records up to the fork of the next, which begins at its own start and chains to
/// its own lineage. What lies beyond a fork is never read as part of the path (I10).
/// </summary>
/// <remarks>
/// THREADS  one. FAILURE  what a source throws is an end of kind damage; see <see cref="WalReader"/>.
/// </remarks>
internal sealed class PathReader : IRecordStream
{
    private readonly IReadOnlyList<PathLeg> _legs;
    private int _leg = -1;
    private WalReader? _reader;

    public PathReader(IReadOnlyList<PathLeg> legs)
    {
        Invariant.Require(legs.Count > 0, "I10", "a path has a leg.");
        _legs = legs;
    }

    public Lsn From => _legs[0].From;

    public WalRecord Current => _reader!.Current;

    public TimelineEntry Timeline => _legs[Math.Max(_leg, 0)].Timeline;

    public WalEnd? End { get; private set; }

    public bool MoveNext()
    {
        if (End is not null)
            return false;
        while (true)
        {
            if (_reader is null)
                Open(_leg + 1);
            if (_reader!.MoveNext())
                return true;
            WalEnd end = _reader.End!;
            if (end.At != _legs[_leg].To || !end.IsWhole || _leg == _legs.Count - 1)
            {
                End = end;
                return false;
            }
            _reader.Dispose();
            _reader = null;
        }
    }

    public void Dispose() => _reader?.Dispose();

    private void Open(int leg)
    {
        _leg = leg;
        PathLeg it = _legs[leg];
        WalRange range = it.From == it.Timeline.StartLsn
            ? WalRange.OfTimeline(it.Timeline.Lineage, it.From, it.KnownEnd)
            : WalRange.FromKnown(it.Timeline.Lineage, it.From, it.KnownEnd);
        _reader = new WalReader(it.Bytes(), it.To < Lsn.MaxValue ? range.UpTo(it.To) : range);
    }
}

/// <summary>No records: a replay that stands at its cut already.</summary>
internal sealed class NoRecords(Lsn at) : IRecordStream
{
    public Lsn From => at;

    public WalRecord Current => throw new InvalidOperationException("There are no records.");

    public TimelineEntry Timeline => throw new InvalidOperationException("There are no records.");

    public WalEnd? End => null;

    public bool MoveNext() => false;

    public void Dispose() { }
}
