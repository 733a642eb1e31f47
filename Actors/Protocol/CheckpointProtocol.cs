using Akka.Actor;

namespace Pitr.Actors;

/// <summary>What the <see cref="Checkpointer"/> understands.</summary>
internal static class CheckpointProtocol
{
    /// <summary>
    /// Asks for a checkpoint now; one that runs is waited for, then another is made. Answers: CheckpointEnded |
    /// RequestRefused.
    /// </summary>
    public sealed record RunCheckpoint : IWireMessage;

    /// <summary>What a checkpoint did.</summary>
    public sealed record CheckpointEnded(CheckpointResult Result) : IWireMessage;

    /// <summary>A datafile's buffers are large: a checkpoint is due, nothing is answered.</summary>
    public sealed record CheckpointWanted(string Why) : ILocalMessage;
}

/// <summary>
/// What the <see cref="WalFolderActor"/> understands: segments ahead of the log, and segments behind it.
/// </summary>
internal static class WalFolderProtocol
{
    /// <summary>Makes segments until so many are ready ahead. Answers: SegmentsReady | SegmentsFailed.</summary>
    public sealed record PrepareSegments(int Count) : ILocalMessage;

    /// <summary>Replay needs nothing below this LSN any more.</summary>
    public sealed record RedoMoved(Lsn RedoLsn) : ILocalMessage;

    /// <summary>Who says which segments the stores have; without it there is no store to wait for.</summary>
    public sealed record UseArchiver(IActorRef Archiver) : ILocalMessage;

    /// <summary>Keeps WAL from this LSN on, until it is released (a backup under way).</summary>
    public sealed record HoldWal(Guid Holder, Lsn From) : ILocalMessage;

    public sealed record WalHeld(Guid Holder) : ILocalMessage;

    public sealed record ReleaseWal(Guid Holder) : ILocalMessage;
}
