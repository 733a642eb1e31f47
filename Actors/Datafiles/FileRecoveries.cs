using System.Diagnostics.CodeAnalysis;
using Akka.Actor;
using Pitr.Storage;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.FileRecoveryProtocol;

namespace Pitr.Actors;

/// <summary>Which datafile is being recovered by whom, and who waits for the end of a former owner.</summary>
/// <remarks>THREADS  the supervisor's, within its handlers.</remarks>
internal sealed class FileRecoveries(EngineContext engine, DatafileOwners owners)
{
    private readonly Dictionary<FileId, IActorRef> _claims = [];
    private readonly Dictionary<IActorRef, (FileId File, IActorRef Asker)> _takeovers = [];
    private long _started;

    /// <summary>True while any is under way.</summary>
    public bool Any => _claims.Count > 0;

    /// <summary>Who recovers.</summary>
    public IEnumerable<IActorRef> Recoverers => _claims.Values;

    /// <summary>True for a file that somebody recovers.</summary>
    public bool Has(FileId file) => _claims.ContainsKey(file);

    /// <summary>Why this datafile can't be moved or compacted now; null if no recovery has it.</summary>
    public Problem? WhyNotMoved(string datafile) =>
        engine.Catalogue.TryFile(datafile, out FileId file) && Has(file)
            ? Problem.From(EngineErrors.DatafileRecovering(datafile))
            : null;

    /// <summary>A name for the next owner: a former one may still be ending.</summary>
    public string NextName(string datafile) =>
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"datafile-{datafile}-again-{++_started}");

    /// <summary>
    /// One recovery of a file at a time, and only of one that does not serve and that nothing moves: a mover, or a switch
    /// that it waits for, may still change what the file's name leads to (H20).
    /// </summary>
    public object Claim(ClaimFile claim, IActorRef recoverer, MoverJob? mover)
    {
        if (!engine.Catalogue.TryFile(claim.Datafile, out FileId file) || engine.Slots.TryOf(file) is not { } slot)
            return new RequestRefused(Problem.From(EngineErrors.DatafileUnknown(claim.Datafile)));
        if (_claims.ContainsKey(file))
            return new RequestRefused(Problem.From(EngineErrors.RecoveryUnderWay(claim.Datafile)));
        if (slot.State is not (DatafileState.Offline or DatafileState.NeedsRecovery))
            return new RequestRefused(Problem.From(
                EngineErrors.NothingToRecover(claim.Datafile, DatafileActor.StateName(slot.State))));
        if (mover is not null)
            return new RequestRefused(Problem.From(mover.UnderWay()));
        _claims.Add(file, recoverer);
        return new FileClaimed(file);
    }

    /// <summary>Ends the owner; its answer, or its death, is the recoverer's (H13).</summary>
    public void TakeOver(FileId file, IActorRef asker, IActorRef self)
    {
        if (engine.Slots.TryOf(file) is not { } slot)
        {
            asker.Tell(new RequestRefused(Problem.From(EngineErrors.DatafileUnknown(file))));
            return;
        }

        slot.Why = Problem.From(EngineErrors.DatafileRecovering(slot.Name, null));
        slot.State = DatafileState.Recovering;
        if (owners.TryGet(file, out IActorRef? owner))
        {
            owners.Remove(file, out _);
            _takeovers.Add(owner, (file, asker));
            owner.Tell(new CloseDatafile(), self);
        }
        else
        {
            asker.Tell(new FileTakenOver(file, slot.Former));
        }
    }

    /// <summary>True if this owner had to end for a recovery: it has.</summary>
    /// <param name="owner">Who ended.</param>
    /// <param name="forget">Tells whoever may wait for it, before the recoverer goes on.</param>
    public bool NoteOwnerEnded(IActorRef owner, Action<FileId, Problem> forget)
    {
        if (!_takeovers.Remove(owner, out (FileId File, IActorRef Asker) waiting))
            return false;
        FileSlot? slot = engine.Slots.TryOf(waiting.File);
        if (slot is not null)
            slot.State = DatafileState.Recovering; // whatever its last words were
        forget(waiting.File, slot?.Why ?? Problem.From(EngineErrors.DatafileUnknown(waiting.File)));
        waiting.Asker.Tell(new FileTakenOver(waiting.File, slot?.Former));
        return true;
    }

    /// <summary>The claim ends. False if there was none.</summary>
    public bool End(FileId file) => _claims.Remove(file);

    /// <summary>The file that this actor recovers, if it does: its claim ends with it.</summary>
    public bool TryEnd(IActorRef recoverer, [NotNullWhen(true)] out FileSlot? slot)
    {
        FileId file = _claims.FirstOrDefault(claim => claim.Value.Equals(recoverer)).Key;
        slot = file != default && _claims.Remove(file) ? engine.Slots.TryOf(file) : null;
        return slot is not null;
    }
}
