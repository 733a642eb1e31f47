using Akka.Actor;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// What the <see cref="ControlFileActor"/> understands: it alone writes the control file, from the present state (H23).
/// </summary>
/// <remarks>
/// DDL is decided here, logged by WalWriter, and answered when it is durable and in the control file:
/// <code>
///  caller           ControlFileActor            WalWriter        EngineSupervisor
///    | CreateTable ---> | LogEvent --------------> |
///    |                  | &lt;------- EventLogged ----|
///    |                  | control file written     |
///    | &lt;- TableCreated -|
///    | CreateDatafile > | file created and synced, folder synced; LogEvent; control file; OpenNewDatafile -> |
/// </code>
/// </remarks>
internal static class ControlFileProtocol
{
    /// <summary>A name for a table. Answers: TableCreated | RequestRefused.</summary>
    public sealed record CreateTable(string Name, string? Datafile) : IWireMessage;

    public sealed record TableCreated(Table Table) : IWireMessage;

    /// <summary>Answers: Done | RequestRefused.</summary>
    public sealed record DropTable(string Name) : IWireMessage;

    /// <summary>Answers: DatafileCreated | RequestRefused.</summary>
    public sealed record CreateDatafile(string Name, string? Path) : IWireMessage;

    public sealed record DatafileCreated(FileId File, string Name, string Path) : IWireMessage;

    /// <summary>Answers: Done | RequestRefused.</summary>
    public sealed record DropDatafile(string Name) : IWireMessage;

    public sealed record Done : IWireMessage
    {
        public static readonly Done Instance = new();
    }

    public sealed record RequestRefused(Problem Why) : IWireMessage;

    /// <summary>Notes a file's generation before a fence is granted (H16). Answers: FileNoted.</summary>
    public sealed record NoteFile(FileClean File) : ILocalMessage;

    /// <param name="Why">Null if the control file is durable.</param>
    public sealed record FileNoted(Problem? Why) : ILocalMessage;

    /// <summary>
    /// Every file has reported. Logs the checkpoint record and writes the control file. Answers: CheckpointRecorded |
    /// RequestRefused.
    /// </summary>
    public sealed record RecordCheckpoint(Lsn CheckpointLsn, IReadOnlyList<FileClean> Clean) : ILocalMessage;

    /// <param name="RedoLsn">The new redo point.</param>
    /// <param name="CheckpointLsn">The barrier.</param>
    /// <param name="KeptFor">The file that keeps the redo point below the barrier; null if none does.</param>
    public sealed record CheckpointRecorded(Lsn RedoLsn, Lsn CheckpointLsn, FileId? KeptFor) : ILocalMessage;

    /// <summary>
    /// Changes the control file by a function of its present state. Answers: ControlFileChanged | RequestRefused.
    /// </summary>
    /// <param name="Change">From the present state to the next.</param>
    /// <param name="MayWait">
    /// A full disk does not refuse it: it holds from now on, and is written with the next change. Only for what the WAL
    /// brings again if it is never written.
    /// </param>
    public sealed record ChangeControlFile(Func<ControlFile, ControlFile> Change, bool MayWait = false) : ILocalMessage;

    public sealed record ControlFileChanged(ControlFile Now) : ILocalMessage;

    /// <summary>Asks for the present state. Answers: ControlFileChanged.</summary>
    public sealed record GetControlFile : ILocalMessage;

    /// <summary>A promotion, which has the control file to itself, has written this one.</summary>
    public sealed record AdoptControlFile(ControlFile Now) : ILocalMessage;

    /// <summary>
    /// The catalogue is that of the WAL's end: files that belong to nothing are removed or reported (H23). Answers:
    /// StraysSettled.
    /// </summary>
    public sealed record LookForStrays : ILocalMessage;

    public sealed record StraysSettled : ILocalMessage;

    /// <summary>To the supervisor: a datafile exists, synced and logged; start its actor.</summary>
    public sealed record StartNewDatafile(FileId File, string Name, Datafile Opened, Lineage Lineage, Lsn CleanUpTo)
        : ILocalMessage;

    /// <summary>Its actor is there and WalWriter sends to it.</summary>
    public sealed record NewDatafileStarted(FileId File, IActorRef Owner) : ILocalMessage;

    /// <summary>To the supervisor: end the file's actor before the file is unlinked.</summary>
    public sealed record StopDroppedDatafile(FileId File) : ILocalMessage;

    public sealed record DroppedDatafileStopped(FileId File) : ILocalMessage;
}
