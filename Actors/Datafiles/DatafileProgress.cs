using Akka.Actor;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// How far one datafile is: what was applied, up to where it is whole, what is sealed and in the file, and who waits
/// for that. Plain: <see cref="DatafileActor"/> drives it.
/// </summary>
/// <remarks>
/// INVARIANTS
///   F5  A seal takes effect only after a last part, at that LSN or above (H1): never inside a group.
/// </remarks>
internal sealed class DatafileProgress
{
    private readonly FileId _id;
    private readonly Datafile _file;
    private readonly List<(Lsn Lsn, IActorRef ReplyTo)> _waiting = [];

    public DatafileProgress(FileId id, Datafile file, DatafileStart start)
    {
        _id = id;
        _file = file;
        Lineage = start.Lineage;
        CleanUpTo = Lsn.Max(start.CleanUpTo, file.CheckpointLsn);
        file.NoteCleanUpTo(CleanUpTo);
        LastWhole = CleanUpTo;
    }

    /// <summary>Of the LSNs that come, for the next meta page (H14).</summary>
    public Lineage Lineage { get; set; }

    /// <summary>Every change at or below it was applied, and, outside of a group, none above.</summary>
    public Lsn LastWhole { get; private set; }

    /// <summary>Every change at or below it is in the file, durable.</summary>
    public Lsn CleanUpTo { get; private set; }

    /// <summary>Parts of a group were applied, its last one was not.</summary>
    public bool IsInGroup { get; private set; }

    /// <summary>A seal is to be made as soon as that is possible.</summary>
    public bool IsSealWanted { get; set; }

    /// <summary>True if a seal may be made now.</summary>
    public bool CanSeal => !IsInGroup && _file.CanSeal;

    /// <summary>Applies what a part of a synced group has for this file; true after a last part.</summary>
    public bool Apply(ApplyPart part)
    {
        CommitGroup group = part.Group;
        for (int i = part.From; i < part.To; i++)
        {
            PendingCommit member = group.Members[i];
            if (member.FileCount == 0 || !member.Files.AsSpan(0, member.FileCount).Contains(_id))
                continue;
            uint operations = part.Operations == 0 ? member.OperationCount : part.Operations;
            var reader = new OperationReader(
                member.Record.AsSpan(RecordCodec.HeaderBytes + part.BodyFrom), operations);
            Lsn lsn = member.Result.Lsn;
            while (reader.MoveNext())
            {
                if (reader.File == _id)
                    _file.Apply(reader.Kind, reader.Key, reader.Value, lsn);
            }
        }

        IsInGroup = !part.IsLast;
        if (part.IsLast)
            Reach(group.Lsn);
        return part.IsLast;
    }

    /// <summary>Everything at or below the LSN was applied, and nothing above.</summary>
    public void Reach(Lsn lsn) => LastWhole = Lsn.Max(LastWhole, lsn);

    /// <summary>Seals what was applied (F5).</summary>
    public void Seal()
    {
        Invariant.Require(!IsInGroup, "F5", "a seal is made inside a group.");
        IsSealWanted = false;
        _file.Seal(LastWhole);
    }

    /// <summary>Everything at or below the LSN is in the file, durable.</summary>
    public void NoteClean(Lsn lsn) => CleanUpTo = Lsn.Max(CleanUpTo, lsn);

    /// <summary>Whoever asked is told when the file is clean up to the LSN, or that it will not be.</summary>
    public void Await(Lsn lsn, IActorRef replyTo) => _waiting.Add((lsn, replyTo));

    /// <summary>Those whose LSN is in the file now; they wait no more.</summary>
    public IReadOnlyList<IActorRef> TakeAnswered()
    {
        IActorRef[] answered = [.. _waiting.Where(one => one.Lsn <= CleanUpTo).Select(one => one.ReplyTo)];
        _waiting.RemoveAll(one => one.Lsn <= CleanUpTo);
        return answered;
    }

    /// <summary>All who wait, of whom none will be answered; no seal is wanted any more.</summary>
    public IReadOnlyList<IActorRef> TakeSkipped()
    {
        IsSealWanted = false;
        IActorRef[] skipped = [.. _waiting.Select(one => one.ReplyTo)];
        _waiting.Clear();
        return skipped;
    }
}
