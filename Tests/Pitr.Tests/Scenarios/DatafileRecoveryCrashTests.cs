using System.Globalization;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What a datafile is brought back from in a sweep.</summary>
public enum RecoveryCase
{
    /// <summary>There is nothing: the copy of a backup set.</summary>
    OfSet,

    /// <summary>Something that is nobody's lies in the place, and is kept.</summary>
    OverAnother,

    /// <summary>An older copy was put back.</summary>
    InPlace,

    /// <summary>No set has it: the WAL makes it.</summary>
    Born,
}

/// <summary>
/// The recovery of one datafile that ends at any operation on the disk, by power loss or a kill, while the others take
/// commits: the next opening serves the others with every acknowledged commit; the file serves with all of its own, or
/// needs recovery and can be recovered again; nothing is left over (H15, H17, H40).
/// </summary>
/// <remarks>PITR_SWEEP=1 opens what is left at each operation instead of some.</remarks>
public sealed class DatafileRecoveryCrashTests
{
    private const string Early = "/db/early.pitr";
    private const int PointsInSuite = 14;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly DatafileRecoveryRequest OfEarly = new() { Datafile = "early" };

    private static bool IsWhole => Environment.GetEnvironmentVariable("PITR_SWEEP") is { Length: > 0 };

    /// <summary>H40: what is not durable and noted does not serve.</summary>
    [Theory]
    [InlineData(RecoveryCase.OfSet, true)]
    [InlineData(RecoveryCase.OfSet, false)]
    [InlineData(RecoveryCase.OverAnother, true)]
    [InlineData(RecoveryCase.OverAnother, false)]
    [InlineData(RecoveryCase.InPlace, true)]
    [InlineData(RecoveryCase.InPlace, false)]
    [InlineData(RecoveryCase.Born, true)]
    [InlineData(RecoveryCase.Born, false)]
    public async Task A_recovery_that_ends_at_any_operation_can_be_begun_again(RecoveryCase from, bool isPowerLoss)
    {
        (RecoveryLab lab, IReadOnlyList<Left> all) = await EndsOfAsync(from, isPowerLoss);
        int stride = IsWhole ? 1 : Math.Max(1, all.Count / PointsInSuite);
        for (int i = 0; i < all.Count; i += i < all.Count - 1 - stride ? stride : Math.Max(1, all.Count - 1 - i))
        {
            Left left = all[i];
            try
            {
                await RequireAsync(lab, left, from);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException(
                    string.Create(CultureInfo.InvariantCulture, $"Ended at operation {left.At}: {error.Message}"), error);
            }
        }
    }

    /// <summary>
    /// H17, H18, H19: what is copied out of a set is durable before it passes for a datafile, that before it has the
    /// name, and the name before the control file is replaced.
    /// </summary>
    [Fact]
    public async Task A_recovery_takes_its_durable_steps_in_this_order()
    {
        (RecoveryLab lab, _) = await DatafileRecoveryTests.StoppedAsync();
        DatafileRecoveryTests.Put(lab.Disk, Early, new byte[20_000]);
        await using PitrDatabase database = await DatafileRecoveryTests.OpenAsync(lab.Disk);
        lab.Disk.Log.Start();
        await database.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);
        lab.Disk.Log.Stop();
        GoldenFile.Check("recover-datafile.txt", string.Concat(
            lab.Disk.Log.Text().Split('\n').Where(IsDurableStep).Select(static step => step + "\n")));

