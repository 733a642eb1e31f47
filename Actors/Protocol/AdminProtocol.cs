using Akka.Actor;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What the <see cref="Administrator"/> understands from near and far, and what it answers.</summary>
/// <remarks>
/// <code>
///  client (one actor)                              administrator
///    | OpenSession(token) ---------------------------> |   the token admits this client's reference, no other
///    | &lt;---------------- SessionOpened | SessionRefused |   says where the HTTP endpoint is, which has the data
///    | Ping -----------------------------------------> |   every few seconds, both ways: a silent peer is dead
///    | &lt;------------------------------------------ Pong |
///    | a request, with a RequestId ------------------> |   several may be on the way
///    | &lt;------------------------- Progress, any number |   long jobs only
///    | &lt;----------- its answer | Failed, same RequestId |
///    | CancelRequest --------------------------------> |   it is given up, as far as it can be; its answer comes all the same
///    | &lt;-------------------------------- FenceWasBroken |   of a fence of this session, whenever it happens
///    | CloseSession ---------------------------------> |   what the session still had running is given up
/// </code>
/// Each message has a manifest of its own in <see cref="AdminSerializer"/>; on the wire it is a message of
/// <c>Wire/admin.proto</c> of at most <see cref="AdminSerializer.MessageBytesMax"/> bytes. Requests that change something may not be sent twice; all
/// others may. The same messages serve a local actor: it opens a session with the token as well.
/// </remarks>
internal static class AdminProtocol
{
    /// <summary>
    /// The version that this program speaks. An administrator refuses versions that it does not know.
    /// </summary>
    public const int ProtocolVersion = 1;

    /// <summary>Has a manifest in <see cref="AdminSerializer"/>: the only messages of the remoting system.</summary>
    internal interface IAdminMessage;

    /// <summary>A request of an open session.</summary>
    /// <param name="RequestId">Chosen by the client; comes back with the answer.</param>
    internal abstract record AdminRequest(long RequestId) : IAdminMessage;

    /// <summary>An answer.</summary>
    /// <param name="RequestId">Of the request that it answers.</param>
    internal abstract record AdminAnswer(long RequestId) : IAdminMessage;

    /// <summary>A failure as data: the client makes the same exception of it again.</summary>
    /// <param name="Code">Number of the <see cref="ErrorCode"/>; one that the reader does not know is kept as it
    /// is.</param>
    /// <param name="ExitCode">Its kind, as the command line's exit code.</param>
    /// <param name="Message">What happened.</param>
    /// <param name="Hint">What to do.</param>
    internal sealed record AdminProblem(int Code, int ExitCode, string Message, string Hint);

    // ---- the session ------------------------------------------------------------------------------

    /// <summary>Asks to be admitted. Answers: <see cref="SessionOpened"/>, <see cref="SessionRefused"/>.</summary>
    internal sealed record OpenSession(int Version, string Token, string Client) : IAdminMessage;

    /// <summary>The session is open, for the sender of <see cref="OpenSession"/> only.</summary>
    /// <param name="Version">What the administrator speaks.</param>
    /// <param name="SystemId">Which database it is.</param>
    /// <param name="Folder">Where it lies, on the engine's machine.</param>
    /// <param name="Http">HOST:PORT of the HTTP endpoint; the same token opens it.</param>
    /// <param name="Role">What the token allows.</param>
    internal sealed record SessionOpened(
        int Version, SystemIdentifier SystemId, string Folder, string Http, AdminRole Role) : IAdminMessage;

    /// <summary>No session.</summary>
    internal sealed record SessionRefused(AdminProblem Why) : IAdminMessage;

    /// <summary>The client is alive. Answer: <see cref="Pong"/>, also without a session.</summary>
    internal sealed record Ping : IAdminMessage;

    /// <summary>The administrator is alive.</summary>
    /// <param name="SessionIsOpen">False if the sender has no session (any more).</param>
    internal sealed record Pong(bool SessionIsOpen) : IAdminMessage;

    /// <summary>The client leaves. No answer.</summary>
    internal sealed record CloseSession : IAdminMessage;

    /// <summary>
    /// The client does not wait for a request any more: it is given up, unless it is too late for that. No answer of its
    /// own; the request's comes as ever. A fence that is granted all the same is given back, by whoever hears of it last.
    /// </summary>
    /// <param name="Cancelled">The RequestId of that request.</param>
    internal sealed record CancelRequest(long Cancelled) : IAdminMessage;

