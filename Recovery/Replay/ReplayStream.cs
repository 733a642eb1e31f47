using System.Runtime.CompilerServices;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>How large batches are, and how much is held.</summary>
internal sealed record ReplayOptions
{
    /// <summary>A file's batch is delivered when it has so many changes.</summary>
    public int ChangesPerBatch { get; init; } = 1 << 16;

    /// <summary>… or so many bytes.</summary>
    public long BytesPerBatch { get; init; } = 32 << 20;

    /// <summary>All batches are delivered when together they hold so much.</summary>
    public long PendingBytesMax { get; init; } = 256 << 20;

    /// <summary>
    /// After so much WAL, at the end of a group, everything is delivered and a <see cref="ReplayStep.Barrier"/> says so:
    /// a place for a checkpoint.
    /// </summary>
    public long BytesPerBarrier { get; init; } = 1L << 30;

    /// <summary>Called after a few thousand records at most, by who reads; it may wait.</summary>
    public Action? Pace { get; init; }
}

/// <summary>What replay hands out, one after the other.</summary>
internal abstract record ReplayStep
{
    private ReplayStep() { }

    /// <summary>Sorted changes of one datafile; the receiver recycles the batch.</summary>
    public sealed record Changes(ReplayBatch Batch) : ReplayStep;

    /// <summary>
    /// A file or table was created or dropped. Every batch of the file concerned that came before it has been
    /// delivered.
    /// </summary>
    /// <param name="Event">One of CreateDatafile, DropDatafile, CreateTable, DropTable.</param>
    /// <param name="Lsn">The record's LSN.</param>
    /// <param name="IsNew">The catalogue lacks it: put it there. Else only the file lacks it.</param>
    public sealed record Ddl(WalEvent Event, Lsn Lsn, bool IsNew) : ReplayStep;

    /// <summary>Everything at or below this LSN has been delivered, for every file.</summary>
    public sealed record Barrier(Lsn Through, DateTimeOffset Time, TransactionId TransactionId) : ReplayStep;
}

/// <summary>How far replay has come.</summary>
/// <param name="Through">The LSN of the last record read.</param>
/// <param name="Time">Its commit time; of the last record that had one.</param>
/// <param name="TransactionId">The last transaction.</param>
/// <param name="TransactionLsn">Its LSN; zero if there was none.</param>
/// <param name="Records">Records read.</param>
/// <param name="Changes">Changes applied, older versions of a key included.</param>
/// <param name="Skipped">Changes that a file had, or that a drop made void.</param>
internal readonly record struct ReplayProgress(
    Lsn Through, DateTimeOffset Time, TransactionId TransactionId, Lsn TransactionLsn, long Records, long Changes,
    long Skipped);

/// <summary>
/// Turns proven records into sorted batches per datafile, with the DDL events between them, and stops exactly at the
/// cut.
/// </summary>
/// <remarks>
/// <code>
///  records ──▶ which file and table? ──▶ a batch per file ──▶ full: sorted, delivered
///                    │ has it, dropped: passed over             DDL of a file: its batch first, then the event
///                    │ nothing made it: damage                  the cut: all batches, then the end
/// </code>
/// INVARIANTS
///   P1  The last record that is applied is the one whose LSN is the cut; a stream that ends elsewhere is a refusal
///       (I11).
///   P2  A change is delivered if and only if its record's LSN is above what its file has, and neither its file nor its
///       table is dropped at or above that LSN in what is known so far.
///   P3  No file that lies above the cut takes part (H34); a catalogue above the cut does not either (H43).
///   P4  Batches of a file, and the events about it, come in LSN order.
///   P5  A barrier stands between two groups: what a file is flushed to, and the redo point, is the end of one (H1).
///
/// THREADS  one, but for <see cref="WantBarrier"/>; a delivered batch belongs to its receiver. Credits and back pressure are the caller's: who does not
/// call <see cref="MoveNext"/> reads nothing.
/// FAILURE  DamageException for WAL that is damaged or names what nothing made; RefusedException for a gap, or a cut
/// that is not there. After a failure the stream is of no use.
/// </remarks>
internal sealed class ReplayStream : IDisposable
{
    private readonly IRecordStream _records;
    private readonly ReplayCatalogue _catalogue;
    private readonly ReplayOptions _options;
    private readonly ReplayBatchPool _pool;
    private readonly Lsn _cut;
    private readonly Dictionary<FileId, ReplayBatch> _pending = [];
    private readonly Queue<ReplayStep> _ready = new();

    // The file and table of the last operation that was applied: the next one is most often of the same.
    private FileId _lastFile;
    private TableId _lastTable;
    private Lsn _lastHas = Lsn.MaxValue;
    private ReplayBatch? _lastBatch;

    private long _pendingBytes;
    private Lsn _barrierAt;
    private volatile bool _isBarrierWanted;
    private bool _isBehindBarrier; // the record at which the records stand: it is not taken yet
    private Lsn _through;
    private long _timeTicks;
    private TransactionId _transactionId;
    private Lsn _transactionLsn;
    private long _recordCount;
    private long _changeCount;
    private long _skippedCount;

