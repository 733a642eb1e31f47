using Pitr.Recovery;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>What a <see cref="RecoveryCoordinator"/> tells the supervisor.</summary>
internal static class RecoveryProtocol
{
    /// <summary>Everything up to End is in buffers or files; the engine may start.</summary>
    /// <param name="End">The last LSN that counts.</param>
    /// <param name="Timeline">That goes on from it.</param>
    /// <param name="Lineage">Of that timeline.</param>
    /// <param name="Progress">What was replayed.</param>
    /// <param name="Wal">Where WalWriter goes on; null if the database stays paused, for reading only.</param>
    public sealed record RecoveryEnded(
        Lsn End, TimelineId Timeline, Lineage Lineage, WalStart? Wal, ReplayProgress Progress) : ILocalMessage;

    /// <summary>It can't be opened.</summary>
    public sealed record RecoveryFailed(Exception Error) : ILocalMessage;
}

/// <summary>Where WalWriter goes on.</summary>
internal sealed record WalStart(
    WalFolder Folder, TimelineHistory History, WalAppender Appender, CommitClock Clock, TransactionId LastTransaction,
    DateTimeOffset LastCommitTime)
{
    /// <summary>From an opened log; the transaction ids go on above what log and control file know.</summary>
    public static WalStart Of(
        WalFolder folder, TimelineHistory history, WalOpened opened, TransactionId next, TimeProvider clock) => new(
        folder, history, opened.Appender, new CommitClock(clock, opened.LastCommitTime),
        new TransactionId(Math.Max(opened.LastTransactionId.Value, next.Value - 1)), opened.LastCommitTime);

    /// <summary>Nobody writes it any more.</summary>
    public void LetGo()
    {
        Appender.Dispose();
        Folder.Dispose();
    }
}

/// <summary>What a promotion made.</summary>
internal sealed record Promoted(Storage.ControlFile Control, WalStart Wal) : ILocalMessage;
