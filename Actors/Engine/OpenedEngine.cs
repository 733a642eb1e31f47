using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>What opening found, before anything is replayed.</summary>
internal sealed record OpenedEngine(
    DatabaseLock Lock, ControlFileStore ControlFileStore, ControlFile ControlFile, WalFolder WalFolder, WalOpened? Wal,
    IReadOnlyList<OpenedDatafile> Datafiles, StoreSet StoreSet, EngineStart Start)
        : ILocalMessage, IDisposable
{
    /// <summary>The archive stores, as they are now.</summary>
    public IReadOnlyList<IArchiveStore> Stores => StoreSet.Now;

    /// <summary>What this start has found out about its stores, also those that were removed.</summary>
    public required StoreStandings Standings { get; init; }

    /// <summary>How far a store may be behind.</summary>
    public required ArchiveBound ArchiveBound { get; init; }

    /// <summary>What an unfinished restore is to reach; null for a crash recovery.</summary>
    public RestoreInProgress? Restore { get; init; }

    /// <summary>What became of moves that had not ended; for the log.</summary>
    public IReadOnlyList<string> ToldOfMoves { get; init; } = [];

    /// <summary>Where WalWriter goes on after a crash recovery.</summary>
    public WalStart WalStart(TimeProvider clock) => Actors.WalStart.Of(
        WalFolder, TimelineHistory.Of(ControlFile.SystemId, ControlFile.History), Wal!, ControlFile.NextTransactionId,
        clock);

    /// <summary>Nobody will run this engine: its datafiles, then the rest.</summary>
    public void LetGo()
    {
        foreach (OpenedDatafile file in Datafiles)
            file.File?.Dispose();
        Dispose();
    }

    /// <summary>The WAL, and last the lock: nothing of this engine can write any more.</summary>
    public void Dispose()
    {
        Wal?.Appender.Dispose();
        WalFolder.Dispose();
        Lock.Dispose();
    }
}

/// <summary>A datafile that was opened, or why not.</summary>
internal sealed record OpenedDatafile(FileId Id, string Name, string Path, Datafile? File, Lsn CleanUpTo, Problem? Why);

/// <summary>A restore that goes on: its plan, where its WAL is, and what keeps expire from that.</summary>
internal sealed record RestoreInProgress(
    Guid RecoveryId, RecoveryPlan Plan, TimelineHistory History, WalSources Sources, RestoreHold Hold)
{
    /// <summary>The last LSN that counts.</summary>
    public Lsn Cut => Plan.StopsAt.Lsn;
}