    /// <param name="records">What is read; disposed with the stream.</param>
    /// <param name="catalogue">The catalogue that replay begins with, and what each file has; changed as replay goes
    /// on.</param>
    /// <param name="cut">The LSN of the last record that is applied; MaxValue: to the end of the records.</param>
    /// <param name="options">How large batches are.</param>
    /// <exception cref="RefusedException">TargetUnreachable: a file or the catalogue lies above the cut
    /// (P3).</exception>
    public ReplayStream(IRecordStream records, ReplayCatalogue catalogue, Lsn cut, ReplayOptions? options = null)
    {
        (_records, _catalogue, _cut) = (records, catalogue, cut);
        _options = options ?? new ReplayOptions();
        _pool = new ReplayBatchPool(ordinaryBytes: 2 * _options.BytesPerBatch);
        _through = records.From;
        _barrierAt = _through + _options.BytesPerBarrier;
        if (catalogue.Lsn > cut)
            throw RecoveryErrors.CatalogueAboveCut(catalogue.Lsn, cut);
        foreach ((FileId file, Lsn has) in catalogue.Files)
        {
            if (has > cut && has != Lsn.MaxValue) // MaxValue: it takes no part
                throw RecoveryErrors.FileAboveCut($"number {file}", has, cut);
        }
    }

    /// <summary>What the stream stands at.</summary>
    public ReplayStep Current { get; private set; } = null!;

    /// <summary>True once everything up to the cut was delivered.</summary>
    public bool IsDone { get; private set; }

    /// <summary>How far it has read; what is delivered may lag behind by a batch per file.</summary>
    public ReplayProgress Progress => new(
        _through, new DateTimeOffset(_timeTicks, TimeSpan.Zero), _transactionId, _transactionLsn, _recordCount,
        _changeCount, _skippedCount);

    /// <summary>How the records ended, if they did before or at the cut.</summary>
    public WalEnd? End => _records.End;

    /// <summary>The next step; false when all up to the cut was delivered.</summary>
    public bool MoveNext(CancellationToken cancellation = default)
    {
        while (true)
        {
            if (_ready.TryDequeue(out ReplayStep? step))
            {
                Current = step;
                return true;
            }
            if (IsDone)
                return false;
            cancellation.ThrowIfCancellationRequested();
            ReadSome();
            _options.Pace?.Invoke();
        }
    }

    /// <summary>
    /// A barrier behind the group that is read, although it is not due: who got the changes has no room for many more.
    /// Any thread.
    /// </summary>
    public void WantBarrier() => _isBarrierWanted = true;

    public void Dispose()
    {
        foreach (ReplayStep step in _ready)
        {
            if (step is ReplayStep.Changes changes)
                changes.Batch.Dispose();
        }
        foreach (ReplayBatch batch in _pending.Values)
            batch.Dispose();
        _pool.Dispose();
        _records.Dispose();
    }

    /// <summary>Reads until something is ready, the cut is reached, or a while has passed.</summary>
    private void ReadSome()
    {
        for (int n = 0; n < 4096 && _ready.Count == 0; n++)
        {
            if (_through >= _cut || (!_isBehindBarrier && !_records.MoveNext()))
            {
                EndHere();
                return;
            }
            WalRecord record = _records.Current;
            if (record.Lsn > _cut)
            {
                EndHere();
                return;
            }
            if (!_isBehindBarrier && EndsGroup(record))
            {
                _isBehindBarrier = true;
                return;
            }
            _isBehindBarrier = false;
            Take(record);
        }
    }

    private void Take(WalRecord record)
    {
        Lsn lsn = record.Lsn;
        switch (record.Kind)
        {
            case WalRecordKind.Transaction:
                TakeTransaction(record, lsn);
                (_transactionId, _transactionLsn) = (record.TransactionId, lsn);
                break;
            case WalRecordKind.CreateDatafile or WalRecordKind.DropDatafile
                or WalRecordKind.CreateTable or WalRecordKind.DropTable:
                TakeDdl(record.Event!, lsn);
                break;
            default:
                break; // time, names and checkpoints change no data; a move moves nothing (H30)
        }
        _through = lsn;
        _recordCount++;
        if (record.CommitTimeTicks != 0)
            _timeTicks = record.CommitTimeTicks;
        if (_pendingBytes >= _options.PendingBytesMax)
            DeliverAll();
    }

    /// <summary>
    /// A barrier before the first record of a group, if one is due (P5): who reads from there later, and does not know
    /// how far the WAL was durable, would take the rest of a group for bytes that are no record.
    /// </summary>
    private bool EndsGroup(WalRecord next)
    {
        if ((_through < _barrierAt && !_isBarrierWanted) || next.GroupStart != next.StartLsn || _recordCount == 0)
            return false;
        _isBarrierWanted = false;
        DeliverAll();
        _ready.Enqueue(new ReplayStep.Barrier(_through, Progress.Time, _transactionId));
        _barrierAt = _through + _options.BytesPerBarrier;
        return true;
    }

