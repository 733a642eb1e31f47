using Akka.Actor;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>What <see cref="WalWriter"/> understands, and what it answers.</summary>
/// <remarks>
/// <code>
///  callers                    WalWriter                     datafiles
///    | (intake) Drain ----------> |                             |
///    |                            | pwrite, fdatasync           |
///    |                            | ApplyPart … ApplyPart ----> |   ordered; the last one carries the group's LSN
///    |                            | (next group at once)        |
///    | &lt;== visible: callers complete (VisibilityTracker) ===== |
///
///  checkpointer               WalWriter                     datafiles
///    | RequestSeal -------------> | Seal(D) ------------------> |   after every change ≤ D, before any above
///    | &lt;---------------- SealSent |                             |
/// </code>
/// </remarks>
internal static class WalProtocol
{
    /// <summary>There is something in the intake.</summary>
    public sealed record Drain : ILocalMessage
    {
        public static readonly Drain Instance = new();
    }

    /// <summary>
    /// Logs one event as a group of its own. Answers: EventLogged | EventRefused. Not to be sent twice.
    /// </summary>
    /// <param name="Event">What happened.</param>
    /// <param name="Tag">Comes back with the answer.</param>
    public sealed record LogEvent(WalEvent Event, object? Tag = null) : ILocalMessage;

    /// <summary>The event is durable.</summary>
    public sealed record EventLogged(
        WalEvent Event, Lsn Lsn, DateTimeOffset Time, TransactionId LastTransaction, object? Tag) : ILocalMessage;

    /// <summary>The event was not logged.</summary>
    public sealed record EventRefused(WalEvent Event, Problem Why, object? Tag) : ILocalMessage;

    /// <summary>Asks for a barrier: Seal(D) to each of the datafiles, and SealSent to the sender.</summary>
    /// <param name="Files">The datafiles to seal.</param>
    public sealed record RequestSeal(IReadOnlyList<FileId> Files, object? Tag = null) : ILocalMessage;

    /// <summary>Every Seal of the barrier was sent.</summary>
    /// <param name="Lsn">D: durable, and the last LSN stamped before the barrier.</param>
    public sealed record SealSent(Lsn Lsn, DateTimeOffset Time, IReadOnlyList<FileId> Files, object? Tag)
        : ILocalMessage;

    /// <summary>Ends the segment in use with a filler. Answers: SegmentSwitched.</summary>
    public sealed record SwitchSegment : ILocalMessage;

    /// <summary>The next record begins a new segment.</summary>
    /// <param name="Lsn">The beginning of that segment.</param>
    public sealed record SegmentSwitched(Lsn Lsn) : ILocalMessage;

    /// <summary>A datafile takes commits from now on. Answers: FileOpened.</summary>
    public sealed record OpenFile(FileId File, string Name, IActorRef Owner) : ILocalMessage;

    /// <summary>See <see cref="OpenFile"/>.</summary>
    public sealed record FileOpened(FileId File) : ILocalMessage;

    /// <summary>
    /// Closes a datafile to commits (H40). <paramref name="IsGone"/>: it will apply nothing any more and counts as
    /// having applied. Answers: FileClosed with the last LSN stamped that may concern it.
    /// </summary>
    public sealed record CloseFile(FileId File, bool IsGone, Problem Why) : ILocalMessage;

    /// <summary>See <see cref="CloseFile"/>.</summary>
    public sealed record FileClosed(FileId File, Lsn LastStamped) : ILocalMessage;

    /// <summary>Ends a transaction that committed nothing, or whose commit was decided.</summary>
    public sealed record EndTransaction(TransactionTicket Ticket) : ILocalMessage;

    /// <summary>Time for a heartbeat, if nothing else was logged.</summary>
    public sealed record HeartbeatDue : ILocalMessage;

    /// <summary>A segment is ready ahead.</summary>
    public sealed record SegmentsReady : ILocalMessage;

    /// <summary>No segment could be made ready; what waits for one is refused.</summary>
    public sealed record SegmentsFailed(Problem Why) : ILocalMessage;

    /// <summary>Logs that the shutdown is clean and takes nothing after it. Answers: WalClosed.</summary>
    public sealed record CloseWal : ILocalMessage;

    /// <summary>The WAL ends here, durable.</summary>
    public sealed record WalClosed(Lsn End) : ILocalMessage;

    /// <summary>The WAL failed: the engine stops (fail-stop, design §8).</summary>
    public sealed record WalFailed(Problem Why) : ILocalMessage;
}
