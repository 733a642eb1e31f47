using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.FileRecoveryProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <content>How its children fail, and how it ends: in order, by force, or since it has to.</content>
internal sealed partial class EngineSupervisor
{
    // ---- failures --------------------------------------------------------------------------------

    private void DatafileHasFailed(DatafileFailed failed)
    {
        _log.Error("Datafile {0} is {1}: {2}", failed.Name, failed.State, failed.Why.Message);
        if (!_walWriter.IsNobody())
            _walWriter.Tell(new CloseFile(failed.File, failed.State == DatafileState.NeedsRecovery, failed.Why));
        if (!_checkpointer.IsNobody())
            _checkpointer.Tell(failed);
    }

    /// <summary>
    /// A recovery has failed after it had taken the file over: its new owner ends, and the file needs recovery.
    /// </summary>
    private void EndInNeed(FileId file, Problem why)
    {
        if (_engine.Slots.TryOf(file) is not { } slot)
            return;
        if (_datafiles.TryGet(file, out IActorRef? owner))
            owner.Tell(new CloseDatafile()); // it stays listed until it has closed the file (H13)
        slot.Why = Problem.From(EngineErrors.DatafileNeedsRecovery(slot.Name, $"its recovery failed: {why.Message}"));
        slot.File = null;
        slot.State = DatafileState.NeedsRecovery;
        DatafileHasFailed(new DatafileFailed(file, slot.Name, DatafileState.NeedsRecovery, slot.Why));
    }

    /// <summary>An owner that had to end for a recovery, or with one that failed.</summary>
    private void NoteClosed(FileId file)
    {
        if (_recoveries.NoteOwnerEnded(Sender, ForgetOwner))
            return;
        _datafiles.Remove(Sender, out _);
        if (_engine.Slots.TryOf(file) is { } slot && !_recoveries.Has(file))
            slot.State = DatafileState.NeedsRecovery;
    }

    private void ChildDied(IActorRef dead)
    {
        if (_jobs.NoteEnd(dead) || _recoveries.NoteOwnerEnded(dead, ForgetOwner))
            return;
        if (_recoveries.TryEnd(dead, out FileSlot? left))
        {
            EndInNeed(left.Id, DeathOf(dead));
        }
        else if (_datafiles.Remove(dead, out FileId file))
        {
            FileSlot slot = _engine.Slots.Of(file);
            slot.Why = Problem.From(
                EngineErrors.DatafileNeedsRecovery(slot.Name, "its actor died, and with it what it had buffered."));
            slot.File = null;
            slot.State = DatafileState.NeedsRecovery;
            DatafileHasFailed(new DatafileFailed(file, slot.Name, DatafileState.NeedsRecovery, slot.Why));
        }
        else if (dead.Equals(_checkpointer))
        {
            _checkpoints.RefuseAll(new RequestRefused(Problem.From(EngineErrors.CheckpointLost())), Self);
            StartCheckpointer();
        }
        else if (dead.Equals(_archiver))
        {
            StartArchiver();
        }
        else if (dead.Equals(_walWriter) || dead.Equals(_controlFile) || dead.Equals(_folder))
        {
            Fail(DeathOf(dead), null);
        }
    }

    private Problem DeathOf(IActorRef dead) => Problem.From(new BugException(
        $"The actor {dead.Path.Name} died of {_childError?.GetType().Name ?? "an unknown cause"}: {_childError?.Message}"));

    private void Fail(Problem why, Exception? cause)
    {
        if (_failure is not null)
            return;
        _failure = why;
        Exception error = cause ?? why.ToException();
        PitrException stopped = why.ToException();
        _engine.Intake.Close(EngineErrors.CommitRefused(stopped));
        _engine.Visibility.FailAll(() => EngineErrors.CommitFateUnknown(stopped));
        _completionError = error; // told when everything is closed
        CloseDatafiles();
    }

    // ---- closing ---------------------------------------------------------------------------------

    private void BeginShutdown(bool isForced)
    {
        Become(WhenWaitingForFences);
        GiveRecoveriesUp();
        if (_recoveries.Any)
            Timers.StartSingleTimer(nameof(RecoveriesAreLate), new RecoveriesAreLate(), _engine.Options.ArchiveShutdownWait);
        _datafiles.EndFences(isForced);
        CloseIfFencesEnded(); // there is no datafile
    }

    private void NoteFencesEnded(FileId file)
    {
        if (_datafiles.NoteFencesEnded(file))
            CloseIfFencesEnded();
    }

    private void CloseIfFencesEnded()
    {
        if (!_datafiles.HaveFencesEnded || (_recoveries.Any && !_areRecoveriesLate))
            return;
        if (_walWriter.IsNobody())
        {
            CloseDatafiles(); // it was open for reading only
            return;
        }

        Become(WhenClosing);
        _jobs.End();
        _checkpoints.Ask(Self, _checkpointer, Self);
    }

    private void CloseDatafiles()
    {
        Become(WhenClosingDatafiles);
        _jobs.End();
        GiveRecoveriesUp();
        foreach (IActorRef owner in _datafiles.All.Values)
            owner.Tell(new CloseDatafile());
        EndIfClosed();
    }

    private void EndIfClosed()
    {
        if (_datafiles.All.Count > 0)
            return;
        if (_jobs.HaveEnded && !_recoveries.Any)
            Context.Stop(Self);
        else if (!Timers.IsTimerActive(nameof(JobsTimeIsUp)))
            Timers.StartSingleTimer(nameof(JobsTimeIsUp), new JobsTimeIsUp(), _engine.Options.ArchiveShutdownWait);
    }

    /// <summary>Each ends when its worker has: nothing of the engine writes after its lock is released (H13).</summary>
    private void GiveRecoveriesUp()
    {
        foreach (IActorRef recoverer in _recoveries.Recoverers)
            recoverer.Tell(new GiveFileRecoveryUp());
    }

    /// <summary>
    /// The children have stopped: nothing writes any more, the files and the lock are let go, whoever waits is told.
    /// </summary>
    private void Finish()
    {
        _engine.Intake.Close(EngineErrors.ShuttingDown());
        _engine.Visibility.FailAll(() => EngineErrors.CommitFateUnknown(EngineErrors.ShuttingDown()));
        Exception? failure = _completionError;
        LetGo(_engine.Metrics.Dispose);
        LetGo(_engine.HandOver.Close);
        LetGo(() => _promotedWal?.LetGo());
        LetGo(() => _opened?.Dispose());
        LetGo(_engine.ReleaseMemory);
        _started.TrySetException(failure ?? EngineErrors.ShuttingDown());
        if (failure is not null)
            _completion.TrySetException(failure);
        else
            _completion.TrySetResult();
        LetGo(_stopped.Cancel); // those who are told by it ask the completion why

        // A handle that can't be closed, or a callback of somebody who waited, keeps nobody else from being told.
        void LetGo(Action step)
        {
            try
            {
                step();
            }
            catch (Exception error)
            {
                _log.Error(error, "The end of the engine met an error.");
                failure ??= error;
            }
        }
    }
}