    private void TakeTransaction(WalRecord record, Lsn lsn)
    {
        ReadOnlySpan<byte> body = record.Body;
        var operations = new OperationReader(body, record.OperationCount);
        int at = 0;
        long before = _changeCount;
        while (operations.MoveNext())
        {
            int keyBytes = operations.Key.Length;
            int operationBytes = OperationCodec.HeaderBytes + keyBytes + operations.Value.Length;
            if (!IsLast(operations.File, operations.Table, lsn) && !Find(operations.File, operations.Table, lsn))
            {
                _skippedCount++;
            }
            else
            {
                _lastBatch!.Append(body.Slice(at, operationBytes), keyBytes, lsn);
                _pendingBytes += operationBytes;
                _changeCount++;
            }
            at += operationBytes;
        }
        if (operations.IsMalformed)
            throw RecoveryErrors.BodyMalformed(lsn);
        if (_changeCount != before)
            DeliverFull(lsn);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool IsLast(FileId file, TableId table, Lsn lsn) =>
        table == _lastTable && file == _lastFile && lsn > _lastHas && _lastBatch is not null;

    /// <summary>Sees to it that the last batch is the operation's; false if the operation is passed over.</summary>
    private bool Find(FileId file, TableId table, Lsn lsn)
    {
        if (_catalogue.FateOf(file, table, lsn) == ReplayFate.Skip)
            return false;
        if (!_pending.TryGetValue(file, out ReplayBatch? batch))
            _pending.Add(file, batch = _pool.Take(file));
        (_lastFile, _lastTable, _lastHas, _lastBatch) = (file, table, _catalogue.HasOf(file), batch);
        return true;
    }

    private void TakeDdl(WalEvent what, Lsn lsn)
    {
        Forget();
        switch (what)
        {
            case WalEvent.CreateDatafile it:
                if (_catalogue.CreateFile(it.FileId, lsn))
                    _ready.Enqueue(new ReplayStep.Ddl(it, lsn, IsNew: true));
                break;
            case WalEvent.DropDatafile it:
                if (_catalogue.DropFile(it.FileId, lsn))
                {
                    if (_pending.Remove(it.FileId, out ReplayBatch? voided))
                        voided.Recycle();
                    _ready.Enqueue(new ReplayStep.Ddl(it, lsn, IsNew: true));
                }
                break;
            case WalEvent.CreateTable it:
                if (_catalogue.CreateTable(it.TableId, it.FileId, lsn))
                    _ready.Enqueue(new ReplayStep.Ddl(it, lsn, IsNew: true));
                break;
            case WalEvent.DropTable it:
                bool isNew = _catalogue.DropTable(it.TableId, it.FileId, lsn);
                bool fileLacksIt = _catalogue.HasOf(it.FileId) < lsn;
                if (fileLacksIt)
                    Deliver(it.FileId, _through);
                if (isNew || fileLacksIt)
                    _ready.Enqueue(new ReplayStep.Ddl(it, lsn, isNew));
                break;
            default:
                throw new BugException($"No replay for the event {what.Kind}.");
        }
    }

    /// <summary>Delivers the batches that are full, after the record with this LSN.</summary>
    private void DeliverFull(Lsn through)
    {
        if (_pending.Count == 1)
        {
            if (IsFull(_lastBatch!))
                Deliver(_lastBatch!.File, through);
            return;
        }
        List<FileId>? full = null;
        foreach (ReplayBatch batch in _pending.Values)
        {
            if (IsFull(batch))
                (full ??= []).Add(batch.File);
        }
        foreach (FileId file in full ?? [])
            Deliver(file, through);
    }

    private bool IsFull(ReplayBatch batch) =>
        batch.ChangeCount >= _options.ChangesPerBatch || batch.Bytes >= _options.BytesPerBatch;

    private void DeliverAll()
    {
        foreach (FileId file in _pending.Keys.OrderBy(file => file.Value).ToArray())
            Deliver(file, _through);
    }

    private void Deliver(FileId file, Lsn through)
    {
        if (!_pending.Remove(file, out ReplayBatch? batch))
            return;
        Forget();
        _pendingBytes = _pending.Values.Sum(pending => pending.Bytes);
        batch.ThroughLsn = Lsn.Max(through, batch.LastLsn);
        batch.Seal();
        _ready.Enqueue(new ReplayStep.Changes(batch));
    }

    private void Forget()
    {
        _lastBatch = null;
        _lastHas = Lsn.MaxValue;
    }

    private void EndHere()
    {
        // P1. The WAL of the records ends at the cut, or a record beyond the cut was seen.
        if (_cut < Lsn.MaxValue && _through != _cut)
        {
            throw _records.End is { IsWhole: false } broken
                ? broken.ToException()
                : RecoveryErrors.CutMissed(_cut, _through, _records.End?.Why ?? "the next record lies beyond it");
        }
        if (_cut == Lsn.MaxValue && _records.End is { IsWhole: false } end)
            throw end.ToException();
        DeliverAll();
        IsDone = true;
    }
}