    /// <summary>
    /// A fence of <see cref="FenceForSession"/> was broken while its session lives: the copy is void. No answer.
    /// </summary>
    /// <param name="FenceId">Which.</param>
    /// <param name="Datafile">Of which datafile.</param>
    /// <param name="Why">What broke it.</param>
    internal sealed record FenceWasBroken(Guid FenceId, string Datafile, AdminProblem Why) : IAdminMessage;

    // ---- what could not be read --------------------------------------------------------------------

    /// <summary>
    /// Made by the serializer in place of a message that it cannot read, so that its sender gets an answer: of a newer
    /// release, named like a type, or damaged.
    /// </summary>
    /// <param name="RequestId">Of the request or answer, if that much could be read; else 0.</param>
    /// <param name="Why">What is wrong with it.</param>
    internal sealed record Unintelligible(long RequestId, string Why) : INoSerializationVerificationNeeded;

    // ---- answers that several requests have --------------------------------------------------------

    /// <summary>It was done; there is nothing more to say.</summary>
    internal sealed record Done(long RequestId) : AdminAnswer(RequestId);

    /// <summary>It was not done.</summary>
    internal sealed record Failed(long RequestId, AdminProblem Why) : AdminAnswer(RequestId);

    /// <summary>How far a long job is; the answer is still to come.</summary>
    internal sealed record Progress(long RequestId, string Step, long DoneBytes, long TotalBytes)
        : AdminAnswer(RequestId);

    // ---- engine -----------------------------------------------------------------------------------

    /// <summary>Answer: <see cref="StatusRead"/>. The datafiles come by <see cref="ReadDatafiles"/>.</summary>
    internal sealed record ReadStatus(long RequestId) : AdminRequest(RequestId);

    /// <param name="RequestId">Of the request.</param>
    /// <param name="Status">Without its datafiles.</param>
    internal sealed record StatusRead(long RequestId, EngineStatus Status) : AdminAnswer(RequestId);

    /// <summary>Datafiles in the order of their names, a page. Answer: <see cref="DatafilesRead"/>.</summary>
    /// <param name="RequestId">Chosen by the client.</param>
    /// <param name="After">The last name of the page before; null: from the first.</param>
    internal sealed record ReadDatafiles(long RequestId, string? After) : AdminRequest(RequestId);

    /// <param name="RequestId">Of the request.</param>
    /// <param name="Datafiles">As many as fit into a message.</param>
    /// <param name="More">True if there are more after the last one.</param>
    internal sealed record DatafilesRead(long RequestId, IReadOnlyList<DatafileStatus> Datafiles, bool More)
        : AdminAnswer(RequestId);

    /// <summary>Tables in the order of their names, a page. Answer: <see cref="TablesRead"/>.</summary>
    internal sealed record ReadTables(long RequestId, string? After) : AdminRequest(RequestId);

    /// <summary>A page of tables.</summary>
    internal sealed record TablesRead(long RequestId, IReadOnlyList<TableEntry> Tables, bool More)
        : AdminAnswer(RequestId);

    /// <summary>Answer: <see cref="Checkpointed"/>.</summary>
    internal sealed record Checkpoint(long RequestId) : AdminRequest(RequestId);

    /// <summary>A checkpoint is complete.</summary>
    internal sealed record Checkpointed(long RequestId, CheckpointResult Result) : AdminAnswer(RequestId);

    /// <summary>Answer: <see cref="WalSwitched"/>.</summary>
    internal sealed record SwitchWal(long RequestId) : AdminRequest(RequestId);

    /// <summary>The segment has ended.</summary>
    internal sealed record WalSwitched(long RequestId, Lsn Lsn) : AdminAnswer(RequestId);

    /// <summary>Archives into one more store. Answer: <see cref="StoreWasAdded"/>.</summary>
    /// <param name="RequestId">Chosen by the client.</param>
    /// <param name="Store">Its address, as the engine's machine reads it.</param>
    internal sealed record AddArchiveStore(long RequestId, string Store) : AdminRequest(RequestId);

    /// <summary>The store is one of the database's.</summary>
    internal sealed record StoreWasAdded(long RequestId, ArchiveStatus Status) : AdminAnswer(RequestId);

