using Akka.Actor;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// What the <see cref="EngineSupervisor"/> understands, besides the fence requests that it passes to a datafile.
/// </summary>
internal static class EngineProtocol
{
    /// <summary>The engine takes commits and requests.</summary>
    /// <param name="Supervisor">Gets fences, checkpoints, backups, status and the shutdown.</param>
    /// <param name="WalWriter">Gets drains and events.</param>
    /// <param name="ControlFile">Gets DDL.</param>
    /// <param name="SystemId">Of the database.</param>
    /// <param name="IsReadOnly">Paused at a recovery target.</param>
    /// <param name="RecordsReplayed">By the recovery that opened it.</param>
    /// <param name="End">The end of the WAL that was replayed.</param>
    /// <param name="Timeline">On which it goes on.</param>
    /// <param name="Completion">Ends when the engine has stopped; faulted if by a failure.</param>
    /// <param name="Stopped">Cancelled at the same moment.</param>
    public sealed record EngineStarted(
        IActorRef Supervisor, IActorRef WalWriter, IActorRef ControlFile, SystemIdentifier SystemId, bool IsReadOnly,
        long RecordsReplayed, Lsn End, TimelineId Timeline, Task Completion, CancellationToken Stopped) : ILocalMessage;

    /// <summary>Answers: StatusReported.</summary>
    public sealed record GetStatus : IWireMessage;

    public sealed record StatusReported(EngineStatus Status) : ILocalMessage;

    /// <summary>
    /// Begins the orderly shutdown; with Force, held fences are broken. Its end is the engine's Completion.
    /// </summary>
    public sealed record ShutDown(bool Force) : IWireMessage;

    /// <summary>
    /// The room of a file is to be given back in steps, by a <see cref="RoomReturn"/>; nobody is answered. The file is in
    /// the <see cref="HandOver"/> until that one takes it.
    /// </summary>
    public sealed record ReturnRoom(NamelessFile File) : ILocalMessage;

    /// <summary>
    /// To a backup, a set, a move or what gives room back: the engine is about to end. It gives up, removes what it has
    /// begun, and stops.
    /// </summary>
    public sealed record EndJob : ILocalMessage;
}

/// <summary>What a <see cref="BackupRunner"/> and its copiers are told, and what they answer.</summary>
internal static class BackupProtocol
{
    /// <summary>Makes a full backup set. Answers: BackupEnded | RequestRefused.</summary>
    public sealed record RunBackup(BackupRequest Request, RateLimit? Limit, CancellationToken Cancel) : ILocalMessage;

    public sealed record BackupEnded(BackupResult Result) : ILocalMessage;

    /// <summary>Asks the supervisor who owns a datafile at this moment. Answers: DatafileFound.</summary>
    public sealed record FindDatafile(FileId File) : ILocalMessage;

    /// <param name="File">Its number.</param>
    /// <param name="Owner">Its actor; null if it has none: it was dropped, or needs recovery.</param>
    public sealed record DatafileFound(FileId File, IActorRef? Owner) : ILocalMessage;

    /// <summary>To a <see cref="BackupCopier"/>: its copy is wanted no longer. Answer: CopyEnded, as always.</summary>
    public sealed record EndCopy : ILocalMessage;

    /// <summary>The last that a copier tells: no worker of it runs, and it holds no fence.</summary>
    /// <param name="File">As the set's catalogue has it.</param>
    /// <param name="Outcome">What came of it.</param>
    /// <param name="Why">Of Void, CutOff and Failed; null if it was told to end.</param>
    public sealed record CopyEnded(CatalogueFile File, CopyOutcome Outcome, Problem? Why) : ILocalMessage;
}

/// <summary>What came of copying one datafile for a backup.</summary>
internal enum CopyOutcome
{
    /// <summary>The copy is in the set.</summary>
    Copied,

    /// <summary>The datafile was dropped before it was copied: replay passes over it (H29).</summary>
    Dropped,

    /// <summary>Its fence broke: the copy is gone, and may be made again.</summary>
    Void,

    /// <summary>The store said no: what is whole may be gone on with.</summary>
    CutOff,

    /// <summary>The backup can't be made.</summary>
    Failed,
}

/// <summary>What the <see cref="Archiver"/> understands.</summary>
internal static class ArchiveProtocol
{
    /// <summary>
    /// Ships what there is, the tail included, then answers Drained; waits no longer than ArchiveShutdownWait.
    /// </summary>
    public sealed record DrainArchive : ILocalMessage;

    /// <param name="Left">What could not be shipped, in words; null if everything was.</param>
    public sealed record ArchiveDrained(string? Left) : ILocalMessage;

    /// <summary>
    /// Asks which of these segments every store has. Answers: MayGo, as they are shipped, in any number of messages.
    /// </summary>
    public sealed record WhichMayGo(IReadOnlyList<SegmentName> Segments) : ILocalMessage;

    public sealed record MayGo(IReadOnlyList<SegmentName> Segments) : ILocalMessage;

    /// <summary>Answers: ArchiveReported.</summary>
    public sealed record GetArchiveStatus : ILocalMessage;

    /// <summary>
    /// Archives into one more store: makes it this database's, claims and takes the timeline, notes it in pitr.json.
    /// Answers: StoreAdded | RequestRefused.
    /// </summary>
    /// <param name="Store">Its address; a relative path is taken from the database's folder.</param>
    public sealed record AddStore(string Store) : ILocalMessage;

    public sealed record StoreAdded(ArchiveStatus Status) : ILocalMessage;

    /// <summary>
    /// Archives into a store no longer: takes it out of pitr.json, and lets WAL go that only it lacks. What lies in it
    /// stays. Answers: StoreRemoved | RequestRefused.
    /// </summary>
    public sealed record RemoveStore(string Store) : ILocalMessage;

    public sealed record StoreRemoved(StoreRemoval Removal) : ILocalMessage;

    /// <summary>Answers: ArchiveSeen.</summary>
    public sealed record SeeArchive : ILocalMessage;

    /// <param name="Stores">Each store, and what this engine has shipped to it.</param>
    /// <param name="Path">The timelines of the database.</param>
    /// <param name="Geometry">Of its WAL.</param>
    public sealed record ArchiveSeen(
        IReadOnlyList<(IArchiveStore Store, ShipProgress Progress)> Stores, TimelineHistory Path, WalGeometry Geometry)
        : ILocalMessage;

    public sealed record ArchiveReported(IReadOnlyList<ArchiveStatus> Stores, RecoveryWindow? Window) : ILocalMessage;
}
