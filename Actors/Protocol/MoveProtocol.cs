using Akka.Actor;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What a <see cref="DatafileMover"/> is asked, and with whom it works.</summary>
/// <remarks>
/// <code>
///  caller        mover (a child of the supervisor)     control file    datafile
///    | RunMover --> |  plan                               |                |
///    |              | the move is noted ----------------> |                |
///    |              | Fence -------------------------------------------->  |
///    |              | &lt;------------------------------------------- Fenced |
///    |              |  copy, sync, verify                 |                |   compacting: rows into new pages
///    |              | SwitchDatafile ----------------------------------->  |   a move is logged; name, control file
///    |              | &lt;--------------------------------- DatafileSwitched |
///    |              | Unfence ------------------------------------------>  |   flushes into the copy
///    |              |  what is left over is removed       |                |   compacting: nothing is
///    |              | the move is forgotten ------------> |                |
///    | &lt;- MoveEnded, CompactEnded |
/// </code>
/// </remarks>
internal static class MoveProtocol
{
    /// <summary>
    /// Moves or compacts a datafile. Answers: MoveEnded | CompactEnded | RequestRefused. Not to be sent twice.
    /// </summary>
    /// <param name="Job">Which, and what becomes of it; the mover's own from here on.</param>
    /// <param name="Cancel">Gives it up, until the switch has begun.</param>
    public sealed record RunMover(MoverJob Job, CancellationToken Cancel) : ILocalMessage;

    /// <summary>
    /// The mover to the supervisor, before whoever asked is told: it does nothing any more, and what it left may be settled.
    /// </summary>
    public sealed record MoverEnds : ILocalMessage;

    public sealed record MoveEnded(MoveResult Result) : ILocalMessage;

    public sealed record CompactEnded(CompactResult Result) : ILocalMessage;
}
