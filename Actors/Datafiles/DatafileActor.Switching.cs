using Akka.Actor;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// The end of a move, or of compacting, which the datafile's own actor carries out so that nothing can come between
/// (H20).
/// </summary>
/// <remarks>
/// <code>
///   Fenced, one fence ──▶ Switching: a move is logged ─▶ the name leads to the copy (worker) ─▶ control file names the
///                         winner, or the compacted file's incarnation ─▶ goes on in the copy ──▶ Fenced
///     failure before the name was touched, or certainly without effect   ──▶ Fenced, SwitchRefused
///     any other                                                          ──▶ Offline, SwitchUndecided: the next opening decides, or
///                                                                            the file's recovery
/// </code>
/// What would end the fence (its lease, its holder's death, a bound, a shutdown) waits until it is over; commits and
/// reads go on, into the buffers and out of the former file, which is equal. A moved file has the same pages, a compacted
/// one the same rows: then the copy is entered with a view of its own, and views of before keep the former file (H42).
/// The former file is closed when its last reader has ended; one that has no name any more, and the control file says so,
/// is given to the supervisor, which has its room given back in steps.
/// </remarks>
internal sealed partial class DatafileActor
{
    private readonly Queue<(object Message, IActorRef From)> _deferred = new();
    private SwitchRun? _switch;

