using Akka.Actor;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// The replay of one datafile: a worker reads and sorts, the new owner applies, credits hold the reader back. What is
/// buffered is flushed before it is much, since the others' commits have the memory.
/// </summary>
internal sealed partial class DatafileRecoverer
{
    private const int BatchesMax = 3;

    /// <summary>While the reader is busy, it and the owner that applies: 36 % of a replay's work is the reader's.</summary>
    private const double ThreadsOfReplay = 1 / 0.36;

    private static readonly TimeSpan PaceInterval = TimeSpan.FromSeconds(1);

    private readonly WorkerGate _streamGate; // a step of the stream, or its end
    private ReplayCatalogue? _catalogue;
    private Datafile? _replayed;
    private ReplayStream? _stream;
    private ProcessorShare? _readersPace;
    private ReplayStep.Barrier? _barrier;
    private Lsn _through;
    private long _records;
    private int _batches;
    private bool _isRead;
    private bool _isFlushing;
    private bool _isClosing;
    private bool _isNoted;

    private long BufferedBytesMax => Math.Max(64 << 10, _engine.WriteBufferBytesMax / 8);

    /// <summary>From where the file is to the last LSN stamped for it (DR2).</summary>
    private void BeginReplay()
    {
        PlannedFileRecovery plan = _plan!;
        Lsn from = _catalogue is null ? plan.Base.From : _through;
        ReplayCatalogue catalogue = _catalogue ??= plan.Catalogue();
        (Lsn to, long buffered) = (_end, BufferedBytesMax);
        (_isRead, _isFlushing) = (false, false);
        (WorkerGate gate, RestoreHold? held) = (_streamGate, _storesHeld);
        ProcessorShare pace = _readersPace ??= PaceOf(ThreadsOfReplay);
        Work(_ =>
        {
            pace.BeginPiece();
            var stream = new ReplayStream(plan.OpenRecords(from, to), catalogue, to, new ReplayOptions
            {
                BytesPerBarrier = buffered,
                PendingBytesMax = buffered / 2,
                BytesPerBatch = Math.Min(buffered / 2, 8 << 20),
                Pace = pace.EndPiece,
            });
            return Read(stream, gate, held);
        });
    }

    private ProcessorShare PaceOf(double busyThreads) => PaceBesideCommits.Of(
        _engine, _plan!.Request.End, PaceBesideCommits.OfRecovery, busyThreads, _cancel.Token);

    private static ReplayRead Read(ReplayStream stream, WorkerGate gate, RestoreHold? held)
    {
        held?.RenewIfDue();
        return gate.Run(() => new ReplayRead(stream, stream.MoveNext() ? stream.Current : null));
    }

    private void ReadOn()
    {
        if (_isWorking || _isRead || _barrier is not null || _batches >= BatchesMax || _stream is not { } stream)
            return;
        (WorkerGate gate, RestoreHold? held, ProcessorShare pace) = (_streamGate, _storesHeld, _readersPace!);
        Work(_ =>
        {
            pace.BeginPiece();
            return Read(stream, gate, held);
        });
    }

    private void TakeReplay(ReplayRead read)
    {
        _stream = read.Stream;
        _pace!.Through = read.Stream.Progress.Through;
        switch (read.Step)
        {
            case null:
                _isRead = true;
                _records += read.Stream.Progress.Records;
                LetStreamGo();
                break;
            case ReplayStep.Changes changes:
                _batches++;
                _owner.Tell(new ApplyReplay(changes.Batch));
                if (_replayed!.BufferedBytes > BufferedBytesMax)
                    read.Stream.WantBarrier();
                break;
            case ReplayStep.Ddl { Event: WalEvent.DropTable drop } ddl:
                _owner.Tell(new ReplayDropTable(drop.TableId, ddl.Lsn));
                break;
            case ReplayStep.Ddl:
                break; // the catalogue has it
            case ReplayStep.Barrier barrier:
                _barrier = barrier;
                break;
            default:
                throw new BugException($"Replay handed out a {read.Step.GetType().Name}.");
        }

        AfterBatch();
    }

    private void AfterBatch()
    {
        if (_batches == 0 && !_isFlushing && (_isRead || _barrier is not null))
        {
            _isFlushing = true;
            Lsn to = _barrier?.Through ?? _end;
            _owner.Tell(new SealReplay(to, _plan!.LineageOf(to), Self));
        }

        ReadOn();
    }

    private void Flushed(FileClean clean)
    {
        _isFlushing = false;
        if (_barrier is not null)
        {
            _barrier = null;
            AfterBatch();
            return;
        }

        _through = _end;
        Lsn end = _end;
        string? stored = _plan!.Place.StoredPath;
        _routes.ControlFile.Tell(new ChangeControlFile(now => now.WithRecovered(clean, end, stored)));
    }

    /// <summary>
    /// The control file names the file, durably: it serves from here on. Or the redo point has overtaken a file that was
    /// given up; then it is brought up once more.
    /// </summary>
    private void Noted(Pitr.Storage.ControlFile now)
    {
        if (now.Catalogue.File(_file!.Value) is not { } file)
        {
            Fail(Problem.From(EngineErrors.DatafileUnknown(_run.Request.Datafile)));
            return;
        }

        if (file.NeedsRecovery is null && file.Incarnation == _replayed!.Incarnation && file.CleanUpTo >= _end)
        {
            _isNoted = true;
            Timers.Cancel(nameof(PaceDue));
            _engine.Visibility.WhenVisible(_end, Self, new IsVisible()); // no reader's LSN may lie below its root
        }
        else
        {
            CloseToCommits();
        }
    }

    /// <summary>A worker may be inside: it is disposed after that, elsewhere.</summary>
    private void LetStreamGo()
    {
        if (_stream is not { } stream)
            return;
        _stream = null;
        WorkerGate gate = _streamGate;
        _engine.Workers.Start(
            ActorRefs.Nobody,
            () => gate.Run<object>(() =>
            {
                stream.Dispose();
                return new PaceDue();
            }),
            static error => new StepFailed(error));
    }

    private sealed record ReplayRead(ReplayStream Stream, ReplayStep? Step);
}
