using Akka.Actor;

namespace Pitr.Actors;

/// <summary>
/// WalWriter's own list of who may be written to: which datafiles are open to commits, and whose actor gets their
/// changes (H40: only WalWriter closes a file to commits, so that the last LSN stamped for it is known).
/// </summary>
internal sealed class FileGates
{
    private readonly Dictionary<FileId, (string Name, IActorRef? Owner, Problem? WhyClosed)> _files = [];

    public void Open(FileId file, string name, IActorRef owner) => _files[file] = (name, owner, null);

    /// <summary>No commits from now on; what was stamped is still sent to the owner unless it is gone.</summary>
    public void Close(FileId file, Problem why, bool isGone)
    {
        _files.TryGetValue(file, out (string Name, IActorRef? Owner, Problem? WhyClosed) entry);
        _files[file] = (entry.Name, isGone ? null : entry.Owner, why);
    }

    public Problem? WhyClosed(FileId file) =>
        _files.TryGetValue(file, out (string Name, IActorRef? Owner, Problem? WhyClosed) entry)
        ? entry.WhyClosed
        : Problem.From(EngineErrors.DatafileUnknown(file));

    public IActorRef OwnerOf(FileId file) => TryOwnerOf(file)!;

    public IActorRef? TryOwnerOf(FileId file) =>
        _files.TryGetValue(file, out (string Name, IActorRef? Owner, Problem? WhyClosed) entry) ? entry.Owner : null;
}
