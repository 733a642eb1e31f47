using Akka.Actor;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What a <see cref="DatafileActor"/> understands, and what it answers.</summary>
/// <remarks>
/// <code>
///  holder                          datafile
///    | Fence ------------------------> |   waits for a running flush to end, brings a lagging meta page up to date
///    | &lt;-------- Fenced | FenceRefused |
///    |                                 |   not one byte of the file changes from here …
///    | RenewFence -------------------> |   before Fenced.Until, as often as needed
///    | &lt;-- FenceRenewed | FenceBroken  |
///    |                                 |   … to here
///    | Unfence ----------------------> |   others still hold: answered at once, the copy is good;
///    | &lt;------ Unfenced | FenceBroken  |   the last one out starts a flush and is answered when it is durable
/// </code>
/// FenceBroken may also come unasked, at any time while fenced: the copy is void, throw it away.
/// </remarks>
internal static class DatafileProtocol
{
    /// <summary>Asks that the file be left alone. Sent by a backup or an operator.</summary>
    /// <param name="Datafile">Name of the datafile.</param>
    /// <param name="Holder">Whose death ends the fence; null: only its lease does.</param>
    /// <param name="HolderName">For status and log.</param>
    /// <param name="Reason">For status and log: "backup 20260822T1405Z".</param>
    /// <param name="Lease">How long the fence lives without RenewFence: more than zero, at most 24 h.</param>
    /// <remarks>Answers: <see cref="Fenced"/>, <see cref="FenceRefused"/>. Sent twice, it makes two fences.</remarks>
    public sealed record Fence(string Datafile, IActorRef? Holder, string HolderName, string Reason, TimeSpan Lease)
        : IWireMessage
    {
        /// <summary>The holder is an actor of the application, which is told by a <see cref="BrokenFence"/>.</summary>
        public bool IsOfApplication { get; init; }
    }

    /// <summary>From here to Unfenced any tool may copy the file.</summary>
    /// <param name="Token">Proves it.</param>
    /// <param name="Datafile">Name of the datafile.</param>
    /// <param name="Path">The file.</param>
    /// <param name="LengthBytes">Its length.</param>
    /// <param name="CheckpointLsn">The copy holds every change at or below this LSN and none above.</param>
    /// <param name="Until">When the lease ends.</param>
    /// <param name="File">Its number.</param>
    /// <param name="Incarnation">Of the file.</param>
    /// <param name="Generation">Of its root.</param>
    /// <param name="Lineage">Of the checkpoint LSN.</param>
    public sealed record Fenced(
        Guid Token, string Datafile, string Path, long LengthBytes, Lsn CheckpointLsn, DateTimeOffset Until,
        FileId File, Incarnation Incarnation, ulong Generation, Lineage Lineage) : IWireMessage;

    public sealed record FenceRefused(string Datafile, Problem Why) : IWireMessage;

    /// <summary>Prolongs a lease. Answers: FenceRenewed | FenceBroken.</summary>
    public sealed record RenewFence(Guid Token, TimeSpan Lease) : IWireMessage;

    public sealed record FenceRenewed(Guid Token, DateTimeOffset Until) : IWireMessage;

    /// <summary>The copy is void.</summary>
    public sealed record FenceBroken(Guid Token, Problem Why) : IWireMessage;

    /// <summary>Ends a fence. Answers: Unfenced when the copy is good | FenceBroken.</summary>
    public sealed record Unfence(Guid Token) : IWireMessage;

    /// <param name="Token">The fence that ended.</param>
    /// <param name="Datafile">Name of the datafile.</param>
    /// <param name="FlushedLsn">Every change at or below it is in the file and durable.</param>
    /// <param name="HoldersRemaining">Fences that still hold the file.</param>
    public sealed record Unfenced(Guid Token, string Datafile, Lsn FlushedLsn, int HoldersRemaining) : IWireMessage;

    /// <summary>
    /// The last part of a move, or of compacting (H20): the copy becomes the datafile, and the actor goes on in it. Waits
    /// until the token is the file's only fence; new ones wait meanwhile. Answers: DatafileSwitched | SwitchRefused |
    /// SwitchUndecided.
    /// </summary>
    /// <param name="Token">The mover's fence, which is still held afterwards.</param>
    /// <param name="Copy">Verified; the mover's again with the answer.</param>
    /// <param name="WalWriter">Who logs it.</param>
    public sealed record SwitchDatafile(Guid Token, SwitchableCopy Copy, IActorRef WalWriter) : ILocalMessage;

    /// <param name="IsNoted">True if the control file says so, durably: what else the move used may be removed.</param>
    public sealed record DatafileSwitched(bool IsNoted) : ILocalMessage;

    /// <summary>Nothing has happened; the file lies where it lay.</summary>
    public sealed record SwitchRefused(Problem Why) : ILocalMessage;

    /// <summary>The next opening finds out where the file lies; until then it is offline.</summary>
    public sealed record SwitchUndecided(Problem Why) : ILocalMessage;

    /// <summary>Breaks every fence of the file: too much memory or WAL is kept for it.</summary>
    public sealed record BreakFences(Problem Why) : ILocalMessage;

