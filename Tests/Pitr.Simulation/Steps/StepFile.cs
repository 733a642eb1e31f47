using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <summary>A datafile and the plain parts of its actor, with the mailbox in which parts, seals and drops wait.</summary>
internal sealed class StepFile
{
    private readonly Queue<Action> _mail = [];

    public StepFile(FileId id, string name, Datafile file, DatafileStart start, Func<ulong> draw)
    {
        Id = id;
        Name = name;
        File = file;
        Progress = new DatafileProgress(id, file, start);
        Replay = new DatafileReplay(file, Progress, draw);
    }

    public FileId Id { get; }
    public string Name { get; }
    public Datafile File { get; }
    public DatafileProgress Progress { get; }
    public DatafileReplay Replay { get; }

    /// <summary>A flush or a change of the meta page is in the making.</summary>
    public bool IsBusy { get; set; }

    /// <summary>The fingerprint of the file's content while it is fenced.</summary>
    public ulong? Fenced { get; set; }

    public bool IsDropped { get; set; }

    /// <summary>A write or sync of it failed: it is written never again.</summary>
    public bool IsOffline => File.HasFailed;

    public bool HasMail => _mail.Count > 0;

    /// <summary>What the file reports to a checkpoint.</summary>
    public FileClean Clean =>
        new(Id, Name, File.Incarnation, File.Generation, File.CheckpointLsn, Progress.CleanUpTo);

    /// <summary>Puts a message behind all that wait.</summary>
    public void Tell(Action message) => _mail.Enqueue(message);

    /// <summary>Takes the next message.</summary>
    public void TakeMail() => _mail.Dequeue()();

    /// <summary>Takes the whole mailbox, as whoever waits for an answer behind it.</summary>
    public void TakeAllMail()
    {
        while (HasMail)
            TakeMail();
    }

    /// <summary>As its actor takes a part of a group; true after the last one.</summary>
    public bool Take(ApplyPart part)
    {
        bool isLast = Progress.Apply(part);
        if (isLast)
            SealIfPossible();
        return isLast;
    }

    /// <summary>As its actor takes a seal (H1).</summary>
    public void TakeSeal(Lsn lsn)
    {
        Progress.Reach(lsn);
        if (Fenced is not null)
            return;
        if (!IsBusy && !Progress.IsInGroup && !File.HasChanges)
        {
            Progress.Seal();
            Progress.NoteClean(lsn);
            return;
        }

        Progress.IsSealWanted = true;
        SealIfPossible();
    }

    public void SealIfPossible()
    {
        if (Progress.IsSealWanted && Progress.CanSeal)
            Progress.Seal();
    }
}
