using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of what is asked of the engine as a whole: status, checkpoint, WAL, its end.</summary>
internal static class EngineWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<ReadStatus, W.ReadStatus>(
            "read-status.1", m => new W.ReadStatus { RequestId = m.RequestId }, w => new ReadStatus(w.RequestId)),
        WireEntry.Of<StatusRead, W.StatusRead>(
            "status-read.1",
            m => new W.StatusRead { RequestId = m.RequestId, Status = ToWire(m.Status) },
            w => new StatusRead(w.RequestId, FromWire(WireForms.Require(w.Status, "status")))),
        WireEntry.Of<Checkpoint, W.Checkpoint>(
            "checkpoint.1", m => new W.Checkpoint { RequestId = m.RequestId }, w => new Checkpoint(w.RequestId)),
        WireEntry.Of<Checkpointed, W.Checkpointed>(
            "checkpointed.1",
            m => new W.Checkpointed
            {
                RequestId = m.RequestId,
                RedoLsn = m.Result.RedoLsn.Value,
                CheckpointLsn = m.Result.CheckpointLsn.Value,
                Flushed = { m.Result.Flushed },
                Skipped = { m.Result.Skipped },
            },
            w => new Checkpointed(w.RequestId, new CheckpointResult(
                new Lsn(w.RedoLsn), new Lsn(w.CheckpointLsn), [.. w.Flushed], [.. w.Skipped]))),
        WireEntry.Of<SwitchWal, W.SwitchWal>(
            "switch-wal.1", m => new W.SwitchWal { RequestId = m.RequestId }, w => new SwitchWal(w.RequestId)),
        WireEntry.Of<WalSwitched, W.WalSwitched>(
            "wal-switched.1",
            m => new W.WalSwitched { RequestId = m.RequestId, Lsn = m.Lsn.Value },
            w => new WalSwitched(w.RequestId, new Lsn(w.Lsn))),
        WireEntry.Of<AddArchiveStore, W.AddArchiveStore>(
            "add-archive-store.1",
            m => new W.AddArchiveStore { RequestId = m.RequestId, Store = m.Store },
            w => new AddArchiveStore(w.RequestId, w.Store)),
        WireEntry.Of<StoreWasAdded, W.StoreWasAdded>(
            "store-was-added.1",
            m => new W.StoreWasAdded { RequestId = m.RequestId, Status = ToWire(m.Status) },
            w => new StoreWasAdded(w.RequestId, FromWire(WireForms.Require(w.Status, "status")))),
        WireEntry.Of<RemoveArchiveStore, W.RemoveArchiveStore>(
            "remove-archive-store.1",
            m => new W.RemoveArchiveStore { RequestId = m.RequestId, Store = m.Store },
            w => new RemoveArchiveStore(w.RequestId, w.Store)),
        WireEntry.Of<StoreWasRemoved, W.StoreWasRemoved>(
            "store-was-removed.1",
            m => new W.StoreWasRemoved
            {
                RequestId = m.RequestId,
                Store = m.Removal.Store,
                LackedSegments = m.Removal.LackedSegments,
                LackedBytes = m.Removal.LackedBytes,
                StoresLeft = m.Removal.StoresLeft,
            },
            w => new StoreWasRemoved(
                w.RequestId, new StoreRemoval(w.Store, w.LackedSegments, w.LackedBytes, w.StoresLeft))),
        WireEntry.Of<CheckArchive, W.CheckArchive>(
            "check-archive.1", m => new W.CheckArchive { RequestId = m.RequestId }, w => new CheckArchive(w.RequestId)),
        WireEntry.Of<ArchiveChecked, W.ArchiveChecked>(
            "archive-checked.1",
            m => new W.ArchiveChecked { RequestId = m.RequestId, Stores = { m.Stores.Select(ToWire) } },
            w => new ArchiveChecked(w.RequestId, [.. w.Stores.Select(FromWire)])),
        WireEntry.Of<CreateRestorePoint, W.CreateRestorePoint>(
            "create-restore-point.1",
            m => new W.CreateRestorePoint { RequestId = m.RequestId, Name = m.Name },
            w => new CreateRestorePoint(w.RequestId, w.Name)),
        WireEntry.Of<RestorePointCreated, W.RestorePointCreated>(
            "restore-point-created.1",
            m => new W.RestorePointCreated
            {
                RequestId = m.RequestId,
                Name = m.Point.Name,
                Lsn = m.Point.Lsn.Value,
                Time = WireForms.Of(m.Point.Time),
            },
            w => new RestorePointCreated(
                w.RequestId, new RestorePoint(w.Name, new Lsn(w.Lsn), WireForms.ToTime(w.Time)))),
        WireEntry.Of<Shutdown, W.Shutdown>(
            "shutdown.1",
            m => new W.Shutdown { RequestId = m.RequestId, Force = m.Force },
            w => new Shutdown(w.RequestId, w.Force)),
    ];

    /// <summary>Without the datafiles, which have messages of their own.</summary>
    private static W.EngineStatus ToWire(EngineStatus status) => new()
    {
        SystemId = status.SystemId.Value,
        State = status.State,
        Timeline = status.Timeline.Value,
        CurrentLsn = status.CurrentLsn.Value,
        FlushedLsn = status.FlushedLsn.Value,
        RedoLsn = status.RedoLsn.Value,
        Archive = { status.Archive.Select(ToWire) },
        RecoveryWindow = status.RecoveryWindow is { } window ? ToWire(window) : null,
        Disks =
        {
            status.Disks.Select(static disk => new W.DiskStatus
            {
                Path = disk.Path,
                FreeBytes = disk.FreeBytes,
                ReserveBytes = disk.ReserveBytes,
                RefusesCommits = disk.RefusesCommits,
            }),
        },
        Schedules = { status.Schedules.Select(ToWire) },
    };

    private static EngineStatus FromWire(W.EngineStatus status) => new(
        new SystemIdentifier(status.SystemId), status.State, new TimelineId(status.Timeline),
        new Lsn(status.CurrentLsn), new Lsn(status.FlushedLsn), new Lsn(status.RedoLsn),
        [], [.. status.Archive.Select(FromWire)],
        status.RecoveryWindow is { } window ? FromWire(window) : null)
    {
        Disks = [.. status.Disks.Select(static disk => new DiskStatus(
            disk.Path, disk.FreeBytes, disk.ReserveBytes, disk.RefusesCommits))],
        Schedules = [.. status.Schedules.Select(FromWire)],
    };

    private static W.ScheduleStatus ToWire(ScheduleStatus schedule)
    {
        var wire = new W.ScheduleStatus
        {
            Run = schedule.Run.ToString(),
            Cron = schedule.Cron,
            Store = schedule.Store,
            IsRunning = schedule.IsRunning,
        };
        if (schedule.NextAt is { } next)
            wire.NextAt = WireForms.Of(next);
        if (schedule.LastBeganAt is { } began)
            wire.LastBeganAt = WireForms.Of(began);
        if (schedule.LastSeconds is { } seconds)
            wire.LastSeconds = seconds;
        if (schedule.LastError is { } error)
            wire.LastError = error;
        return wire;
    }

    private static ScheduleStatus FromWire(W.ScheduleStatus schedule) => new(
        Enum.TryParse(schedule.Run, out ScheduledWork run) && Enum.IsDefined(run)
            ? run : throw new ArgumentException($"'{schedule.Run}' is no scheduled work."),
        schedule.Cron, schedule.Store, schedule.HasNextAt ? WireForms.ToTime(schedule.NextAt) : null,
        schedule.HasLastBeganAt ? WireForms.ToTime(schedule.LastBeganAt) : null,
        schedule.HasLastSeconds ? schedule.LastSeconds : null, schedule.HasLastError ? schedule.LastError : null,
        schedule.IsRunning);

    private static W.ArchiveStatus ToWire(ArchiveStatus archive)
    {
        var wire = new W.ArchiveStatus
        {
            Store = archive.Store,
            LagSegments = archive.LagSegments,
            LagBytes = archive.LagBytes,
            LagSeconds = archive.LagSeconds,
            LagBytesMax = archive.LagBytesMax,
            RefusesCommits = archive.RefusesCommits,
            IsUnclaimed = archive.IsUnclaimed,
        };
        if (archive.LastSegment is { } segment)
            wire.LastSegment = segment;
        if (archive.LastError is { } error)
            wire.LastError = error;
        if (archive.Dropped is { } dropped)
            wire.Dropped = dropped;
        return wire;
    }

    private static ArchiveStatus FromWire(W.ArchiveStatus archive) => new(
        archive.Store, archive.HasLastSegment ? archive.LastSegment : null, archive.LagSegments, archive.LagBytes,
        archive.LagSeconds, archive.HasLastError ? archive.LastError : null)
    {
        LagBytesMax = archive.LagBytesMax,
        RefusesCommits = archive.RefusesCommits,
        IsUnclaimed = archive.IsUnclaimed,
        Dropped = archive.HasDropped ? archive.Dropped : null,
    };

    private static W.StoreCheck ToWire(StoreCheck check) => new()
    {
        Store = check.Store,
        From = check.From.Value,
        To = check.To.Value,
        Segments = check.Segments,
        Parts = check.Parts,
        Bytes = check.Bytes,
    };

    private static StoreCheck FromWire(W.StoreCheck check) => new(
        check.Store, new Lsn(check.From), new Lsn(check.To), check.Segments, check.Parts, check.Bytes);

    private static W.RecoveryWindow ToWire(RecoveryWindow window)
    {
        var wire = new W.RecoveryWindow { From = WireForms.Of(window.From), To = WireForms.Of(window.To) };
        if (window.VerifiedAt is { } verified)
            wire.VerifiedAt = WireForms.Of(verified);
        return wire;
    }

    private static RecoveryWindow FromWire(W.RecoveryWindow window) => new(
        WireForms.ToTime(window.From), WireForms.ToTime(window.To),
        window.HasVerifiedAt ? WireForms.ToTime(window.VerifiedAt) : null);
}
