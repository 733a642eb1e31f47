using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>What keeps the memory of fenced files bounded, and their commits going (promises 2 and 8).</summary>
/// <remarks>
/// <code>
///   Fenced, buffers large ──▶ sealed between two groups ─▶ merged into a scratch file (worker) ─▶ visible LSN reaches the
///                             seal (F6) ─▶ the view has the spill in the buffers' place
///     failure ──▶ the buffers stay; no other spill before the next flush; past three quarters the largest fence breaks
///     the fence ends meanwhile ──▶ the spill is given up, and the flush waits for its worker
/// </code>
/// What was spilled is not in the file: the redo point stays before it, and the flush after the fence merges it.
/// </remarks>
internal sealed partial class DatafileActor
{
    private SpillRun? _spill;
    private string? _flushAfterSpill;

    /// <summary>
    /// Of a quarter of what all files may buffer each fenced file spills; of less if all of them together have half.
    /// </summary>
    private void KeepFencedWithin(long limit)
    {
        long own = _file.BufferedBytes;
        if (own >= (_engine.Options.SpillBytesMin ?? limit / 4) || (own >= limit / 64 && _engine.Slots.FencedBytes >= limit / 2))
            StartSpill();
        if (_engine.Slots.FencedBytes > limit / 4 * 3 && _engine.Slots.LargestFenced is { } largest)
        {
            Context.Parent.Tell(new BreakFencesOf(largest.Id, Problem.From(
                EngineErrors.FenceMemory(largest.Name, largest.File?.BufferedBytes ?? 0))));
        }
    }

    private void StartSpill()
    {
        if (_spill is not null || _switch is not null || _isClosing || _progress.IsInGroup || !_file.CanSpill)
            return;
        _progress.Seal(); // F5
        if (_file.PrepareSpill() is not { } job)
            return;
        var run = new SpillRun(job);
        _spill = run;
        _engine.Workers.Start(Self, run.Run, error => new SpillEnded(run, error));
    }

    private void TakeSpillsEnd(SpillEnded ended)
    {
        if (ended.Run != _spill || _isLetGo)
            return;
        if (ended.Why is null)
        {
            _engine.Visibility.WhenVisible(ended.Run.Job.UpTo, Self, new SpillVisible(ended.Run)); // F6
            return;
        }

        if (ended.Why is not OperationCanceledException)
        {
            _log.Warning(
                "Datafile {0} is fenced, and its changes stay in memory since they can't be spilled: {1}", _slot.Name,
                ended.Why.Message);
        }

        _file.DropSpill(ended.Run.Job);
        EndSpill();
    }

    private void TakeSpill(SpillRun run)
    {
        if (run != _spill || _isLetGo)
            return;
        _file.CompleteSpill(run.Job);
        _log.Debug("Datafile {0}: spilled up to {1}, {2} bytes", _slot.Name, run.Job.UpTo, _file.SpilledBytes);
        EndSpill();
    }

    private void EndSpill()
    {
        _spill!.Dispose();
        _spill = null;
        if (_state == DatafileState.Fenced)
            BeginSwitchIfAlone(); // it waited for the worker
        if (_flushAfterSpill is { } why && _state == DatafileState.Flushing && _flush is null && !_isClosing)
        {
            _flushAfterSpill = null;
            StartFlush(why);
        }
    }

    /// <summary>True if a flush has to wait for the worker of a spill (H13).</summary>
    private bool WaitsForSpill(string why)
    {
        if (_spill is null)
            return false;
        _flushAfterSpill = why;
        _spill.Drop();
        if (_state != DatafileState.Flushing)
            Enter(DatafileState.Flushing, why);
        return true;
    }

    private sealed record SpillVisible(SpillRun Run) : ILocalMessage;
}
