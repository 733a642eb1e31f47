using System.Globalization;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// The durable steps of a fence and of an unfence, and what an end at any of their operations leaves: a database that
/// opens with every acknowledged commit, without a fence, whose fenced file was not touched (design §5, promises 1, 7).
/// </summary>
/// <remarks>PITR_SWEEP=1 opens what is left at each operation instead of some.</remarks>
public sealed class FenceCrashTests
{
    private const string Fenced = Folder + "/b.pitr";
    private const int PointsInSuite = 12;
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    private static bool IsWhole => Environment.GetEnvironmentVariable("PITR_SWEEP") is { Length: > 0 };

    /// <summary>H16, H22: the meta page is brought up to date, then the control file notes it, then it is granted.</summary>
    [Fact]
    public async Task A_fence_takes_these_steps_in_this_order()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        disk.Log.Start();
        FenceGrant grant = await database.FenceAsync("b", Lease).Within();
        disk.Log.Stop();
        GoldenFile.CheckSteps("fence.txt", disk.Log.Text());
        await database.UnfenceAsync(grant.FenceId).Within();
    }

    /// <summary>H22: no change is in the way, and the meta page is as new as the control file: nothing is written.</summary>
    [Fact]
    public async Task A_second_fence_of_a_file_and_the_end_of_one_of_two_write_nothing()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant one = await database.FenceAsync("b", Lease).Within();
        await PutAsync(database, 0);
        disk.Log.Start();
        FenceGrant two = await database.FenceAsync("b", Lease).Within();
        await database.UnfenceAsync(one.FenceId).Within();
        disk.Log.Stop();
        Assert.Empty(disk.Log.Operations);
        await database.UnfenceAsync(two.FenceId).Within();
    }

    /// <summary>Promise 4: the last one out is answered when the flush is durable: pages, sync, meta page, sync.</summary>
    [Fact]
    public async Task An_unfence_takes_these_steps_in_this_order()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant grant = await database.FenceAsync("b", Lease).Within();
        for (int n = 0; n < 3; n++)
            await PutAsync(database, n);
        disk.Log.Start();
        await database.UnfenceAsync(grant.FenceId).Within();
        disk.Log.Stop();
        GoldenFile.CheckSteps("unfence.txt", disk.Log.Text());
    }

    /// <summary>Promises 1, 7; H16, H22.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_end_at_any_operation_of_fence_and_unfence_loses_nothing_and_leaves_no_fence(bool isPowerLoss)
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        var all = new List<Left>();
        int acknowledged = 0;
        byte[]? still = null;
        disk.BeforeOperation = operation =>
        {
            int known = Volatile.Read(ref acknowledged);
            byte[]? expected = Volatile.Read(ref still);
            for (int n = 0; n < (isPowerLoss && IsWhole ? 3 : 1); n++)
            {
                SimulatedDisk copy = isPowerLoss ? disk.CrashCopy(operation * 10 + n) : disk.KillCopy();
                all.Add(new Left(copy, operation, known, expected));
            }
        };
        FenceGrant grant = await database.FenceAsync("b", Lease).Within();
        Volatile.Write(ref still, disk.ReadAll(grant.Path));
        for (int n = 0; n < 12; n++)
        {
            await PutAsync(database, n);
            Volatile.Write(ref acknowledged, n + 1);
            if (n == 6)
                Assert.Equal(["b"], (await database.CheckpointAsync().Within()).Skipped);
        }

        Volatile.Write(ref still, null);
        await database.UnfenceAsync(grant.FenceId).Within();
        await database.CheckpointAsync().Within(); // the WAL behind it may go
        disk.BeforeOperation = null;
        all.Add(new Left(disk.CrashCopy(7), disk.OperationCount, acknowledged, null));

        Assert.Contains(all, left => left.Still is not null);
        int stride = IsWhole ? 1 : Math.Max(1, all.Count / PointsInSuite);
        for (int i = 0; i < all.Count - 1; i += stride)
            await RequireAsync(all[i]);
        await RequireAsync(all[^1]);
    }

    private static async Task RequireAsync(Left left)
    {
        try
        {
            if (left.Still is not null)
                Assert.Equal(left.Still, left.Disk.ReadAll(Fenced));
            await using (PitrDatabase database = await OpenAsync(left.Disk))
            {
                int rows = RequireRows(database, left.Acknowledged, left.Acknowledged + 1);
                Assert.All(
                    (await database.GetStatusAsync().Within()).Datafiles,
                    file => Assert.Equal(("open", 0), (file.State, file.Fences.Count)));
                FenceGrant grant = await database.FenceAsync("b", Lease).Within();
                await PutAsync(database, rows);
                await database.UnfenceAsync(grant.FenceId).Within();
                RequireRows(database, rows + 1, rows + 1);
            }

            await using PitrDatabase again = await OpenAsync(left.Disk.CrashCopy(left.At));
            RequireRows(again, left.Acknowledged + 1, left.Acknowledged + 2);
            TestDatabase.CheckDatafiles(left.Disk, again.Datafiles);
        }
        catch (Exception error)
        {
            throw new InvalidOperationException(
                string.Create(CultureInfo.InvariantCulture, $"Ended at operation {left.At}: {error.Message}"), error);
        }
    }

    /// <summary>Row n of each table, or of none: they are one transaction.</summary>
    private static int RequireRows(PitrDatabase database, int least, int most)
    {
        int rows = (int)database.Count(database.GetTable("rows"));
        Assert.InRange(rows, least, most);
        for (int n = 0; n < rows; n++)
        {
            Assert.Equal($"{n}", database.Get("rows", $"k{n:D4}")?.Split('.')[0]);
            Assert.Equal($"{n}", database.Get("others", $"k{n:D4}")?.Split('.')[0]);
        }

        Assert.Equal(rows, database.Count(database.GetTable("others")));
        return rows;
    }

    private static async Task PutAsync(PitrDatabase database, int n)
    {
        var batch = new WriteBatch();
        byte[] value = Bytes($"{n}.".PadRight(n % 4 == 0 ? 9000 : 100, 'v'));
        batch.Put(database.GetTable("rows"), Bytes($"k{n:D4}"), value);
        batch.Put(database.GetTable("others"), Bytes($"k{n:D4}"), value);
        await database.CommitAsync(batch).Within();
    }

    /// <summary>Datafile b has been idle, so that its meta page lags behind what the control file knows (H22).</summary>
    private static async Task<PitrDatabase> StartedAsync(SimulatedDisk disk)
    {
        PitrDatabase database = await CreateAsync(disk);
        await database.CreateDatafileAsync("b").Within();
        await database.CreateTableAsync("rows", "b").Within();
        await database.CreateTableAsync("others").Within();
        await database.CreateTableAsync("t").Within();
        await database.CheckpointAsync().Within();
        await FencePromiseTests.PutManyAsync(database, "t", 50);
        await database.CheckpointAsync().Within();
        disk.SyncAll();
        return database;
    }

    private sealed record Left(SimulatedDisk Disk, long At, int Acknowledged, byte[]? Still);
}