    /// <summary>Archives into a store no longer. Answer: <see cref="StoreWasRemoved"/>.</summary>
    internal sealed record RemoveArchiveStore(long RequestId, string Store) : AdminRequest(RequestId);

    /// <summary>The store is none of the database's any more.</summary>
    internal sealed record StoreWasRemoved(long RequestId, StoreRemoval Removal) : AdminAnswer(RequestId);

    /// <summary>Reads what the stores have. Answers: <see cref="ArchiveChecked"/>; Failed with the worst.</summary>
    internal sealed record CheckArchive(long RequestId) : AdminRequest(RequestId);

    /// <summary>Every store has what the database expects.</summary>
    internal sealed record ArchiveChecked(long RequestId, IReadOnlyList<StoreCheck> Stores) : AdminAnswer(RequestId);

    /// <summary>Answer: <see cref="RestorePointCreated"/>.</summary>
    internal sealed record CreateRestorePoint(long RequestId, string Name) : AdminRequest(RequestId);

    /// <summary>The moment has its name.</summary>
    internal sealed record RestorePointCreated(long RequestId, RestorePoint Point) : AdminAnswer(RequestId);

    /// <summary>Stops the engine in order. Answer: <see cref="Done"/>, when it has stopped.</summary>
    internal sealed record Shutdown(long RequestId, bool Force) : AdminRequest(RequestId);

    // ---- datafiles and tables ----------------------------------------------------------------------

    /// <summary>Answer: <see cref="DatafileCreated"/>.</summary>
    internal sealed record CreateDatafile(long RequestId, string Name, string? Path) : AdminRequest(RequestId);

    /// <summary>The datafile is there.</summary>
    internal sealed record DatafileCreated(long RequestId, DatafileEntry Datafile) : AdminAnswer(RequestId);

    /// <summary>Answer: <see cref="Done"/>.</summary>
    internal sealed record DropDatafile(long RequestId, string Name) : AdminRequest(RequestId);

    /// <summary>Answer: <see cref="TableCreated"/>.</summary>
    internal sealed record CreateTable(long RequestId, string Name, string? Datafile) : AdminRequest(RequestId);

    /// <summary>The table is there.</summary>
    internal sealed record TableCreated(long RequestId, TableEntry Table) : AdminAnswer(RequestId);

    /// <summary>Answer: <see cref="Done"/>.</summary>
    internal sealed record DropTable(long RequestId, string Name) : AdminRequest(RequestId);

    // ---- fences and backups ------------------------------------------------------------------------

    /// <summary>
    /// A fence that outlives the client: it ends with its lease or an unfence. Answer: <see cref="DatafileFenced"/>.
    /// </summary>
    internal sealed record FenceDatafile(long RequestId, string Datafile, double LeaseSeconds, string Reason)
        : AdminRequest(RequestId);

    /// <summary>
    /// A fence that breaks with this session, whatever ends that, besides its lease. Answer: <see cref="DatafileFenced"/>.
    /// </summary>
    internal sealed record FenceForSession(long RequestId, string Datafile, double LeaseSeconds, string Reason)
        : AdminRequest(RequestId);

    /// <summary>Prolongs a fence's lease, from now on. Answer: <see cref="FenceRenewed"/>.</summary>
    internal sealed record RenewFence(long RequestId, Guid FenceId, double LeaseSeconds) : AdminRequest(RequestId);

    /// <summary>It holds until then.</summary>
    internal sealed record FenceRenewed(long RequestId, DateTimeOffset Until) : AdminAnswer(RequestId);

    /// <summary>The file is still.</summary>
    internal sealed record DatafileFenced(long RequestId, FenceGrant Fence) : AdminAnswer(RequestId);

    /// <summary>By the name of the datafile or the id of the fence. Answer: <see cref="DatafileUnfenced"/>.</summary>
    internal sealed record UnfenceDatafile(long RequestId, string? Datafile, Guid? FenceId) : AdminRequest(RequestId);

    /// <summary>The copy is good.</summary>
    internal sealed record DatafileUnfenced(long RequestId, UnfenceResult Result) : AdminAnswer(RequestId);

    /// <summary>
    /// Makes a backup set; given up if the session ends. Answers: <see cref="Progress"/>, then
    /// <see cref="BackupMade"/>.
    /// </summary>
    internal sealed record MakeBackup(
        long RequestId, string Store, long? BytesPerSecondMax, int Jobs, bool Incremental)
        : AdminRequest(RequestId);