    private void WhenSwitching(object message)
    {
        switch (message)
        {
            case Fence fence:
                _fences.Take(fence, Sender); // waits
                break;
            case Unfence or LeaseEnded or Terminated or BreakFences or EndFences:
                _deferred.Enqueue((message, Sender));
                break;
            case EventLogged:
                RunSwitch();
                break;
            case EventRefused refused:
                BackToFenced(refused.Why);
                break;
            case SwitchEnded ended when !_isClosing:
                TakeSwitchsEnd(ended);
                break;
            case ControlFileChanged:
                CompleteSwitch(isNoted: true);
                break;
            case RequestRefused refused:
                SwitchWasNotNoted(refused.Why);
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    private void TakeSwitch(SwitchDatafile request)
    {
        if (!_fences.Book.Holds(request.Token))
        {
            Sender.Tell(new SwitchRefused(_fences.Book.WhyNotHeld(request.Token)));
            return;
        }

        _switch = new SwitchRun(request, Sender);
        BeginSwitchIfAlone();
    }

    /// <summary>Other holders are waited for; no new one comes in meanwhile.</summary>
    private void BeginSwitchIfAlone()
    {
        if (_switch is not { } run)
            return;
        if (!_fences.Book.Holds(run.Request.Token))
        {
            _switch = null;
            run.ReplyTo.Tell(new SwitchRefused(_fences.Book.WhyNotHeld(run.Request.Token)));
            if (_fences.Book.IsHeld)
                _fences.GrantWaiting();
            return;
        }

        if (_fences.Book.Count > 1 || _spill is not null)
            return;
        SwitchableCopy copy = run.Request.Copy;
        Enter(DatafileState.Switching, $"to {copy.To}");
        if (copy.Record(_engine.Folder) is { } record)
            run.Request.WalWriter.Tell(new LogEvent(record));
        else
            RunSwitch();
    }

    private void RunSwitch()
    {
        SwitchRun run = _switch!;
        run.IsWorking = true;
        EngineContext engine = _engine;
        Datafile file = _file;
        engine.Workers.Start(
            Self,
            () =>
            {
                using Datafile.Work work = file.BeginWork(); // H13: closing the file waits for it
                SwitchOutcome outcome = run.Request.Copy.Switch();
                return engine.HandOver.Give(new SwitchEnded(outcome), static ended => ended.LetGo());
            },
            static error => new SwitchEnded(new SwitchOutcome.Unknown(error)));
    }

    private void TakeSwitchsEnd(SwitchEnded ended)
    {
        SwitchRun run = _switch!;
        run.IsWorking = false;
        _engine.HandOver.Take(ended);
        switch (ended.Outcome)
        {
            case SwitchOutcome.Done:
                run.Ended = ended;
                SwitchableCopy copy = run.Request.Copy;
                _controlFile.Tell(new ChangeControlFile(now => now.WithSwitched(copy)));
                break;
            case SwitchOutcome.NotSwitched not:
                BackToFenced(Problem.From(not.Why));
                break;
            case SwitchOutcome.Unknown unknown:
                SwitchIsUndecided(Problem.From(unknown.Why));
                break;
            default:
                throw new BugException($"No end for {ended.Outcome}.");
        }
    }

    private void CompleteSwitch(bool isNoted)
    {
        SwitchRun run = _switch!;
        var done = (SwitchOutcome.Done)run.Ended!.Outcome;
        run.Ended = null;
        _switch = null;
        done.GoOn(_file, isNoted ? RoomReturn.Through(_engine, Context.Parent) : null);
        Enter(DatafileState.Fenced, $"goes on in {_file.Path}");
        run.ReplyTo.Tell(new DatafileSwitched(isNoted));
        TakeDeferred();
    }

    /// <summary>
    /// The name leads to the copy all the same, and an opening sees that; only then may anything be removed. By record
    /// it does not: a full disk leaves the old control file, anything else leaves it open.
    /// </summary>
    private void SwitchWasNotNoted(Problem why)
    {
        bool isFull = why.Code == ErrorCode.DiskFull;
        if (!_switch!.Request.Copy.IsSwitchedByRecord && isFull)
            CompleteSwitch(isNoted: false);
        else if (isFull)
            BackToFenced(why);
        else
            SwitchIsUndecided(why);
    }

    private void BackToFenced(Problem why)
    {
        SwitchRun run = _switch!;
        EndSwitch();
        Enter(DatafileState.Fenced, $"not switched: {why.Message}");
        run.ReplyTo.Tell(new SwitchRefused(why));
        TakeDeferred();
    }

    private void SwitchIsUndecided(Problem why)
    {
        SwitchRun run = _switch!;
        EndSwitch();
        Problem undecided = Problem.From(run.Request.Copy.Undecided(why.Message));
        GoOffline(undecided); // still: nothing is written to either file any more
        _fences.Break(_fences.Book.Tokens, undecided);
        _fences.TellIfEnded();
        run.ReplyTo.Tell(new SwitchUndecided(undecided));
        TakeDeferred();
    }

    /// <summary>Nobody goes on in the copy: what was opened of it is closed.</summary>
    private void EndSwitch()
    {
        _switch?.Ended?.LetGo();
        _switch = null;
    }

    /// <summary>The file needs recovery: a worker that runs is waited for, anything else is answered now.</summary>
    private void GiveSwitchUp(Problem why)
    {
        if (_switch is not { IsWorking: false } run)
            return;
        object answer = run.Ended is null
            ? new SwitchRefused(why)
            : new SwitchUndecided(Problem.From(run.Request.Copy.Undecided(why.Message)));
        EndSwitch();
        run.ReplyTo.Tell(answer);
        TakeDeferred();
    }

    private void LetSwitchGo(SwitchEnded ended)
    {
        if (_engine.HandOver.Take(ended))
            ended.LetGo();
        if (_switch is { } run)
        {
            run.ReplyTo.Tell(new SwitchUndecided(
                Problem.From(run.Request.Copy.Undecided((_slot.Why ?? WhyClosing()).Message))));
        }

        _switch = null;
        TakeDeferred();
    }

    /// <summary>
    /// What waited for the end of the switch, in its order; then who waited for a fence: what was to end the fences of
    /// that time does not end his.
    /// </summary>
    private void TakeDeferred()
    {
        while (_deferred.TryDequeue(out (object Message, IActorRef From) waiting))
            Self.Tell(new Deferred(waiting.Message), waiting.From);
        Self.Tell(new SwitchIsOver());
    }

    /// <summary>A switch from its request to its answer.</summary>
    private sealed class SwitchRun(SwitchDatafile request, IActorRef replyTo)
    {
        public SwitchDatafile Request => request;

        public IActorRef ReplyTo => replyTo;

        /// <summary>True from the worker's start until its end came as a message.</summary>
        public bool IsWorking { get; set; }

        /// <summary>What it opened, while the control file is written.</summary>
        public SwitchEnded? Ended { get; set; }
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record SwitchEnded(SwitchOutcome Outcome) : ILocalMessage
    {
        public void LetGo()
        {
            if (Outcome is SwitchOutcome.Done done)
                done.LetGo();
        }
    }

    private sealed record Deferred(object Message) : ILocalMessage;

    private sealed record SwitchIsOver : ILocalMessage;
}
