using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A recorded run: a backup set, then a datafile that is born, one that is dropped, a checkpoint and commits; what then
/// lies in the folder, and ways to come back from what a test makes of it.
/// </summary>
internal sealed class MixedLab
{
    public const string Folder = RecoveryLab.Folder;
    public const string Control = "/db/pitr.control";
    public const string Early = "/db/early.pitr";
    public const string Late = "/db/late.pitr";
    public const string Old = "/db/old.pitr";
    public const string Sets = "/sets";
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly RecoveryLab _lab;

    private MixedLab(RecoveryLab lab) => _lab = lab;

    /// <summary>The disk as the run has left it; a test changes it.</summary>
    public SimulatedDisk Disk => _lab.Disk;

    /// <summary>All that was committed.</summary>
    public string Content => _lab.Content;

    /// <summary>What was committed, moment by moment.</summary>
    public IReadOnlyList<Moment> Moments => _lab.Moments;

    /// <summary>Behind the birth and the drop, before the last checkpoint.</summary>
    public Moment Middle { get; private set; } = null!;

    /// <summary>Of a lab that lags: behind the last checkpoint, and far from the end.</summary>
    public Moment Recent { get; private set; } = null!;

    /// <summary>Before the set.</summary>
    public Moment BeforeSet { get; private set; } = null!;

    /// <summary>Files of earlier moments: the dropped one as it was, and the control file and `early` at the set.</summary>
    public byte[] DroppedFile { get; private set; } = [];

    public byte[] OlderControl { get; private set; } = [];

    public byte[] OlderEarly { get; private set; } = [];

    /// <summary>The disk right behind the last checkpoint, as a killed process left it.</summary>
    public SimulatedDisk AtCheckpoint { get; private set; } = null!;

