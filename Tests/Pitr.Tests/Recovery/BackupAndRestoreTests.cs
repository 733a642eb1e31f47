using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class BackupAndRestoreTests
{
    private readonly RecoveryFixture _fixture = new();

    /// <summary>H29: start = min(C, the files' checkpoint LSNs); stop is the LSN of BackupEnd.</summary>
    [Fact]
    public void A_set_goes_from_the_least_of_C_and_its_files_to_its_BackupEnd()
    {
        Commit();
        BackupSet set = _fixture.Backup("b1");

        Assert.Equal(set.Label.CatalogueLsn, set.Label.StartLsn);
        Assert.Equal(_fixture.Wal.End, set.Label.StopLsn);
        Assert.False(set.Label.IsPartial);
        Assert.Equal(set.Label.ToBytes(), BackupCatalog.Read(_fixture.Store).Get("b1").Label.ToBytes());
    }

    /// <summary>H29: the start follows C where the files were flushed after it, and a file where it lags.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(512)]
    [InlineData(-512)]
    public void A_set_starts_at_the_least_of_C_and_its_files(int fileAboveC)
    {
        for (int i = 0; i < 20; i++)
            Commit();
        Lsn c = _fixture.Wal.End + -1024;
        BackupWriter writer = Begin("b1", c, new NoPage());
        writer.Copy(
            _fixture.WriteDatafile("/db/main.pitr", FileId.Main, c + fileAboveC, _fixture.Wal.Timeline.Lineage),
            CancellationToken.None);

        Assert.Equal(c + Math.Min(0, fileAboveC), writer.StartLsn);
    }

    /// <summary>H29: a file that lies above the stop was copied after it: the set would not be whole there.</summary>
    [Fact]
    public void A_set_whose_file_lies_above_its_stop_is_void()
    {
        Commit();
        Lsn c = _fixture.Wal.End;
        BackupWriter writer = Begin("b1", c, new NoPage());
        writer.Copy(
            _fixture.WriteDatafile("/db/main.pitr", FileId.Main, c + 64, _fixture.Wal.Timeline.Lineage),
            CancellationToken.None);
        var stop = new BackupStop(
            c, _fixture.Wal.Time, new TransactionId(1), new HashSet<FileId> { FileId.Main });

        Assert.Equal(ErrorCode.BackupVoid, Assert.Throws<RefusedException>(() => writer.Complete(stop)).Code);
        Assert.Empty(BackupCatalog.Read(_fixture.Store).Sets);
    }

    /// <summary>H39: until the last object, which is the manifest, is written there is no set.</summary>
    [Fact]
    public void Nothing_of_a_set_is_written_after_its_manifest()
    {
        Commit();
        _fixture.Disk.Log.Start();
        _fixture.Backup("b1");
        LoggedOperation[] named = [.. _fixture.Disk.Log.Operations.Where(
            done => done.Op is FileOp.Rename or FileOp.Link && done.Other!.Contains("/b1/", StringComparison.Ordinal))];
        Assert.EndsWith("/manifest.json", named[^1].Other, StringComparison.Ordinal);
        Assert.Contains(named, done => done.Other!.EndsWith("/label.json", StringComparison.Ordinal));
    }

    /// <summary>
    /// H35, H39: at every durable step but the last there is no set, and the intent is there from the first on.
    /// </summary>
    [Fact]
    public void Without_its_manifest_there_is_no_set()
    {
        Commit();
        _fixture.Backup("b1", afterBegin: _ =>
        {
            BackupCatalog begun = BackupCatalog.Read(_fixture.Store);
            Assert.Empty(begun.Sets);
            Assert.Equal("b1", Assert.Single(begun.Others).BackupId);
            Assert.Equal("b1", Assert.Single(BackupCatalog.Intents(_fixture.Store)).BackupId);
        });
        _fixture.Store.Delete("backups/b1/manifest.json");

        PitrException refused = Assert.ThrowsAny<PitrException>(() => BackupCatalog.Read(_fixture.Store).Get("b1"));
        Assert.Equal(ErrorCode.BackupVoid, refused.Code);
    }

    /// <summary>H35: expire took the intent while the backup ran.</summary>
    [Fact]
    public void A_backup_whose_intent_is_gone_is_void()
    {
        Commit();

        PitrException refused = Assert.ThrowsAny<PitrException>(() => _fixture.Backup(
            "b1", afterBegin: _ => _fixture.Store.Delete("backups/b1/intent.json")));

        Assert.Equal(ErrorCode.BackupVoid, refused.Code);
        Assert.Empty(BackupCatalog.Read(_fixture.Store).Sets);
    }

    [Fact]
    public void A_bad_page_that_counts_ends_the_backup_and_one_that_no_root_reaches_does_not()
    {
        Commit();
        Lsn c = _fixture.Wal.End;
        FencedFile file = _fixture.WriteDatafile("/db/main.pitr", FileId.Main, c, _fixture.Wal.Timeline.Lineage);
        _fixture.Disk.Damage("/db/main.pitr", offset: (2 * PageLayout.PageBytes) + 77);
        BackupWriter counting = Begin("b1", c, new RecoveryFixture.EveryPage());
        BackupWriter ignoring = Begin("b2", c, new NoPage());

        DamageException damage = Assert.Throws<DamageException>(() => counting.Copy(file, CancellationToken.None));
        ignoring.Copy(file, CancellationToken.None);

        Assert.Equal(ErrorCode.PageChecksum, damage.Code);
        Assert.Equal(2 * PageLayout.PageBytes, damage.Offset);
    }

    [Fact]
    public void The_control_file_of_a_set_is_marked_and_never_opens()
    {
        Commit();
        BackupSet set = _fixture.Backup("b1");

        ControlFile control = ControlFileStore.Decode("pitr.control", set.Read(BackupSet.ControlName));

        Assert.Equal(ControlFileKind.Backup, control.Kind);
        Assert.Equal("b1", control.BackupId);
    }

    [Fact]
    public void A_set_that_includes_its_WAL_restores_without_an_archive()
    {
        Commit();
        Lsn c = _fixture.Wal.End;
        BackupWriter writer = Begin("b1", c, new NoPage());
        writer.Copy(
            _fixture.WriteDatafile(
                "/db/main.pitr", FileId.Main, c, _fixture.Wal.Timeline.Lineage), CancellationToken.None);
        Commit();
        Lsn stop = _fixture.Wal.Log(new WalEvent.BackupEnd("b1", writer.StartLsn));
        _fixture.Ship(_fixture.Wal);
        var sources = new WalSources(
            [new ArchiveWalSource(_fixture.Store, ArchiveCatalog.Load(_fixture.Store), RecoveryFixture.Geometry)],
            RecoveryFixture.Geometry);
        writer.IncludeWal(_fixture.History, sources, stop, CancellationToken.None);
        writer.Complete(new BackupStop(
            stop, _fixture.Wal.Time, new TransactionId(2), new HashSet<FileId> { FileId.Main }));

        PlannedRecovery planned = RecoveryPlanner.Plan(
            _fixture.Request(RecoveryTarget.Latest) with { Archives = [] });

        Assert.Equal(stop, planned.Plan.StopsAt.Lsn);
        Assert.True(Assert.Single(BackupVerifier.Verify(
            _fixture.Store, [], null, _fixture.Random, CancellationToken.None)).Restores);
    }

    /// <summary>S5: a bit that turned over in the database's own WAL.</summary>
    [Fact]
    public void WAL_that_can_not_be_replayed_makes_no_set()
    {
        Commit();
        Lsn c = _fixture.Wal.End;
        BackupWriter writer = Begin("b1", c, new NoPage());
        writer.Copy(
            _fixture.WriteDatafile(
                "/db/main.pitr", FileId.Main, c, _fixture.Wal.Timeline.Lineage), CancellationToken.None);
        Commit();
        Lsn stop = _fixture.Wal.Log(new WalEvent.BackupEnd("b1", writer.StartLsn));
        _fixture.Ship(_fixture.Wal);
        var sources = new WalSources(
            [new TurnedSource(_fixture.Store, RecoveryFixture.Geometry)], RecoveryFixture.Geometry);

        Assert.Equal(ErrorCode.WalDamaged, Assert.Throws<DamageException>(() =>
            writer.IncludeWal(_fixture.History, sources, stop, CancellationToken.None)).Code);
    }

    private sealed class TurnedSource(IArchiveStore store, WalGeometry geometry) : IWalSource
    {
        private readonly ArchiveWalSource _good = new(store, ArchiveCatalog.Load(store), geometry);

        public string Name => _good.Name;

        public bool IsDurable => true;

        public Lsn HighestEnd(TimelineId timeline) => _good.HighestEnd(timeline);

        public Recovery.WalStretch? Find(TimelineHistory path, ulong number, Lsn from, Lsn to) =>
            _good.Find(path, number, from, to) is { } stretch
                ? stretch with
                {
                    Open = () =>
                    {
                        (Lsn at, ReadOnlyMemory<byte> bytes) = stretch.Open();
                        byte[] turned = bytes.ToArray();
                        turned[^12] ^= 1;
                        return (at, turned);
                    },
                }
                : null;
    }

    [Fact]
    public void Verify_finds_a_damaged_file_and_missing_WAL_at_once()
    {
        _fixture.Backup("b1");
        Commit();
        _fixture.Disk.Damage("/store/backups/b1/datafiles/main.pitr", offset: 10);

        VerifyReport report = Assert.Single(BackupVerifier.Verify(
            _fixture.Store, [_fixture.Store], "b1", _fixture.Random, CancellationToken.None));

        Assert.Equal([ErrorCode.BackupDamaged, ErrorCode.WalGap], report.Problems.Select(problem => problem.Code));
    }

    /// <summary>An expire beside a verification, at each question that this asks its store: what is taken is no damage.</summary>
    [Fact]
    public void A_set_that_expires_while_all_are_verified_is_left_out()
    {
        int verified = 0;
        for (int at = 1, asked = at; asked >= at; at++)
        {
            var fixture = new RecoveryFixture();
            fixture.Backup("b1");
            fixture.Backup("b2");
            fixture.Ship(fixture.Wal);
            asked = 0;
            int expiresAt = at;
            var store = new LyingStore(fixture.Store, () =>
            {
                if (++asked == expiresAt)
                {
                    fixture.Store.Delete("backups/b1/" + BackupSet.ManifestName);
                    foreach (string name in fixture.Store.List("backups/b1/"))
                        fixture.Store.Delete(name);
                }
                return null;
            });

            IReadOnlyList<VerifyReport> reports =
                BackupVerifier.Verify(store, [fixture.Store], null, fixture.Random, CancellationToken.None);

            Assert.Contains("b2", reports.Select(static report => report.BackupId));
            Assert.All(reports, report => Assert.True(report.Restores, $"{report.BackupId}, expired at question {expiresAt}"));
            verified += reports.Count;
        }

        Assert.True(verified > 20, "It was hardly tried.");
    }

    /// <summary>H30: files lie under the new folder; the control file holds the plan.</summary>
    [Fact]
    public void A_restore_puts_files_under_the_new_folder_and_a_control_file_in_recovery_beside_them()
    {
        PlannedRecovery planned = Planned();

        new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(planned, isPaused: false, CancellationToken.None);

        Assert.Equal(_fixture.Disk.ReadAll("/db/main.pitr"), _fixture.Disk.ReadAll("/new/main.pitr"));
        ControlFile control = new ControlFileStore(_fixture.Disk, "/new").ReadLive();
        Assert.Equal(planned.Plan.ToJson(), control.Recovery?.Plan);
        Assert.Equal(planned.Plan.StartLsn, control.RedoLsn);
    }

    /// <summary>H30: the control file of a restore names only files that are durable, wherever they lie.</summary>
    [Fact]
    public void The_files_of_a_restore_are_durable_when_its_control_file_is()
    {
        PlannedRecovery planned = Planned();
        _fixture.Disk.CreateFolders("/else");
        RecoveryPlan mapped = planned.Plan with
        {
            Files = [.. planned.Plan.Files.Select(file => file with { Path = "/else/main.pitr" })],
        };
        new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(
            planned with { Plan = mapped }, isPaused: false, CancellationToken.None);

        for (int seed = 0; seed < 16; seed++)
        {
            SimulatedDisk left = _fixture.Disk.CrashCopy(seed);
            Assert.True(new ControlFileStore(left, "/new").Exists);
            Assert.Equal(_fixture.Disk.ReadAll("/db/main.pitr"), left.ReadAll("/else/main.pitr"));
        }
    }

    /// <summary>H30: a restored database uses no path of the set.</summary>
    [Fact]
    public void A_file_that_lay_outside_goes_under_the_new_folder_unless_it_is_mapped()
    {
        var file = new LabelledFile
        {
            Id = FileId.Main,
            Name = "orders",
            ObjectName = "datafiles/orders.pitr",
            LengthBytes = 0,
            Generation = 1,
            Incarnation = new Incarnation(1),
            CheckpointLsn = Lsn.Zero,
            Lineage = new Lineage(1),
            OutsidePath = "/data2/x/orders.pitr",
        };

        Assert.Equal("orders.pitr", RestorePaths.Of(file, new Dictionary<string, string>()));
        Assert.Equal(
            "/data9/x/orders.pitr", RestorePaths.Of(file, new Dictionary<string, string> { ["/data2"] = "/data9/" }));
        Assert.Equal("orders.pitr", RestorePaths.Of(file, new Dictionary<string, string> { ["/data"] = "/data9" }));
    }

    [Fact]
    public void A_folder_that_holds_something_is_refused()
    {
        PlannedRecovery planned = Planned();
        _fixture.Disk.CreateFolders("/new/something");

        Assert.Equal(ErrorCode.FolderNotEmpty, Assert.Throws<RefusedException>(() =>
            new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(planned, isPaused: false, CancellationToken.None)).Code);
    }

    /// <summary>V2: whatever fails, also what is written beside the datafiles, the next restore finds room.</summary>
    [Fact]
    public void A_restore_that_fails_at_any_operation_leaves_the_folder_absent()
    {
        PlannedRecovery planned = Planned();
        bool isDone = false;
        for (int nth = 1; !isDone; nth++)
        {
            _fixture.Disk.Faults.On(FileOp.Write).Of("/new").Nth(nth).Full();
            _fixture.Disk.Faults.On(FileOp.SyncFolder).Of("/new").Nth(nth).Fail(Errno.EIO);
            try
            {
                new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(
                    planned, isPaused: false, CancellationToken.None,
                    ("pitr.json", () => DurableReplace.Write(_fixture.Disk, "/new/pitr.json", "{}"u8)));
                isDone = true;
            }
            catch (StorageFailedException)
            {
                Assert.Null(_fixture.Disk.Stat("/new"));
            }

            _fixture.Disk.Faults.Clear();
        }
    }

    [Fact]
    public void A_restore_that_meets_damage_leaves_the_folder_absent()
    {
        PlannedRecovery planned = Planned();
        _fixture.Disk.Damage("/store/backups/b1/datafiles/main.pitr", offset: 9000);

        Assert.Equal(ErrorCode.BackupDamaged, Assert.Throws<DamageException>(() =>
            new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(planned, isPaused: false, CancellationToken.None)).Code);
        Assert.Null(_fixture.Disk.Stat("/new"));
    }

    [Fact]
    public void Records_of_a_plan_end_at_its_cut()
    {
        PlannedRecovery planned = Planned();
        ControlFile control = new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(
            planned, isPaused: false, CancellationToken.None);
        ReplayCatalogue catalogue = ReplayStart.Of(
            control.Catalogue, new Dictionary<FileId, Lsn> { [FileId.Main] = planned.Plan.StartLsn });

        using var stream = new ReplayStream(
            planned.OpenRecords(planned.Plan.StartLsn), catalogue, planned.Plan.StopsAt.Lsn);
        while (stream.MoveNext())
            (stream.Current as ReplayStep.Changes)?.Batch.Recycle();

        Assert.Equal(planned.Plan.StopsAt.Lsn, stream.Progress.Through);
        Assert.Equal(planned.Plan.Records, stream.Progress.Records);
    }

    private PlannedRecovery Planned()
    {
        Commit();
        _fixture.Backup("b1");
        Commit();
        Commit();
        _fixture.Ship(_fixture.Wal);
        return RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Latest));
    }

    private BackupWriter Begin(string backupId, Lsn c, IReachablePages reachable)
    {
        var writer = new BackupWriter(
            _fixture.Disk, _fixture.Store, [_fixture.Store],
            new BackupStart(backupId, RecoveryFixture.ControlOf(_fixture.Wal, c), c, _fixture.Wal.Time), reachable);
        writer.Begin();
        return writer;
    }

    private void Commit() => _fixture.Wal.Put(1, 1, "k"u8, "v"u8).Commit();

    private sealed class NoPage : IReachablePages
    {
        public Predicate<uint> Of(string path) => static _ => false;
    }
}