    /// <summary>The same, through the supervisor, for one datafile.</summary>
    public sealed record BreakFencesOf(FileId File, Problem Why) : ILocalMessage;

    /// <summary>
    /// The engine stops: no fence is granted any more, those who wait are refused. Answer: FencesEnded, when none is
    /// held.
    /// </summary>
    /// <param name="Break">Why those that are held are broken at once; null: they are waited for.</param>
    public sealed record EndFences(Problem? Break) : ILocalMessage;

    public sealed record FencesEnded(FileId File) : ILocalMessage;

    /// <summary>
    /// Hot path: a part of a synced group, in order. The records stay the group's; they are read until
    /// <see cref="VisibilityTracker.Applied"/>.
    /// </summary>
    /// <param name="Group">The group.</param>
    /// <param name="From">First member of the part.</param>
    /// <param name="To">First member beyond the part.</param>
    /// <param name="BodyFrom">Of a large member, which is then alone: where the part begins in its body, in
    /// bytes.</param>
    /// <param name="Operations">Of a large member: operations in the part; 0: all of every member.</param>
    /// <param name="IsLast">Only the last part carries the group's LSN (H1).</param>
    public sealed record ApplyPart(CommitGroup Group, int From, int To, int BodyFrom, uint Operations, bool IsLast)
        : ILocalMessage;

    /// <summary>
    /// A table of this file was dropped at this LSN: the next flush that seals at or above it cuts it out.
    /// </summary>
    public sealed record TableDropped(CommitGroup Group, TableId Table, Lsn Lsn) : ILocalMessage;

    /// <summary>
    /// What was applied so far is exactly every change ≤ Lsn. Answers to ReplyTo: FileClean | SealSkipped.
    /// </summary>
    public sealed record Seal(Lsn Lsn, IActorRef ReplyTo) : ILocalMessage;

    /// <summary>
    /// In a replay, the same; the LSN may be an ancestor's, whose lineage then goes into the meta page (H14).
    /// </summary>
    public sealed record SealReplay(Lsn Lsn, Lineage Lineage, IActorRef ReplyTo) : ILocalMessage;

    /// <summary>Every change at or below CleanUpTo is in the file on disk, durable.</summary>
    public sealed record FileClean(
        FileId File, string Name, Incarnation Incarnation, ulong Generation, Lsn CheckpointLsn, Lsn CleanUpTo)
        : ILocalMessage;

    /// <summary>The file takes no part in this checkpoint.</summary>
    public sealed record SealSkipped(FileId File, string Name, Lsn CleanUpTo, DatafileState State) : ILocalMessage;

    /// <summary>Asks for status. Answers: DatafileStatus.</summary>
    public sealed record GetDatafileStatus : ILocalMessage;

    /// <summary>Replay: a sorted batch of changes for this file alone. Answers: ReplayApplied.</summary>
    public sealed record ApplyReplay(ReplayBatch Batch) : ILocalMessage;

    public sealed record ReplayApplied(FileId File, int Changes) : ILocalMessage;

    /// <summary>Replay: a table of this file was dropped.</summary>
    public sealed record ReplayDropTable(TableId Table, Lsn Lsn) : ILocalMessage;

    /// <summary>
    /// A restore has replayed to its target: flush, then a new incarnation and the recovery's stamp (H15, H32). Answers
    /// to the sender: FileClean | SealSkipped.
    /// </summary>
    public sealed record FinishRestore(Lsn Lsn, Lineage Lineage, Guid RecoveryId) : ILocalMessage;

    /// <summary>The replay of this file reached its end. Answers: ReplayEnded.</summary>
    /// <param name="Lsn">Everything at or below it is in the buffers or the file.</param>
    /// <param name="Lineage">Of the timeline that the file's next flushes belong to.</param>
    public sealed record EndReplay(Lsn Lsn, Lineage Lineage) : ILocalMessage;

    public sealed record ReplayEnded(FileId File) : ILocalMessage;

    /// <summary>
    /// Ends the file's workers and closes it. Answers: DatafileClosed once nobody can write it any more (H13).
    /// </summary>
    public sealed record CloseDatafile : ILocalMessage;

    public sealed record DatafileClosed(FileId File) : ILocalMessage;

    /// <summary>The file went offline, or needs recovery: told to the supervisor.</summary>
    public sealed record DatafileFailed(FileId File, string Name, DatafileState State, Problem Why) : ILocalMessage;
}

/// <summary>The states of a datafile: the same words in status, log and guide (design §4).</summary>
internal enum DatafileState
{
    /// <summary>Commits and reads.</summary>
    Open,

    /// <summary>Commits and reads; sealed buffers are being merged into the file.</summary>
    Flushing,

    /// <summary>Commits and reads; the file is left alone.</summary>
    Fenced,

    /// <summary>Another file takes its place: the end of a move, or of compacting.</summary>
    Switching,

    /// <summary>A write or sync failed: reads go on, commits do not.</summary>
    Offline,

    /// <summary>Old, damaged or ownerless: neither commits nor reads.</summary>
    NeedsRecovery,

    /// <summary>WAL is being replayed into it.</summary>
    Recovering,
}
