using System.Text.Json;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A plan of what <c>pitr recover DIR</c> would do is what an engine would plan, and is made without one: no operation of it
/// changes a disk.
/// </summary>
public sealed class RecoveryPreviewTests
{
    private const string Early = "/db/early.pitr";
    private const string Into = "/paused";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task A_plan_for_a_lost_datafile_is_that_of_an_engine_and_changes_nothing()
    {
        (RecoveryLab lab, _) = await DatafileRecoveryTests.StoppedAsync();
        lab.Disk.Delete(Early);

        RecoveryPlan plan = Assert.Single(await PlanWithoutAWriteAsync(lab.Disk, RecoveryLab.Folder, RecoveryLab.Archive));

        await RequireOfEngineAsync(lab.Disk, plan);
    }

    /// <summary>After a crash, with tables made and dropped behind the last checkpoint, and a datafile that was dropped.</summary>
    [Fact]
    public async Task A_plan_after_a_crash_knows_what_the_WAL_logs_behind_the_control_file()
    {
        (RecoveryLab lab, _) = await DatafileRecoveryTests.StoppedAsync();
        SimulatedDisk left;
        await using (PitrDatabase database = await DatafileRecoveryTests.OpenAsync(lab.Disk))
        {
            await database.CreateDatafileAsync("gone").WaitAsync(Patience);
            await database.CheckpointAsync().WaitAsync(Patience);
            await lab.CreateTableAsync(database, "behind", "early");
            await lab.CommitManyAsync(database, 5);
            await database.DropDatafileAsync("gone").WaitAsync(Patience);
            await lab.CommitManyAsync(database, 5);
            left = lab.Disk.CrashCopy(7);
        }

        left.Delete(Early);

        RecoveryPlan plan = Assert.Single(await PlanWithoutAWriteAsync(left, RecoveryLab.Folder, RecoveryLab.Archive));

        await RequireOfEngineAsync(left, plan);
    }

    [Fact]
    public async Task A_database_that_lacks_nothing_is_told_so_and_not_opened()
    {
        (RecoveryLab lab, _) = await DatafileRecoveryTests.StoppedAsync();
        long before = lab.Disk.OperationCount;
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => PitrRecovery.PlanRecoveryAsync(RecoveryLab.Folder, options: lab.Options).WaitAsync(Patience));
        Assert.Equal(ErrorCode.NotInRecovery, refused.Code);
        Assert.Equal(before, lab.Disk.OperationCount);
    }

    /// <summary>H7: what keeps the database from opening keeps a plan from being made.</summary>
    [Fact]
    public async Task A_log_that_ends_before_a_datafile_refuses_the_plan()
    {
        (RecoveryLab lab, _) = await DatafileRecoveryTests.StoppedAsync();
        lab.Disk.Delete(Early);
        foreach (string segment in lab.Disk.List("/db/wal"))
            lab.Disk.Delete($"/db/wal/{segment}");
        long before = lab.Disk.OperationCount;
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => PitrRecovery.PlanRecoveryAsync(RecoveryLab.Folder, options: lab.Options).WaitAsync(Patience));
        PitrException opening = await Assert.ThrowsAnyAsync<PitrException>(() => DatafileRecoveryTests.OpenAsync(lab.Disk));
        Assert.Equal(opening.Code, refused.Code);
        Assert.True(lab.Disk.OperationCount >= before);
    }

    /// <summary>A paused restore goes to the end of the archive; one that died goes on with its plan.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_plan_of_a_restore_that_is_not_finished_is_how_it_goes_on(bool isPaused)
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        Moment at = lab.Moments[^9];
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = Into,
                Target = RecoveryTarget.Including(at.Lsn),
                Pause = true,
            },
            lab.Options).WaitAsync(Patience);
        var store = new ControlFileStore(lab.Disk, Into);
        if (!isPaused)
        {
            ControlFile paused = store.ReadLive();
            store.Replace(paused with { Recovery = paused.Recovery! with { IsPaused = false } });
        }

        RecoveryPlan plan = Assert.Single(await PlanWithoutAWriteAsync(lab.Disk, Into, from: null));

        Assert.Equal(isPaused ? lab.Moments[^1].Lsn : at.Lsn, plan.LastTransaction!.Lsn);
        RestoreResult result = await PitrRecovery.RecoverAsync(Into, null, promote: false, lab.Options).WaitAsync(Patience);
        Assert.Equal(plan.LastTransaction.Lsn, result.StoppedAt.Lsn);
    }

    [Fact]
    public async Task Other_places_are_not_named_for_a_restore_that_is_under_way()
    {
        (RecoveryLab lab, _, _) = await RecoveryLab.RecordedAsync();
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = Into,
                Target = RecoveryTarget.Immediate,
                Pause = true,
            },
            lab.Options).WaitAsync(Patience);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => PitrRecovery.PlanRecoveryAsync(Into, RecoveryLab.Archive, options: lab.Options).WaitAsync(Patience));
        Assert.Equal(ErrorCode.ControlFileWhole, refused.Code);
        Assert.Contains("pitr recover DIR", refused.Hint, StringComparison.Ordinal);
    }

    private static async Task<IReadOnlyList<RecoveryPlan>> PlanWithoutAWriteAsync(
        SimulatedDisk disk, string folder, string? from)
    {
        long operations = disk.OperationCount;
        string[] before = ContentOf(disk);
        IReadOnlyList<RecoveryPlan> plans = await PitrRecovery
            .PlanRecoveryAsync(folder, from, options: RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);
        Assert.Equal(operations, disk.OperationCount);
        Assert.Equal(before, ContentOf(disk));
        return plans;
    }

    /// <summary>The same, asked of an engine that has opened the database.</summary>
    private static async Task RequireOfEngineAsync(SimulatedDisk disk, RecoveryPlan plan)
    {
        await using PitrDatabase database = await DatafileRecoveryTests.OpenAsync(disk);
        RecoveryPlan ofEngine = await database.PlanDatafileRecoveryAsync(
            new DatafileRecoveryRequest { Datafile = "early", Store = RecoveryLab.Archive }).WaitAsync(Patience);
        Assert.Equal(WhatMatters(ofEngine), WhatMatters(plan));
    }

    /// <summary>Each plan draws an id of its own; which store a stretch of WAL lies in may change with a part.</summary>
    private static string WhatMatters(RecoveryPlan plan) => JsonSerializer.Serialize(new
    {
        plan.Datafile,
        plan.BackupId,
        Start = plan.StartLsn.ToString(),
        Stop = plan.StopsAt.Lsn.ToString(),
        Time = plan.StopsAt.Time,
        Last = plan.LastTransaction?.Lsn.ToString(),
        plan.Records,
        Paths = plan.Files.Select(file => file.Path),
        Wal = plan.Wal.Select(wal => $"{wal.Timeline} {wal.Number} {wal.FromLsn} {wal.ToLsn}"),
    });

    private static string[] ContentOf(SimulatedDisk disk) => [.. FilesUnder(disk, "/").Order(StringComparer.Ordinal).Select(
        path => $"{path} {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(disk.ReadAll(path)))}")];

    private static IEnumerable<string> FilesUnder(SimulatedDisk disk, string folder) =>
        disk.List(folder).Select(name => $"{folder.TrimEnd('/')}/{name}").SelectMany(path =>
            disk.Stat(path)!.IsFolder ? FilesUnder(disk, path) : [path]);
}
