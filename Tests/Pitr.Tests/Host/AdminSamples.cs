using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Tests;

/// <summary>One of each administration message, with each of its members set; and some with the optional ones absent.</summary>
internal static class AdminSamples
{
    private static readonly DateTimeOffset Time = new(2026, 11, 22, 14, 5, 0, TimeSpan.Zero);

    public static async Task<object[]> AllAsync()
    {
        var engine = new MemoryTarget();
        CancellationToken none = CancellationToken.None;
        EngineStatus status = await engine.GetStatusAsync(none);
        ArchiveStatus behind = status.Archive[0] with
        {
            LastError = "it is full",
            LagBytesMax = 1 << 20,
            RefusesCommits = true,
            IsUnclaimed = true,
            Dropped = "0/10 to 0/20",
        };
        return
        [
            new OpenSession(ProtocolVersion, "token", "test"),
            new SessionOpened(ProtocolVersion, status.SystemId, "/db", "127.0.0.1:8053", AdminRole.Viewer),
            new SessionRefused(new AdminProblem(4507, 4, "No.", "Do.")),
            new Ping(),
            new Pong(true),
            new CloseSession(),
            new CancelRequest(7),
            new FenceWasBroken(new Guid("01234567-89ab-cdef-0123-456789abcdef"), "main", new AdminProblem(4213, 4, "Void.", "Again.")),
            new Done(1),
            new Failed(9, new AdminProblem(3001, 3, "No table.", "List them.")),
            new Progress(2, "copies", 5, 10),
            new ReadStatus(2),
            new StatusRead(3, status with { Datafiles = [], Archive = [.. status.Archive, behind] }),
            new StatusRead(3, status with { Datafiles = [], Archive = [], RecoveryWindow = null }),
            new StatusRead(3, status with
            {
                Datafiles = [],
                Archive = [],
                Schedules =
                [
                    new ScheduleStatus(
                        ScheduledWork.Backup, "0 2 * * *", "/sets", DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch, 1.5,
                        "it is full", false),
                    new ScheduleStatus(ScheduledWork.Expire, "0 3 * * *", "/sets", null, null, null, null, true),
                ],
                Disks = [new DiskStatus("/db", 1 << 20, 56 << 20, true), new DiskStatus("/data", 1L << 40, 0, false)],
            }),
            new ReadDatafiles(4, "main"),
            new ReadDatafiles(4, null),
            new DatafilesRead(4, status.Datafiles, true),
            new ReadTables(4, "t"),
            new ReadTables(4, null),
            new TablesRead(4, [new TableEntry("t", "main")], false),
            new Checkpoint(7),
            new Checkpointed(7, await engine.CheckpointAsync(none)),
            new SwitchWal(7),
            new WalSwitched(7, new Lsn(0x1000)),
            new AddArchiveStore(8, "s3://bucket/orders"),
            new StoreWasAdded(8, behind),
            new RemoveArchiveStore(8, "/archive"),
            new StoreWasRemoved(8, await engine.RemoveStoreAsync("/archive", none)),
            new CheckArchive(8),
            new ArchiveChecked(8, await engine.CheckArchiveAsync(none)),
            new CreateRestorePoint(8, "good"),
            new RestorePointCreated(8, await engine.CreateRestorePointAsync("good", none)),
            new Shutdown(8, true),
            new CreateDatafile(8, "orders", "/data/orders.pitr"),
            new CreateDatafile(8, "orders", null),
            new DatafileCreated(8, new DatafileEntry("orders", "/data/orders.pitr")),
            new DropDatafile(8, "orders"),
            new CreateTable(8, "lines", "main"),
            new CreateTable(8, "lines", null),
            new TableCreated(8, new TableEntry("lines", "main")),
            new DropTable(8, "lines"),
            new FenceDatafile(5, "main", 600, "a copy"),
            new FenceForSession(5, "main", 600, "a copy"),
            new RenewFence(5, MemoryTarget.FenceId, 600),
            new FenceRenewed(5, Time),
            new DatafileFenced(5, await engine.FenceAsync("main", TimeSpan.FromMinutes(10), "", none)),
            new UnfenceDatafile(6, "main", null),
            new UnfenceDatafile(6, null, MemoryTarget.FenceId),
            new DatafileUnfenced(6, await engine.UnfenceAsync("main", null, none)),
            new MakeBackup(8, "/data/backups", 1024, 2, true),
            new MakeBackup(8, "/data/backups", null, 1, false),
            new BackupMade(8, await engine.BackupAsync(new BackupRequest { Store = "/data/backups" }, none)),
            new BackupMade(8, await engine.BackupAsync(
                new BackupRequest { Store = "/data/backups", Incremental = true }, none)),
            new RecoverDatafile(10, "main", "/backups", "/archive", true),
            new RecoverDatafile(10, "main", null, null, false),
            new DatafileRecovered(10, new DatafileRecoveryResult(
                "main", "/db/main.pitr", "20261122T140500Z-1", new Lsn(0x1000), new Lsn(0x2000), 3, 81920, 1.5)
            {
                Findings = ["It was kept."],
            }),
            new DatafileRecovered(10, new DatafileRecoveryResult(
                "main", "/db/main.pitr", null, new Lsn(0x1000), new Lsn(0x2000), 3, 0, 1.5)),
            new DatafileRecoveryPlanned(10, "{}"),
            new MoveDatafile(10, "main", "/data/main.pitr", true, 1024),
            new MoveDatafile(10, "main", "/data/main.pitr", false, null),
            new DatafileMoved(10, new MoveResult("main", "/db/main.pitr", "/data/main.pitr", 81920, 1.5, 0.25)),
            new CompactDatafile(12, "main", 1024),
            new CompactDatafile(12, "main", null),
            new DatafileCompacted(12, new CompactResult("main", "/db/main.pitr", 81920, 16384, 1.5, 0.25)),
            new DrainFolder(11, "/data/1", "/data/2", 1024),
            new DrainFolder(11, "/data/1", "/data/2", null),
            new DrainFolder(11, "/data/1", "/data/2", 1024, InPages: true),
            new FolderDrained(
                11, [new MoveResult("main", "/data/1/main.pitr", "/data/2/main.pitr", 81920, 1.5, 0.25)]),
            new FolderDrained(
                11, [new MoveResult("main", "/data/1/main.pitr", "/data/2/main.pitr", 81920, 1.5, 0.25)], More: true),
            new BeginSet(10, "pgtar 4711"),
            new SetBegun(
                10, 1, "20261122T140500Z-1f3a5c", new Lsn(0x2000), Time, 4096,
                new FolderPlace("shop", "4f1c", 8, 0x1234), HasArchive: true),
            new ReadSetControl(11, 1, 65536),
            new SetControlRead(11, new byte[] { 1, 2, 3 }),
            new RenewSet(12, 1),
            new FenceForSet(13, 1, new FileId(2)),
            new SetFileFenced(13, new Pitr.Recovery.FencedFile(
                new FileId(2), "orders", "/data/orders.pitr", 24576, new Lsn(0x1F00), new Incarnation(7), 4,
                new Lineage(9), "/data/orders.pitr")),
            new SetFileFenced(13, new Pitr.Recovery.FencedFile(
                new FileId(1), "main", "/db/main.pitr", 24576, new Lsn(0x1F00), new Incarnation(7), 4, new Lineage(9))),
            new SetFileFenced(13, null),
            new UnfenceForSet(14, 1),
            new EndSet(15, 1),
            new SetEnded(
                15, new Lsn(0x1F00), new Lsn(0x2F00), Time, new TransactionId(77), [new FileId(3), new FileId(4)]),
            new ConfirmSet(16, 1, NeedsArchive: true),
            new SetConfirmed(16, true),
            new ReleaseSet(17, 1),
        ];
    }
}
