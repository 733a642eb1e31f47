using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>A transaction that is registered with <see cref="CommitValidation"/>.</summary>
internal sealed class TransactionTicket
{
    internal TransactionTicket? Older;
    internal TransactionTicket? Newer;

    internal TransactionTicket(Lsn begin) => Begin = begin;

    /// <summary>The last LSN stamped before it was registered; its snapshot stands there or above (H37).</summary>
    public Lsn Begin { get; }

    /// <summary>False once it ended.</summary>
    public bool IsOpen { get; internal set; } = true;
}

/// <summary>Who read what, who wrote what: a transaction is serializable, or in conflict.</summary>
/// <remarks>
/// THE RULE  transactions are serialized in the order of their LSNs. One that read a snapshot at S and is to be stamped
/// now passes if and only if nothing that it read (keys, ranges, tables) was changed above S: then it would read the
/// same now.
///
/// H37  What is written while no transaction is open is not noted. So a transaction registers first, with the last LSN
/// stamped so far (its begin), and may take its snapshot only when the visible LSN has reached that begin: what was
/// stamped before the registration is then in its snapshot, and what is stamped after it is noted here. A snapshot
/// below begin would miss the writes between, which nobody noted; <see cref="TryValidate"/> requires S ≥ begin.
///
/// STATE  kept only while a transaction is open; blind batches then and only then cost a note per key
///   keys     two generations of <see cref="LastWrites"/>: exact, 16 bytes a slot; when the young one is full the old
///            one is forgotten and they change places
///   ranges   a list of <see cref="WrittenKeys"/>, oldest first; past the bound the oldest is forgotten
///   tables   the drops since the oldest begin
///
/// INVARIANTS
///   V1  Every write above KeysFrom (RangesFrom) and above the begin of an open transaction is in the tables (the
///       list).
///   V2  A transaction whose snapshot is below KeysFrom or RangesFrom, as far as it read keys or ranges, does not pass:
///       SnapshotTooOld. So forgetting makes conflicts, never a wrong pass.
///   V3  Tickets are registered in the order of their begins: the oldest ticket has the least.
///
/// Memory: at most 2 × KeysMax × 32 bytes of tables (16 MiB at the default) and the range list's bound.
/// THREADS  WalWriter's only.
/// </remarks>
internal sealed class CommitValidation
{
    public const int KeysMaxDefault = 1 << 18;
    public const int RangeBytesMaxDefault = 32 << 20;
    private const int SpareRunsMax = 32;

    /// <summary>Runs that the validation of one transaction sorts: about 2 ms.</summary>
    internal const int SortsMax = 4;

    private readonly int _runsMax;
    private readonly List<WrittenKeys> _runs = [];
    private readonly Stack<WrittenKeys> _spareRuns = new();
    private readonly List<(TableId Table, Lsn Lsn)> _drops = [];
    private LastWrites _young;
    private LastWrites _old;
    private TransactionTicket? _oldest;
    private TransactionTicket? _newest;
    private Lsn _lastNoted;

    /// <param name="keysMax">Keys in one generation.</param>
    /// <param name="rangeBytesMax">Bound of the list of written keys, in bytes.</param>
    public CommitValidation(int keysMax = KeysMaxDefault, int rangeBytesMax = RangeBytesMaxDefault)
    {
        (_young, _old) = (new LastWrites(keysMax), new LastWrites(keysMax));
        _runsMax = Math.Max(2, rangeBytesMax / (WrittenKeys.KeyBytesMax + (WrittenKeys.EntriesMax * 16)));
    }

    /// <summary>True while a transaction is open: only then must writes be noted.</summary>
    public bool IsTracking => _oldest is not null;

    /// <summary>What was written at or below is forgotten, for keys (V2).</summary>
    public Lsn KeysFrom { get; private set; }

    /// <summary>What was written at or below is forgotten, for ranges (V2).</summary>
    public Lsn RangesFrom { get; private set; }

    /// <summary>Runs of written keys, and how many of them are sorted.</summary>
    internal (int All, int Sorted) Runs => (_runs.Count, _runs.Count(run => run.IsSorted));

    /// <summary>Registers a transaction.</summary>
    /// <param name="lastStamped">The last LSN that was stamped. The snapshot waits until the visible LSN reached it
    /// (H37).</param>
    public TransactionTicket Begin(Lsn lastStamped)
    {
        if (!IsTracking)
            StartTracking(lastStamped);
        if (lastStamped < (_newest?.Begin ?? Lsn.Zero))
            Invariant.Require(false, "V3",
                $"A transaction begins at {lastStamped}, below one that began before it.");
        var ticket = new TransactionTicket(lastStamped) { Older = _newest };
        if (_newest is null)
            _oldest = ticket;
        else
            _newest.Newer = ticket;
        _newest = ticket;
        return ticket;
    }

    /// <summary>Ends a transaction, whether it committed or not. A second time is nothing.</summary>
    public void End(TransactionTicket ticket)
    {
        if (!ticket.IsOpen)
            return;
        ticket.IsOpen = false;
        if (ticket.Older is null)
            _oldest = ticket.Newer;
        else
            ticket.Older.Newer = ticket.Newer;
        if (ticket.Newer is null)
            _newest = ticket.Older;
        else
            ticket.Newer.Older = ticket.Older;
        Forget();
    }

