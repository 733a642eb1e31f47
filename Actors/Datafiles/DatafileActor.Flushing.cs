using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>How changes get into the buffers, and from there into the file; and what comes after a flush.</summary>
internal sealed partial class DatafileActor
{
    // ---- applying --------------------------------------------------------------------------------

    private void Apply(ApplyPart part)
    {
        if (!_progress.Apply(part))
            return;
        if (_progress.IsSealWanted)
            SealIfPossible();
        _engine.Visibility.Applied(part.Group, _slot.Id);
        AskForFlushIfLarge();
    }

    /// <summary>
    /// The file's share of the write buffers is large: a checkpoint is due.
    /// </summary>
    private void AskForFlushIfLarge()
    {
        long limit = _engine.WriteBufferBytesMax;
        if (_state == DatafileState.Fenced)
            KeepFencedWithin(limit);
        if (_file.BufferedBytes < limit / 4)
        {
            _isFlushAsked = false;
            return;
        }

        if (_isFlushAsked || _state != DatafileState.Open)
            return;
        _isFlushAsked = true;
        Context.Parent.Tell(new CheckpointProtocol.CheckpointWanted(
            $"datafile {_slot.Name} buffers {_file.BufferedBytes} bytes"));
    }

    // ---- sealing and flushing --------------------------------------------------------------------

    private void TakeSeal(Seal request)
    {
        _progress.Reach(request.Lsn); // the barrier stands between two groups
        if (_fences.Book.IsWanted)
        {
            request.ReplyTo.Tell(SkippedNow() with { State = DatafileState.Fenced });
            return;
        }

        _progress.Await(request.Lsn, request.ReplyTo);
        if (_flush is null && !_progress.IsInGroup && !_file.HasChanges)
        {
            _progress.Seal();
            _progress.NoteClean(request.Lsn);
            AnswerSeals();
            return;
        }

        _progress.IsSealWanted = true;
        SealIfPossible();
    }

    private void SealIfPossible()
    {
        if (!_progress.CanSeal)
            return; // F5: after the last part, or when the running flush has ended
        _progress.Seal();
        if (_flush is null)
            StartFlush("checkpoint");
    }

    private void StartFlush(string why)
    {
        if (WaitsForSpill(why))
            return;
        if (_file.NeedsSeal)
        {
            if (_progress.IsInGroup)
            {
                _progress.IsSealWanted = true; // F5: the last part of the group is in the mailbox
                Enter(DatafileState.Flushing, why);
                return;
            }

            _progress.Seal();
        }

        if (_file.PrepareFlush(_progress.Lineage) is { } job)
        {
            Enter(DatafileState.Flushing, why);
            RunFlush(job);
        }
        else
        {
            _progress.NoteClean(_file.CleanUpTo);
            AnswerSeals();
            SettleAfterFlush();
        }
    }

    private void RunFlush(FlushJob job)
    {
        var run = new FlushRun(job);
        _flush = run;
        (EngineContext engine, string name) = (_engine, _slot.Name);
        engine.Workers.Start(
            Self, () => MeasuredWork.Flush(engine, name, run), static error => new FlushOutcome.Failed(error));
    }

    private void PublishFlush()
    {
        CompleteFlush();
        SettleAfterFlush();
    }

    private void CompleteFlush()
    {
        FlushJob job = _flush!.Job;
        _file.CompleteFlush(job);
        _progress.NoteClean(_file.CleanUpTo); // above the job's LSN if a seal came meanwhile, and nothing for this file
        _isFlushAsked = false;
        EndRun();
        AnswerSeals();
    }

    private void EndRun()
    {
        _flush!.Dispose();
        _flush = null;
    }

    /// <summary>
    /// What comes after a flush: the last one out is answered, fences are granted, or the next flush begins.
    /// </summary>
    private void SettleAfterFlush()
    {
        if (_isClosing)
        {
            CloseIfIdle();
            return;
        }

        // A seal that came during the flush, and found nothing more to seal, has nothing left to wait for.
        _progress.NoteClean(_file.CleanUpTo);
        AnswerSeals();
        _fences.AnswerLastOut(_progress.CleanUpTo);
        if (_fences.Book.IsWanted)
        {
            PrepareFence();
            return;
        }

        if (_progress.IsSealWanted)
            SealIfPossible();
        if (_flush is not null)
            return;
        if (_file.HasSealed)
            StartFlush("sealed meanwhile");
        else
            BeOpen();
    }

    private void DropFlush(Exception why)
    {
        _flush!.NoteOutcome();
        _file.DropFlush(_flush.Job);
        EndRun();
        SkipSeals();
        if (_isClosing)
        {
            CloseIfIdle();
            return;
        }

        if (why is StorageFailedException full)
        {
            _log.Warning("Datafile {0}: the flush was dropped, it is tried again: {1}", _slot.Name, full.Message);
            Timers.StartSingleTimer(nameof(FlushNow), new FlushNow(), RetryAfterFullDisk);
        }

        if (_fences.Book.IsWanted)
            PrepareFence();
        else
            Enter(DatafileState.Open, "flush dropped");
    }

    /// <summary>
    /// What was buffered during the flush may be so much that commits wait: then nobody else would ask for the next
    /// one.
    /// </summary>
    private void BeOpen()
    {
        if (_state != DatafileState.Open)
            Enter(DatafileState.Open, $"flushed to {_progress.CleanUpTo}");
        AskForFlushIfLarge();
    }

    /// <summary>A restore has reached its target: the next step, or the answer how the file then is.</summary>
    private void FinishRestoreIfDue()
    {
        if (!_replay.IsFinishing || _flush is not null)
            return;
        if (_replay.NextFinishStep() is { } job)
            RunFlush(job);
        else
            _replay.FinishFrom.Tell(CleanNow());
    }

    private void AnswerSeals()
    {
        foreach (IActorRef replyTo in _progress.TakeAnswered())
            replyTo.Tell(CleanNow());
    }

    private void SkipSeals()
    {
        foreach (IActorRef replyTo in _progress.TakeSkipped())
            replyTo.Tell(SkippedNow());
        if (_replay.TakeUnfinished() is { } coordinator)
            coordinator.Tell(SkippedNow());
    }
}
