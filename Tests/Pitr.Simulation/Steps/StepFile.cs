using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <summary>A datafile and the plain parts of its actor.</summary>
internal sealed class StepFile
{
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

    /// <summary>The content of the file while it is fenced.</summary>
    public byte[]? Fenced { get; set; }

    public bool IsDropped { get; set; }

    /// <summary>A write or sync of it failed: it is written never again.</summary>
    public bool IsOffline => File.HasFailed;

    /// <summary>What the file reports to a checkpoint.</summary>
    public FileClean Clean =>
        new(Id, Name, File.Incarnation, File.Generation, File.CheckpointLsn, Progress.CleanUpTo);

    /// <summary>As its actor takes a seal (H1).</summary>
    public void TakeSeal(Lsn lsn)
    {
        Progress.Reach(lsn);
        if (!IsBusy && !File.HasChanges)
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
