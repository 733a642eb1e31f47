using Akka.Actor;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// WalWriter's own list of who may be written to: which datafiles are open to commits, and whose actor gets their
/// changes (H40: only WalWriter closes a file to commits, so that the last LSN stamped for it is known).
/// </summary>
/// <remarks>
/// A table can be dropped while its file has no owner: that is kept for the next one, which gets it before anything else.
/// </remarks>
internal sealed class FileGates
{
    private readonly Dictionary<FileId, (string Name, IActorRef? Owner, Problem? WhyClosed)> _files = [];
    private readonly Dictionary<FileId, List<DroppedTable>> _dropped = [];

    /// <summary>Opens a file to commits; returns the drops that its owner has to hear of first.</summary>
    public IReadOnlyList<DroppedTable> Open(FileId file, string name, IActorRef owner)
    {
        _files[file] = (name, owner, null);
        return _dropped.Remove(file, out List<DroppedTable>? dropped) ? dropped : [];
    }

    /// <summary>No commits from now on; what was stamped is still sent to the owner unless it is gone.</summary>
    public void Close(FileId file, Problem why, bool isGone)
    {
        _files.TryGetValue(file, out (string Name, IActorRef? Owner, Problem? WhyClosed) entry);
        _files[file] = (entry.Name, isGone ? null : entry.Owner, why);
    }

    /// <summary>A table of a file without an owner was dropped.</summary>
    public void NoteDropped(FileId file, TableId table, Lsn lsn)
    {
        if (!_dropped.TryGetValue(file, out List<DroppedTable>? dropped))
            _dropped.Add(file, dropped = []);
        dropped.Add(new DroppedTable(table, lsn));
    }

    public Problem? WhyClosed(FileId file) =>
        _files.TryGetValue(file, out (string Name, IActorRef? Owner, Problem? WhyClosed) entry)
        ? entry.WhyClosed
        : Problem.From(EngineErrors.DatafileUnknown(file));

    public IActorRef OwnerOf(FileId file) => TryOwnerOf(file)!;

    public IActorRef? TryOwnerOf(FileId file) =>
        _files.TryGetValue(file, out (string Name, IActorRef? Owner, Problem? WhyClosed) entry) ? entry.Owner : null;
}