        static bool IsDurableStep(string step) =>
            (step.Contains("early.pitr", StringComparison.Ordinal) || step == "sync folder db"
                || step.Contains("pitr.control.new ->", StringComparison.Ordinal))
            && !step.StartsWith("write ", StringComparison.Ordinal)
            && !step.StartsWith("start writeback ", StringComparison.Ordinal);
    }

    private static async Task<(RecoveryLab Lab, IReadOnlyList<Left> All)> EndsOfAsync(
        RecoveryCase from, bool isPowerLoss)
    {
        (RecoveryLab lab, byte[] older) = await DatafileRecoveryTests.StoppedAsync();
        SimulatedDisk disk = lab.Disk;
        switch (from)
        {
            case RecoveryCase.InPlace:
                DatafileRecoveryTests.Put(disk, Early, older);
                break;
            case RecoveryCase.OverAnother:
                DatafileRecoveryTests.Put(disk, Early, new byte[20_000]);
                break;
            case RecoveryCase.Born:
                disk.Delete(Early);
                foreach (string name in disk.List("/archive/backups"))
                    disk.Delete($"/archive/backups/{name}/manifest.json");
                break;
            default:
                disk.Delete(Early);
                break;
        }

        disk.SyncAll();
        var all = new List<Left>();
        await using (PitrDatabase database = await DatafileRecoveryTests.OpenAsync(disk))
        {
            int acknowledged = 0;
            using var enough = new CancellationTokenSource();
            Table orders = database.GetTable("orders");
            disk.BeforeOperation = operation =>
            {
                int known = Volatile.Read(ref acknowledged);
                all.Add(new Left(isPowerLoss ? disk.CrashCopy(operation) : disk.KillCopy(), operation, known));
            };
            Task load = Task.Run(async () =>
            {
                for (int n = 1; !enough.IsCancellationRequested && n < 40; n++)
                {
                    await database.PutAsync(orders, "n"u8.ToArray(), BitConverter.GetBytes(n));
                    Volatile.Write(ref acknowledged, n);
                }
            });
            await database.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);
            disk.BeforeOperation = null;
            await enough.CancelAsync();
            await load.WaitAsync(Patience);
            all.Add(new Left(disk.CrashCopy(7), disk.OperationCount, acknowledged));
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        Assert.True(all.Count > 20, $"Only {all.Count} operations.");
        return (lab, all);
    }

    private static async Task RequireAsync(RecoveryLab lab, Left left, RecoveryCase from)
    {
        SimulatedDisk disk = left.Disk;
        await using (PitrDatabase database = await DatafileRecoveryTests.OpenAsync(disk))
        {
            int found = database.Get(database.GetTable("orders"), "n"u8.ToArray()) is { } value
                ? BitConverter.ToInt32(value)
                : 0;
            Assert.InRange(found, left.Acknowledged, left.Acknowledged + 1);
            EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
            string state = status.Datafiles.Single(file => file.Name == "early").State;
            Assert.Equal("open", status.Datafiles.Single(file => file.Name == "main").State);
            if (state != "open")
            {
                Assert.Equal("needsRecovery", state);
                Assert.Null(disk.Stat(Early + RecoveredFile.Suffix));
                await database.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);
            }

            Assert.Equal(OfFile(lab.Content), OfFile(RecoveryLab.ContentOf(database)));
            await database.PutAsync(database.GetTable("archived"), "again"u8.ToArray(), "1"u8.ToArray());
            await database.ShutdownAsync().WaitAsync(Patience);
            await TestDatabase.NothingIsOpenAsync(disk);
            TestDatabase.CheckDatafiles(disk, database.Datafiles);
        }

        Assert.Null(disk.Stat(Early + RecoveredFile.Suffix));
        bool isKept = disk.Stat(Early + RecoveredFile.AsideSuffix) is not null;
        Assert.Equal(from == RecoveryCase.OverAnother, isKept);
        await using PitrDatabase after = await DatafileRecoveryTests.OpenAsync(disk.CrashCopy(3));
        Assert.Equal("1"u8.ToArray(), after.Get(after.GetTable("archived"), "again"u8.ToArray()));
    }

    private static string OfFile(string content) => string.Join('\n', content.Split('\n')
        .Where(line => line.StartsWith("archived", StringComparison.Ordinal)));

    private sealed record Left(SimulatedDisk Disk, long At, int Acknowledged);
}