    /// <summary>
    /// True if the transaction may be stamped as the next one. Its own writes are noted afterwards, before the next is
    /// validated.
    /// </summary>
    public bool TryValidate(ReadSet reads, TransactionTicket ticket, out ConflictException? conflict)
    {
        Invariant.Require(ticket.IsOpen, "V1", "A transaction that ended is validated.");
        Lsn snapshot = reads.SnapshotLsn.IsZero ? ticket.Begin : reads.SnapshotLsn;
        if (snapshot < ticket.Begin)
            Invariant.Require(false, "V1",
                $"A snapshot at {snapshot} was taken below its transaction's begin {ticket.Begin} (H37).");
        conflict = WhyNot(reads, snapshot);
        return conflict is null;
    }

    /// <summary>Notes the writes of a commit that was stamped; nothing while no transaction is open.</summary>
    /// <param name="body">Its operations.</param>
    /// <param name="operationCount">How many.</param>
    /// <param name="lsn">Its LSN: above all that were noted.</param>
    public void NoteWrites(ReadOnlySpan<byte> body, uint operationCount, Lsn lsn)
    {
        if (!IsTracking)
            return;
        if (lsn <= _lastNoted) // the text is made only when it is needed: this runs for every commit
            Invariant.Require(false, "V1", $"{lsn} is noted after {_lastNoted}.");
        var operations = new OperationReader(body, operationCount);
        while (operations.MoveNext())
        {
            NoteKey(ReadSet.HashOf(operations.Key), lsn);
            NoteForRanges(operations.Key, lsn);
        }
        if (operations.IsMalformed)
            Invariant.Require(false, "V1", $"The transaction at {lsn} holds bytes that are no operation.");
        _lastNoted = lsn;
    }

    /// <summary>Notes that a table was dropped: that conflicts with every transaction that read it (H43).</summary>
    public void NoteTableDropped(TableId table, Lsn lsn)
    {
        if (IsTracking)
            _drops.Add((table, lsn));
    }

    private ConflictException? WhyNot(ReadSet reads, Lsn snapshot)
    {
        if (reads.Keys.Count > 0 && snapshot < KeysFrom)
            return ValidationErrors.SnapshotTooOld(snapshot, KeysFrom);
        if (reads.Ranges.Count > 0 && snapshot < RangesFrom)
            return ValidationErrors.SnapshotTooOld(snapshot, RangesFrom);
        if (_lastNoted > snapshot)
        {
            foreach (ulong key in reads.Keys)
            {
                Lsn written = Lsn.Max(_young.LastOf(key), _old.LastOf(key));
                if (written > snapshot)
                    return ValidationErrors.Conflict("A key", snapshot, written);
            }
            int sorts = SortsMax;
            foreach ((byte[] from, byte[] to) in reads.Ranges)
            {
                for (int run = _runs.Count - 1; run >= 0 && _runs[run].Last > snapshot; run--)
                {
                    Lsn written = _runs[run].WrittenAfter(snapshot, from, to, ref sorts);
                    if (!written.IsZero)
                        return ValidationErrors.Conflict("A range", snapshot, written);
                }
            }
        }
        foreach ((TableId table, Lsn lsn) in _drops)
        {
            if (lsn > snapshot
                && (reads.Tables.Contains(table) || reads.Ranges.Any(range => ReadSet.RangeMeets(range, table))))
                return ValidationErrors.Conflict("A table", snapshot, lsn);
        }
        return null;
    }

    private void StartTracking(Lsn from)
    {
        _young.Reset(from);
        _old.Reset(from);
        foreach (WrittenKeys run in _runs)
            Spare(run);
        _runs.Clear();
        _drops.Clear();
        (KeysFrom, RangesFrom, _lastNoted) = (from, from, from);
    }

    /// <summary>Lets go what no open transaction can ask for: all runs at or below the oldest begin.</summary>
    private void Forget()
    {
        Lsn needed = _oldest?.Begin ?? Lsn.MaxValue;
        int runs = 0;
        while (runs < _runs.Count && _runs[runs].Last <= needed)
        {
            RangesFrom = Lsn.Max(RangesFrom, _runs[runs].Last);
            Spare(_runs[runs++]);
        }
        _runs.RemoveRange(0, runs);
        _drops.RemoveAll(drop => drop.Lsn <= needed);
    }

    private void NoteKey(ulong hash, Lsn lsn)
    {
        if (_young.TryNote(hash, lsn))
            return;
        KeysFrom = Lsn.Max(KeysFrom, _old.Last);
        (_young, _old) = (_old, _young);
        _young.Reset(_lastNoted);
        bool noted = _young.TryNote(hash, lsn);
        Invariant.Require(noted, "V1", "An empty table takes no key.");
    }

    private void NoteForRanges(ReadOnlySpan<byte> key, Lsn lsn)
    {
        if (_runs.Count > 0 && _runs[^1].TryAppend(key, lsn))
            return;
        if (_runs.Count == _runsMax)
        {
            RangesFrom = Lsn.Max(RangesFrom, _runs[0].Last);
            Spare(_runs[0]);
            _runs.RemoveAt(0);
        }
        _runs.Add(_spareRuns.TryPop(out WrittenKeys? spare) ? spare : new WrittenKeys());
        bool noted = _runs[^1].TryAppend(key, lsn);
        Invariant.Require(noted, "V1", "An empty run takes no key.");
    }

    private void Spare(WrittenKeys run)
    {
        run.Reset();
        if (_spareRuns.Count < SpareRunsMax)
            _spareRuns.Push(run);
    }
}
