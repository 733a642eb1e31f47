using System.Threading.Tasks.Sources;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// One caller's commit on its way: from the intake through a group to "durable and visible". It belongs to a
/// <see cref="WriteBatch"/> and is used again with it, so that a commit allocates nothing.
/// </summary>
/// <remarks>
/// THREADS  the caller fills it and awaits; WalWriter takes it (<see cref="TryTake"/>), stamps it and, through the
/// group, completes it. A cancelled wait races with both: <see cref="TryTake"/> and <see cref="Cancel"/> decide by
/// compare-and-swap who was first. Before it was taken a cancellation withdraws the commit; afterwards only the wait
/// ends. Either way the engine may still hold this object and its record, so the batch goes on with new ones.
/// </remarks>
internal sealed class PendingCommit : IValueTaskSource<CommitResult>
{
    private const int Idle = 0, Queued = 1, Taken = 2, Left = 3;

    private readonly WriteBatch _batch;
    private ManualResetValueTaskSourceCore<CommitResult> _core;
    private CancellationTokenRegistration _cancellation;
    private CancellationToken _token;
    private IThreads _threads = PoolThreads.Instance;
    private int _state;

    public PendingCommit(WriteBatch batch) => _batch = batch;

    /// <summary>Link of the intake's list.</summary>
    public PendingCommit? Next;

    /// <summary>The record with room for its header; the engine's while the commit is under way.</summary>
    public byte[] Record { get; private set; } = [];

    public int RecordBytes { get; private set; }
    public uint OperationCount { get; private set; }
    public uint BodyCrc { get; private set; }
    public TableId[] Tables { get; private set; } = [];
    public int TableCount { get; private set; }
    public FileId[] Files { get; private set; } = [];
    public int FileCount { get; private set; }

    /// <summary>When it was handed in, if it may open a group and somebody wants to know; else 0.</summary>
    public long Since { get; set; }

    /// <summary>What a transaction read; null for a blind batch and for a begin.</summary>
    public ReadSet? Reads { get; set; }

    /// <summary>The transaction that this belongs to; null for a blind batch.</summary>
    public TransactionTicket? Ticket { get; set; }

    /// <summary>True if this only registers a transaction (H37); it has no record.</summary>
    public bool IsBegin { get; private set; }

    /// <summary>Set by WalWriter when it stamps the record.</summary>
    public CommitResult Result { get; set; }

    public bool IsUnderWay => Volatile.Read(ref _state) != Idle;

    /// <summary>Bytes that it counts for in the intake's bound.</summary>
    public int IntakeBytes => RecordBytes + 64;

    /// <summary>Readies it for a commit of its batch.</summary>
    public void Prepare(IThreads threads, CancellationToken token)
    {
        Reset(threads, token);
        RecordBytes = _batch.SealRecord();
        Record = _batch.Record;
        OperationCount = (uint)_batch.Count;
        BodyCrc = RecordCodec.BodyState(Record.AsSpan(RecordCodec.HeaderBytes, RecordBytes - RecordCodec.HeaderBytes));
        TableCount = CopyOf(_batch.Tables, out TableId[] tables, Tables);
        Tables = tables;
        FileCount = CopyOf(_batch.Files, out FileId[] files, Files);
        Files = files;
    }

    /// <summary>Readies it to register a transaction.</summary>
    public void PrepareBegin(IThreads threads, CancellationToken token)
    {
        Reset(threads, token);
        RecordBytes = 0;
        OperationCount = 0;
        TableCount = FileCount = 0;
        IsBegin = true;
    }

    /// <summary>The task of this round. Call once, after Prepare and before the intake gets it.</summary>
    public ValueTask<CommitResult> Task => new(this, _core.Version);

    /// <summary>Lets a cancellation end the wait. Called once it is in the intake.</summary>
    public void ArmCancellation()
    {
        if (_token.CanBeCanceled)
            _cancellation = _token.UnsafeRegister(static state => ((PendingCommit)state!).Cancel(), this);
    }

    /// <summary>WalWriter takes it into a group; false if it was withdrawn before.</summary>
    public bool TryTake() => Interlocked.CompareExchange(ref _state, Taken, Queued) == Queued;

    /// <summary>Durable and visible: the caller goes on at once, on this thread, which is one of the pool.</summary>
    public void Complete()
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Taken) == Taken)
        {
            _cancellation.Dispose(); // waits for a callback that runs: it must not meet the next round
            _core.RunContinuationsAsynchronously = false;
            _core.SetResult(Result);
        }
    }

    /// <summary>The caller gets an error.</summary>
    public void Complete(Exception error)
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Taken) != Taken
            && Interlocked.CompareExchange(ref _state, Idle, Queued) != Queued)
            return; // the caller left
        _cancellation.Dispose(); // waits for a callback that runs: it must not meet the next round
        _core.SetException(error);
    }

    /// <summary>
    /// The caller gets an error while datafiles may still read the record: the batch goes on with a copy of it, and the
    /// engine keeps the one that it has.
    /// </summary>
    public void Abandon(Exception error)
    {
        if (Interlocked.CompareExchange(ref _state, Left, Taken) != Taken)
            return; // it was completed, or the caller left
        _cancellation.Dispose();
        _batch.DetachWithContent();
        _core.SetException(error);
    }

    CommitResult IValueTaskSource<CommitResult>.GetResult(short token) => _core.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<CommitResult>.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource<CommitResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(_threads.Continuation(continuation), state, token, flags);

    private void Cancel()
    {
        if (Interlocked.CompareExchange(ref _state, Left, Queued) != Queued
            && Interlocked.CompareExchange(ref _state, Left, Taken) != Taken)
            return; // it was completed
        _batch.Detach();
        _core.SetException(new OperationCanceledException(_token));
    }

    private void Reset(IThreads threads, CancellationToken token)
    {
        if (Interlocked.CompareExchange(ref _state, Queued, Idle) != Idle)
            throw new InvalidOperationException(
                "A commit of this batch is under way; await it before the batch is used again.");
        _core.Reset();
        _threads = threads;
        // of an error or a cancellation, which may come on any thread
        _core.RunContinuationsAsynchronously = threads.Promises == TaskCreationOptions.RunContinuationsAsynchronously;
        _token = token;
        _cancellation = default;
        Next = null;
        IsBegin = false;
        Result = default;
    }

    private static int CopyOf<T>(ReadOnlySpan<T> from, out T[] to, T[] old)
    {
        to = old.Length >= from.Length ? old : new T[Math.Max(2, from.Length)];
        from.CopyTo(to);
        return from.Length;
    }
}