    /// <param name="isArchived">It archives into /archive, where the set is; else the set is in /sets, with its WAL.</param>
    /// <param name="isKilled">The run ends by a kill, not by a shutdown.</param>
    /// <param name="seed">Of what is committed.</param>
    /// <param name="before">What else happens before the last commits.</param>
    /// <param name="last">What happens behind them.</param>
    public static async Task<MixedLab> RecordedAsync(
        bool isArchived = true, bool isKilled = false, int seed = 31,
        Func<RecoveryLab, PitrDatabase, Task>? before = null, Func<RecoveryLab, PitrDatabase, Task>? last = null)
    {
        var recovery = new RecoveryLab(seed);
        var lab = new MixedLab(recovery);
        string[] stores = isArchived ? [RecoveryLab.Archive] : [];
        recovery.Disk.CreateFolders(Sets);
        SimulatedDisk? killed = null;
        await using (PitrDatabase database = await recovery.CreateAsync(stores).WaitAsync(Patience))
        {
            await recovery.CreateTableAsync(database, "orders");
            await database.CreateDatafileAsync("early");
            await recovery.CreateTableAsync(database, "archived", "early");
            await database.CreateDatafileAsync("old");
            await recovery.CreateTableAsync(database, "olds", "old");
            await recovery.CommitManyAsync(database, 8);
            lab.BeforeSet = recovery.Moments[^4];
            await database.CheckpointAsync().WaitAsync(Patience);
            await database.BackupAsync(new BackupRequest { Store = isArchived ? RecoveryLab.Archive : Sets })
                .WaitAsync(Patience);
            lab.OlderEarly = recovery.Disk.ReadAll(Early);
            lab.OlderControl = recovery.Disk.ReadAll(Control);
            await recovery.CommitManyAsync(database, 3);
            await database.CreateDatafileAsync("late");
            await recovery.CreateTableAsync(database, "events", "late");
            await recovery.CommitManyAsync(database, 4);
            lab.DroppedFile = recovery.Disk.ReadAll(Old);
            await recovery.DropTableAsync(database, "olds");
            await database.DropDatafileAsync("old");
            await recovery.CommitManyAsync(database, 3);
            lab.Middle = recovery.Moments[^2];
            SimulatedDisk begun = recovery.Disk.KillCopy();
            await database.CheckpointAsync().WaitAsync(Patience);
            lab.AtCheckpoint = recovery.Disk.KillCopy();
            PutBack(begun, lab.AtCheckpoint); // what the checkpoint lets go of the WAL goes when it pleases the engine
            if (before is not null)
                await before(recovery, database);
            await recovery.CommitManyAsync(database, 4);
            if (last is not null)
                await last(recovery, database);
            if (isKilled)
                killed = recovery.Disk.KillCopy();
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        recovery.Disk = killed ?? recovery.Disk;
        return lab;
    }

    /// <summary>Killed while its archive was behind: the last commits, over several segments, are in its folder alone.</summary>
    public static async Task<MixedLab> LaggingAsync()
    {
        MixedLab lab = await RecordedAsync(isKilled: true, last: (recovery, database) => recovery.CommitManyAsync(database, 60));
        WalRun run = WalSurvey.Of(lab.Disk, $"{Folder}/wal").LastRuns.Single();
        foreach (string path in FilesUnder(lab.Disk, RecoveryLab.Archive).ToArray())
        {
            string name = Path.GetFileName(path);
            if (name.Length >= SegmentName.Length
                && SegmentName.TryParse(name.AsSpan(0, SegmentName.Length), out SegmentName segment)
                && segment.Number > new WalGeometry(16 << 10).NumberOf(run.From))
                lab.Disk.Delete(path);
        }

        lab.Recent = lab.Moments[^50];
        return lab;
    }

    private static void PutBack(SimulatedDisk from, SimulatedDisk to)
    {
        foreach (string path in from.List($"{Folder}/wal").Select(static name => $"{Folder}/wal/{name}"))
        {
            if (to.Stat(path) is not null)
                continue;
            using IFileHandle handle = to.Open(path, FileOpen.CreateNew);
            handle.Write(0, from.ReadAll(path));
            handle.SyncData();
        }

        to.SyncFolder($"{Folder}/wal");
    }

    // ---- what a test does ------------------------------------------------------------------------

    /// <summary>The same run, and another state of its disk.</summary>
    public MixedLab WithDisk(SimulatedDisk disk)
    {
        _lab.Disk = disk;
        return this;
    }

    public void Put(string path, byte[] content) => DatafileRecoveryTests.Put(Disk, path, content);

    /// <summary>A datafile of another database.</summary>
    public async Task<byte[]> ForeignFileAsync()
    {
        await using (PitrDatabase other = await PitrDatabase.CreateAsync("/other", RecoveryLab.OptionsOn(Disk))
            .WaitAsync(Patience))
            await other.ShutdownAsync().WaitAsync(Patience);
        return Disk.ReadAll("/other/main.pitr");
    }

    /// <summary>The datafile `early` of a database that was restored to before the end, and went on there.</summary>
    public async Task<byte[]> FileOfSiblingAsync()
    {
        await RecoveryLab.RestoredAsync(Disk, RecoveryTarget.Including(Middle.Lsn), "/sibling");
        await using (PitrDatabase sibling = await PitrDatabase.OpenAsync("/sibling", RecoveryLab.OptionsOn(Disk))
            .WaitAsync(Patience))
        {
            for (int n = 0; n < 40; n++)
                await sibling.PutAsync(sibling.GetTable("archived"), "sibling"u8.ToArray(), BitConverter.GetBytes(n));
            await sibling.ShutdownAsync().WaitAsync(Patience);
        }

        return Disk.ReadAll("/sibling/early.pitr");
    }

    public InPlaceRecoveryRequest Request(RecoveryTarget? target = null) =>
        new() { Folder = Folder, Target = target ?? RecoveryTarget.Latest };

    /// <summary>The same of a database that archives nowhere any more, out of the archive that it had.</summary>
    public InPlaceRecoveryRequest Detached(RecoveryTarget target)
    {
        if (Disk.Stat("/db/pitr.json") is not null)
            Disk.Delete("/db/pitr.json");
        return Request(target) with { Store = RecoveryLab.Archive };
    }

    /// <summary>Plans, which changes nothing; recovers as planned; the database then serves with that content.</summary>
    public async Task<RecoveryPlan> RequireRecoversAsync(InPlaceRecoveryRequest request, string content)
    {
        RecoveryPlan plan = await PlanAsync(request);
        RestoreResult result = await PitrRecovery.RecoverInPlaceAsync(request, RecoveryLab.OptionsOn(Disk))
            .WaitAsync(Patience);
        Assert.Equal(plan.LastTransactionId, result.StoppedAt.TransactionId);
        Assert.True(plan.BeginsTimeline && plan.IsInPlace);
        await RequireServesAsync(content, result.Timeline.Value);
        return plan;
    }

    public async Task<RecoveryPlan> PlanAsync(InPlaceRecoveryRequest request)
    {
        Disk.Log.Start();
        RecoveryPlan plan = await PitrRecovery.PlanInPlaceAsync(request, RecoveryLab.OptionsOn(Disk)).WaitAsync(Patience);
        Assert.DoesNotContain(Disk.Log.Operations, operation => SimulatedDisk.ChangesTheDisk(operation.Op));
        Disk.Log.Stop();
        Assert.Equal(plan.ToJson(), RecoveryPlan.Parse(plan.ToJson()).ToJson());
        return plan;
    }

    /// <summary>Refused by plan and run alike, and nothing was changed but who holds the lock.</summary>
    public async Task<T> RequireRefusedAsync<T>(InPlaceRecoveryRequest request, ErrorCode code)
        where T : PitrException
    {
        string[] before = Fingerprints();
        T planned = await Assert.ThrowsAsync<T>(
            () => PitrRecovery.PlanInPlaceAsync(request, RecoveryLab.OptionsOn(Disk)).WaitAsync(Patience));
        Assert.Equal(before, Fingerprints());
        T refused = await Assert.ThrowsAsync<T>(
            () => PitrRecovery.RecoverInPlaceAsync(request, RecoveryLab.OptionsOn(Disk)).WaitAsync(Patience));
        Assert.Equal((code, code), (planned.Code, refused.Code));
        Assert.Equal(before, Fingerprints());
        return refused;
    }

    /// <summary>The control file is made anew as planned.</summary>
    public async Task<RebuildPlan> RebuiltAsync(TimelineId? timeline = null)
    {
        string[] before = Fingerprints();
        RebuildPlan plan = await PitrRecovery.PlanControlFileAsync(Folder, timeline, RecoveryLab.OptionsOn(Disk))
            .WaitAsync(Patience);
        Assert.Equal(before, Fingerprints());
        RebuildPlan done = await PitrRecovery.RebuildControlFileAsync(Folder, timeline, RecoveryLab.OptionsOn(Disk))
            .WaitAsync(Patience);
        Assert.Equal(plan.ToJson(), done.ToJson());
        await TestDatabase.NothingIsOpenAsync(Disk);
        return done;
    }

    public async Task<T> RequireNotRebuiltAsync<T>(ErrorCode code)
        where T : PitrException
    {
        string[] before = Fingerprints();
        T refused = await Assert.ThrowsAsync<T>(
            () => PitrRecovery.RebuildControlFileAsync(Folder, null, RecoveryLab.OptionsOn(Disk)).WaitAsync(Patience));
        Assert.Equal(code, refused.Code);
        Assert.Equal(before, Fingerprints());
        return refused;
    }

    /// <summary>It opens with the content, commits, and does so again after a power loss.</summary>
    public async Task RequireServesAsync(string content, uint timeline)
    {
        await using (PitrDatabase database = await OpenAsync())
        {
            Assert.Equal(content, RecoveryLab.ContentOf(database));
            Assert.Equal(timeline, (await database.GetStatusAsync().WaitAsync(Patience)).Timeline.Value);
            await database.PutAsync(database.GetTable("orders"), "after"u8.ToArray(), "1"u8.ToArray());
            SimulatedDisk left = Disk.CrashCopy(5);
            await database.ShutdownAsync().WaitAsync(Patience);
            await TestDatabase.NothingIsOpenAsync(Disk);
            TestDatabase.CheckDatafiles(Disk, database.Datafiles);
            await using PitrDatabase again = await PitrDatabase.OpenAsync(Folder, RecoveryLab.OptionsOn(left))
                .WaitAsync(Patience);
            Assert.Equal("1"u8.ToArray(), again.Get(again.GetTable("orders"), "after"u8.ToArray()));
        }

        Assert.Null(Disk.WrittenWithoutLock);
    }

    public Task<PitrDatabase> OpenAsync() =>
        PitrDatabase.OpenAsync(Folder, RecoveryLab.OptionsOn(Disk)).WaitAsync(Patience);

    /// <summary>Each file of the folder, by name and content, but the lock.</summary>
    public string[] Fingerprints() =>
    [
        .. FilesUnder(Disk, Folder)
            .Where(path => !path.EndsWith("/pitr.lock", StringComparison.Ordinal))
            .Select(path => $"{path} {Disk.Fingerprint(path):X16}"),
    ];

    public static IEnumerable<string> FilesUnder(SimulatedDisk disk, string folder) =>
        disk.List(folder).Order(StringComparer.Ordinal).Select(name => $"{folder}/{name}").SelectMany(path =>
            disk.Stat(path) is { IsFolder: true, IsSymlink: false } ? FilesUnder(disk, path) : [path]);
}
