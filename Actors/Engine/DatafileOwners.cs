using System.Diagnostics.CodeAnalysis;
using Akka.Actor;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>Which actor owns which datafile, and where the requests for a file and a fence's token go.</summary>
/// <remarks>THREADS  the supervisor's, within its handlers.</remarks>
internal sealed class DatafileOwners(EngineContext engine)
{
    private readonly Dictionary<FileId, IActorRef> _owners = [];
    private readonly HashSet<FileId> _fenced = [];

    public IReadOnlyDictionary<FileId, IActorRef> All => _owners;

    public IActorRef this[FileId file]
    {
        get => _owners[file];
        set => _owners[file] = value;
    }

    public bool TryGet(FileId file, [NotNullWhen(true)] out IActorRef? owner) => _owners.TryGetValue(file, out owner);

    public bool Remove(FileId file, [NotNullWhen(true)] out IActorRef? owner) => _owners.Remove(file, out owner);

    /// <summary>The file that this actor owns, if it owns one; from here on nobody does.</summary>
    public bool Remove(IActorRef owner, out FileId file) => TryFileOf(owner, out file) && _owners.Remove(file);

    public bool TryFileOf(IActorRef owner, out FileId file)
    {
        file = _owners.FirstOrDefault(entry => entry.Value.Equals(owner)).Key;
        return file != default;
    }

    /// <summary>True if every datafile that was told to end its fences has said that none is held.</summary>
    public bool HaveFencesEnded => _fenced.Count == 0;

    /// <summary>
    /// Each datafile refuses fences from now on, also to who waits in it, and says when none is held (promise 5).
    /// </summary>
    public void EndFences(bool isForced)
    {
        foreach ((FileId file, IActorRef owner) in _owners)
        {
            _fenced.Add(file);
            string name = engine.Slots.Of(file).Name;
            owner.Tell(new EndFences(isForced ? Problem.From(EngineErrors.FenceForced(name)) : null));
        }
    }

    /// <summary>No fence of the file is held any more. False if that was known.</summary>
    public bool NoteFencesEnded(FileId file) => _fenced.Remove(file);

    /// <summary>To the file's owner; refused with the reason if it has none.</summary>
    public void Route(Fence fence, IActorRef sender)
    {
        if (!engine.Catalogue.TryFile(fence.Datafile, out FileId file))
            sender.Tell(new FenceRefused(fence.Datafile, Problem.From(EngineErrors.DatafileUnknown(fence.Datafile))));
        else if (_owners.TryGetValue(file, out IActorRef? owner))
            owner.Tell(fence, sender);
        else
            sender.Tell(new FenceRefused(
                fence.Datafile,
                engine.Slots.TryOf(file)?.Why ?? Problem.From(EngineErrors.DatafileRecovering(fence.Datafile))));
    }

    /// <summary>The same; somebody outside hears of the owner's end, too: the engine's own parts watch it themselves.</summary>
    public void Route(Unfence request, IActorRef sender, IActorContext context)
    {
        string within = context.Self.Path.ToStringWithoutAddress() + "/";
        bool isOutside = !sender.IsNobody()
            && !sender.Path.ToStringWithoutAddress().StartsWith(within, StringComparison.Ordinal);
        if (isOutside && _owners.TryGetValue(FenceToken.FileOf(request.Token), out IActorRef? owner))
            owner.Tell(request, context.ActorOf(LeavingHolder.PropsFor(owner, request.Token, sender)));
        else
            Route(request.Token, request, sender);
    }

    /// <summary>To the owner of the file whose fence the token is of.</summary>
    public void Route(Guid token, object request, IActorRef sender)
    {
        if (_owners.TryGetValue(FenceToken.FileOf(token), out IActorRef? owner))
            owner.Tell(request, sender);
        else
            sender.Tell(new FenceBroken(token, Problem.From(EngineErrors.FenceUnknown(token))));
    }
}
