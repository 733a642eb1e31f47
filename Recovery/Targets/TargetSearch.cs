namespace Pitr.Recovery;

/// <summary>What the search for a target needs to know of a record; its bytes are somebody else's business.</summary>
/// <param name="Lineage">The timeline's random identifier.</param>
/// <param name="StartLsn">Where the record begins.</param>
/// <param name="Lsn">The record's LSN: just past its last byte.</param>
/// <param name="TransactionId">0 if the record is no transaction.</param>
/// <param name="CommitTimeTicks">100 ns units; 0 if the record carries no time.</param>
/// <param name="RawClockTicks">100 ns units: what the clock said; 0 if the record carries no time.</param>
/// <param name="RestorePoint">The name, if the record is a restore point.</param>
internal readonly record struct RecordSummary(
    Lineage Lineage,
    Lsn StartLsn,
    Lsn Lsn,
    TransactionId TransactionId,
    long CommitTimeTicks,
    long RawClockTicks,
    string? RestorePoint = null)
{
    public bool IsTransaction => TransactionId.Value != 0;
}

/// <summary>Finds the cut of a target in a stream of record summaries along one path of timelines.</summary>
/// <remarks>
/// The cut is the LSN of the last record that is applied. It is found when it is certain that no later record belongs
/// to the result:
/// <code>
///  target            belongs to the result if       certain when
///  latest            always                         the WAL ends
///  immediate         LSN ≤ stop of the set          the WAL reaches the stop
///  LSN L             LSN ≤ L   (before: LSN &lt; L)    a record beyond was seen, or the WAL reaches L
///  time T            commit time ≤ T   (before: &lt;)   a record beyond was seen (H34): at the very end of the WAL more of
///                                                   the same moment may be missing
///  transaction X     up to X's record (before: not) X's record was seen
///  restore point N   up to N's record (before: not) N's record was seen
/// </code>
/// A time target goes on looking behind its cut: a record there whose raw clock is at or before the target means that
/// the clock had stepped, and that a cut by time is one of several (H8). Its LSNs are in <see cref="Earlier"/>.
///
/// INVARIANTS  T1: summaries come in LSN order along the path. T2: after the cut is found it never changes.
/// THREADS  one.
/// </remarks>
internal sealed class TargetSearch
{
    /// <summary>How many LSNs of records that make a time ambiguous are kept.</summary>
    public const int EarlierMax = 8;

    private readonly RecoveryTarget _target;
    private readonly Lsn _stop;
    private readonly List<Lsn> _earlier = [];

    /// <param name="target">Where to stop.</param>
    /// <param name="stop">The set's stop LSN: nothing before it is a result.</param>
    public TargetSearch(RecoveryTarget target, Lsn stop) => (_target, _stop) = (target, stop);

    /// <summary>True once it is certain where replay stops.</summary>
    public bool IsFound { get; private set; }

    /// <summary>The last record that belongs to the result so far; final once <see cref="IsFound"/>.</summary>
    public RecordSummary? Last { get; private set; }

    /// <summary>The last transaction that belongs to the result.</summary>
    public RecordSummary? LastTransaction { get; private set; }

    /// <summary>The first record that does not belong to the result; null if none was seen.</summary>
    public RecordSummary? Next { get; private set; }

    /// <summary>The first transaction that does not belong to the result; null if none was seen yet.</summary>
    public RecordSummary? NextTransaction { get; private set; }

    /// <summary>Records beyond the cut whose raw clock is at or before the target time: the first few.</summary>
    public IReadOnlyList<Lsn> Earlier => _earlier;

    /// <summary>The LSN of the last record that is applied.</summary>
    public Lsn Cut => Last?.Lsn ?? Lsn.Zero;

    /// <summary>True while records beyond the cut can still change the answer (H8).</summary>
    public bool WantsMore => !IsFound || (_target.Kind == RecoveryTarget.Form.Time && _earlier.Count < EarlierMax);

    /// <summary>Takes the next record.</summary>
    public void Offer(in RecordSummary record)
    {
        if (Next is not null || !Belongs(record))
        {
            Beyond(record);
            return;
        }
        Last = record;
        if (record.IsTransaction)
            LastTransaction = record;
        IsFound = IsEndedBy(record);
    }

    /// <summary>The WAL ends here: every byte below <paramref name="end"/> was seen.</summary>
    public void End(Lsn end)
    {
        IsFound |= _target.Kind switch
        {
            RecoveryTarget.Form.Latest => true,
            RecoveryTarget.Form.Immediate => end >= _stop,
            RecoveryTarget.Form.Lsn => end >= _target.Lsn,
            _ => false,
        };
    }

    private void Beyond(in RecordSummary record)
    {
        if (Next is null)
        {
            Next = record;
            IsFound = true;
        }
        if (NextTransaction is null && record.IsTransaction)
            NextTransaction = record;
        if (_target.Kind == RecoveryTarget.Form.Time && record.RawClockTicks != 0 && _earlier.Count < EarlierMax
            && Reaches(record.RawClockTicks))
            _earlier.Add(record.Lsn);
    }

    private bool Belongs(in RecordSummary record) => _target.Kind switch
    {
        RecoveryTarget.Form.Latest => true,
        RecoveryTarget.Form.Immediate => record.Lsn <= _stop,
        RecoveryTarget.Form.Lsn => _target.IsInclusive ? record.Lsn <= _target.Lsn : record.Lsn < _target.Lsn,
        RecoveryTarget.Form.Time => record.CommitTimeTicks == 0 || Reaches(record.CommitTimeTicks),
        _ => !IsFound && (_target.IsInclusive || !IsNamed(record)),
    };

    private bool IsEndedBy(in RecordSummary record) => _target.Kind switch
    {
        RecoveryTarget.Form.Immediate => record.Lsn >= _stop,
        RecoveryTarget.Form.Lsn => _target.IsInclusive && record.Lsn == _target.Lsn,
        RecoveryTarget.Form.Transaction or RecoveryTarget.Form.RestorePoint => IsNamed(record),
        _ => false,
    };

    private bool IsNamed(in RecordSummary record) => _target.Kind switch
    {
        RecoveryTarget.Form.Transaction => record.TransactionId == _target.TransactionId,
        RecoveryTarget.Form.RestorePoint => record.RestorePoint == _target.Name,
        _ => false,
    };

    private bool Reaches(long ticks) =>
        _target.IsInclusive ? ticks <= _target.Time.UtcTicks : ticks < _target.Time.UtcTicks;
}
