using Akka.Actor;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What a <see cref="DatafileMover"/> is asked, and with whom it works.</summary>
/// <remarks>
/// <code>
///  caller        mover (a child of the supervisor)     control file    datafile
///    | RunMove ---> |  plan                               |                |
///    |              | the move is noted ----------------> |                |
///    |              | Fence -------------------------------------------->  |
///    |              | &lt;------------------------------------------- Fenced |
///    |              |  copy, sync, verify                 |                |
///    |              | SwitchDatafile ----------------------------------->  |   MoveDatafile logged, name, control file
///    |              | &lt;--------------------------------- DatafileSwitched |
///    |              | Unfence ------------------------------------------>  |   flushes into the copy
///    |              |  what is left over is removed       |                |
///    |              | the move is forgotten ------------> |                |
///    | &lt;- MoveEnded |
/// </code>
/// </remarks>
internal static class MoveProtocol
{
    /// <summary>Moves a datafile. Answers: MoveEnded | RequestRefused. Not to be sent twice.</summary>
    /// <param name="Request">Which, and where to.</param>
    /// <param name="Limit">Bytes a second, shared by all moves of a drain; null: none.</param>
    /// <param name="Cancel">Gives it up, until the switch has begun.</param>
    public sealed record RunMove(MoveRequest Request, RateLimit? Limit, CancellationToken Cancel) : ILocalMessage;

    public sealed record MoveEnded(MoveResult Result) : ILocalMessage;
}