    /// <summary>The set is complete.</summary>
    internal sealed record BackupMade(long RequestId, BackupResult Result) : AdminAnswer(RequestId);

    /// <summary>
    /// Moves a datafile; given up, before its switch, if the session ends. Answers: <see cref="Progress"/>, then
    /// <see cref="DatafileMoved"/>.
    /// </summary>
    /// <param name="RequestId">Chosen by the client.</param>
    /// <param name="Datafile">Its name.</param>
    /// <param name="Path">The file that it becomes, on the engine's machine.</param>
    /// <param name="WithoutLink">The database notes the new path; no link is left.</param>
    /// <param name="BytesPerSecondMax">Null: as fast as commits allow.</param>
    internal sealed record MoveDatafile(
        long RequestId, string Datafile, string Path, bool WithoutLink, long? BytesPerSecondMax)
        : AdminRequest(RequestId);

    /// <summary>The datafile lies in its new place.</summary>
    internal sealed record DatafileMoved(long RequestId, MoveResult Result) : AdminAnswer(RequestId);

    /// <summary>
    /// Makes a datafile anew with its live pages only; given up, before its switch, if the session ends. Answers:
    /// <see cref="Progress"/>, then <see cref="DatafileCompacted"/>.
    /// </summary>
    /// <param name="RequestId">Chosen by the client.</param>
    /// <param name="Datafile">Its name.</param>
    /// <param name="BytesPerSecondMax">More than 0; null: as fast as commits allow.</param>
    internal sealed record CompactDatafile(long RequestId, string Datafile, long? BytesPerSecondMax)
        : AdminRequest(RequestId);

    /// <summary>The datafile has its live pages only.</summary>
    internal sealed record DatafileCompacted(long RequestId, CompactResult Result) : AdminAnswer(RequestId);

    /// <summary>
    /// Moves every datafile that lies in a folder to another one. Answers: <see cref="Progress"/>, then
    /// <see cref="FolderDrained"/>.
    /// </summary>
    /// <param name="RequestId">Chosen by the client.</param>
    /// <param name="Folder">Where they lie.</param>
    /// <param name="To">Where they go.</param>
    /// <param name="BytesPerSecondMax">For all of them together; null: no limit.</param>
    /// <param name="InPages">The client takes an answer of several messages: one holds some eighty moves.</param>
    internal sealed record DrainFolder(
        long RequestId, string Folder, string To, long? BytesPerSecondMax, bool InPages = false) : AdminRequest(RequestId);

    /// <summary>No datafile lies in the folder any more.</summary>
    /// <param name="RequestId">Of the request.</param>
    /// <param name="Results">The moves, in the order in which they were made; in pages, those of one.</param>
    /// <param name="More">True if further pages follow, each sent by itself.</param>
    internal sealed record FolderDrained(long RequestId, IReadOnlyList<MoveResult> Results, bool More = false)
        : AdminAnswer(RequestId);

    /// <summary>
    /// Brings one datafile back; given up, until it lies in its place, if the session ends. Answers:
    /// <see cref="Progress"/>, then <see cref="DatafileRecovered"/>; for a plan <see cref="DatafileRecoveryPlanned"/>.
    /// </summary>
    /// <param name="RequestId">Chosen by the client.</param>
    /// <param name="Datafile">Its name.</param>
    /// <param name="Store">Where the backup sets are; null: what lies there, or the database's own stores.</param>
    /// <param name="Archive">Where WAL is that the database has not; null: nowhere else.</param>
    /// <param name="PlanOnly">Say what would be done, and do nothing.</param>
    internal sealed record RecoverDatafile(
        long RequestId, string Datafile, string? Store, string? Archive, bool PlanOnly) : AdminRequest(RequestId);

    /// <summary>The datafile serves again.</summary>
    internal sealed record DatafileRecovered(long RequestId, DatafileRecoveryResult Result) : AdminAnswer(RequestId);

    /// <param name="RequestId">Of the request.</param>
    /// <param name="Plan">As RecoveryPlan writes it (JSON), its stretches of WAL condensed.</param>
    internal sealed record DatafileRecoveryPlanned(long RequestId, string Plan) : AdminAnswer(RequestId);

    // ---- backup sets that a client makes by itself (pgtar) --------------------------------------------

