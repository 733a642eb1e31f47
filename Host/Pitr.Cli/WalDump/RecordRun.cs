using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>Tells what was passed over between good records from the end of a log (H6).</summary>
/// <remarks>
/// What lies between two good records of one run and is none itself is damage if a record of a later group follows: a group
/// is written only after the one before it was synced. Before good records of its own group it is a torn tail, or a group
/// that a running engine has not written to its end yet. What lies before the first record of a run may be the rest of one
/// that began in front of it. THREADS  one.
/// </remarks>
internal sealed class RecordRun
{
    private readonly List<(Lsn From, Lsn To)> _open = [];
    private readonly List<SearchGap> _damaged = [];
    private Lsn? _expected;

    /// <summary>What is damaged.</summary>
    public IReadOnlyList<SearchGap> Damaged => _damaged;

    /// <summary>A good record, in the order of their LSNs.</summary>
    public void Take(FoundRecord found)
    {
        WalRecord record = found.Record;
        Lsn start = record.StartLsn;
        if (_expected is { } expected && start > expected)
            _open.Add((expected, start));
        Lsn group = record.GroupStart;
        foreach ((Lsn from, Lsn to) in _open.Where(one => one.From < group))
            _damaged.Add(new SearchGap(found.Timeline, from, to, IsDamaged: true));
        _open.RemoveAll(one => one.From < group);
        _expected = start + found.Bytes.Length;
    }

    /// <summary>What comes next does not follow.</summary>
    public void Break()
    {
        _open.Clear();
        _expected = null;
    }

    /// <summary>What comes next follows and is good WAL, but is not looked at: up to there all must have been records.</summary>
    public void Break(TimelineId timeline, Lsn end)
    {
        foreach ((Lsn from, Lsn to) in _open)
            _damaged.Add(new SearchGap(timeline, from, to, IsDamaged: true));
        if (_expected is { } expected && expected < end)
            _damaged.Add(new SearchGap(timeline, expected, end, IsDamaged: true));
        Break();
    }
}