    /// <summary>
    /// The engine keeps still what a set needs; let go with the session. Renew it within 60 s, each time. Answer:
    /// <see cref="SetBegun"/>.
    /// </summary>
    internal sealed record BeginSet(long RequestId, string Reason) : AdminRequest(RequestId);

    /// <param name="RequestId">Of the request.</param>
    /// <param name="Set">Its number in this session.</param>
    /// <param name="BackupId">The set's id.</param>
    /// <param name="CatalogueLsn">C.</param>
    /// <param name="BeganAt">When.</param>
    /// <param name="ControlBytes">How long the control file at C is: it comes by <see cref="ReadSetControl"/>.</param>
    /// <param name="Place">The database's folder on the engine's machine.</param>
    /// <param name="HasArchive">The database has an archive.</param>
    internal sealed record SetBegun(
        long RequestId, long Set, string BackupId, Lsn CatalogueLsn, DateTimeOffset BeganAt, int ControlBytes,
        FolderPlace Place, bool HasArchive) : AdminAnswer(RequestId);

    /// <summary>A piece of the set's control file. Answer: <see cref="SetControlRead"/>.</summary>
    internal sealed record ReadSetControl(long RequestId, long Set, int From) : AdminRequest(RequestId);

    /// <summary>From where it was asked, as much as fits into a message.</summary>
    internal sealed record SetControlRead(long RequestId, ReadOnlyMemory<byte> Content) : AdminAnswer(RequestId);

    /// <summary>The set is still being made. Answers: <see cref="Done"/>; Failed with FenceBroken: the copy is
    /// void.</summary>
    internal sealed record RenewSet(long RequestId, long Set) : AdminRequest(RequestId);

    /// <summary>Holds one datafile still. Answer: <see cref="SetFileFenced"/>.</summary>
    internal sealed record FenceForSet(long RequestId, long Set, FileId File) : AdminRequest(RequestId);

    /// <param name="RequestId">Of the request.</param>
    /// <param name="File">What is fenced; null: it was dropped since the set began.</param>
    internal sealed record SetFileFenced(long RequestId, Pitr.Recovery.FencedFile? File) : AdminAnswer(RequestId);

    /// <summary>Answers: <see cref="Done"/>, the copy is good; Failed with FenceBroken: it is void.</summary>
    internal sealed record UnfenceForSet(long RequestId, long Set) : AdminRequest(RequestId);

    /// <summary>Every file is copied. Answer: <see cref="SetEnded"/>.</summary>
    internal sealed record EndSet(long RequestId, long Set) : AdminRequest(RequestId);

    /// <param name="RequestId">Of the request.</param>
    /// <param name="StartLsn">min(C, the files' checkpoint LSNs).</param>
    /// <param name="StopLsn">Of BackupEnd.</param>
    /// <param name="StopTime">Its commit time.</param>
    /// <param name="LastTransaction">The last one at or below it.</param>
    /// <param name="Dropped">Files of the catalogue at C that are no more.</param>
    internal sealed record SetEnded(
        long RequestId, Lsn StartLsn, Lsn StopLsn, DateTimeOffset StopTime, TransactionId LastTransaction,
        IReadOnlyList<FileId> Dropped) : AdminAnswer(RequestId);

    /// <summary>Before the manifest. Answer: <see cref="SetConfirmed"/>.</summary>
    internal sealed record ConfirmSet(long RequestId, long Set, bool NeedsArchive) : AdminRequest(RequestId);

    /// <summary>Nothing was taken away meanwhile; IsArchived: every store has the WAL, if that was asked.</summary>
    internal sealed record SetConfirmed(long RequestId, bool IsArchived) : AdminAnswer(RequestId);

    /// <summary>The set is made, or given up. Answer: <see cref="Done"/>.</summary>
    internal sealed record ReleaseSet(long RequestId, long Set) : AdminRequest(RequestId);

    // ---- the administrator to itself ---------------------------------------------------------------

    /// <summary>A request's work has ended.</summary>
    internal sealed record RequestEnded(RequestUnderWay Of, AdminAnswer Answer) : INoSerializationVerificationNeeded;

    /// <summary>A fence of a session was broken.</summary>
    internal sealed record SessionFenceEnded(IActorRef Client, BrokenFence Fence) : INoSerializationVerificationNeeded;

    /// <summary>Time to look for sessions whose client went silent.</summary>
    internal sealed record LookForSilentSessions : INoSerializationVerificationNeeded;
}
