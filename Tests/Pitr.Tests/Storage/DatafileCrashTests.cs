using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// I3, I4: whatever instant the power fails at, the file on disk is exactly the state as of its checkpoint LSN; and no
/// page that a pinned view reaches is ever written.
/// </summary>
public sealed class DatafileCrashTests
{
    private const int Keys = 4000;

    [Fact]
    public void A_file_is_whole_after_power_loss_at_any_operation_of_a_flush()
    {
        using DatafileOnDisk it = DatafileOnDisk.Create(seed: 5);
        for (byte round = 1; round < 4; round++)
        {
            it.PutMany(0, Keys, fill: round);
            it.Flush();
        }
        it.PutMany(100, 3000, fill: 9);
        it.DeleteMany(1000, 700);
        it.Seal();
        it.CloseFile();
        // The sealed changes are gone with the file; each try makes them again.
        for (long operation = 1; ; operation++)
        {
            SimulatedDisk disk = it.Disk.KillCopy();
            bool ended = CrashDuringFlush(it, disk, operation);
            for (long seed = 0; seed < 3; seed++)
            {
                using DatafileOnDisk after = it.OpenOn(disk.CrashCopy(seed), controlFileGeneration: 4);
                after.Check();
                if (ended)
                    Assert.Equal(5UL, after.File.Generation);
            }
            if (ended)
                break;
        }
    }

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    [InlineData(13)]
    [InlineData(14)]
    public void A_random_life_with_crashes_and_snapshots_never_loses_what_was_flushed(int seed)
    {
        var random = new Random(seed);
        using DatafileOnDisk first = DatafileOnDisk.Create(seed);
        first.CloseFile();
        SimulatedDisk disk = first.Disk;
        ulong known = 1;
        for (int life = 0; life < 12; life++)
        {
            using (DatafileOnDisk it = first.OpenOn(disk, known))
            {
                it.Check();
                disk.CrashAt(disk.OperationCount + random.Next(3, 60));
                known = Live(it, random);
            }
            disk = disk.CrashCopy(random.Next());
        }
        using DatafileOnDisk last = first.OpenOn(disk, known);
        last.Check();
    }

    // Goes on until the power fails; returns the last generation that a control file would have noted.
    private static ulong Live(DatafileOnDisk it, Random random)
    {
        ulong durable = it.File.Generation;
        ReadView? pinned = null;
        SortedDictionary<string, byte[]> expected = [];
        Lsn at = default;
        try
        {
            for (int step = 0; step < 100; step++)
            {
                for (int i = random.Next(1, 1500); i > 0; i--)
                    it.Put($"k{random.Next(Keys):D5}",
                        new byte[random.Next(30) == 0 ? random.Next(30_000) : random.Next(200)]);
                it.DeleteMany(random.Next(Keys), random.Next(200));
                it.Flush();
                durable = it.File.Generation;
                if (pinned is not null && random.Next(3) == 0)
                {
                    DatafileOnDisk.RequireEqual(expected, it.Scan(pinned, at));
                    pinned.Unpin();
                    pinned = null;
                }
                if (pinned is null)
                {
                    pinned = it.File.View;
                    Assert.True(pinned.TryPin());
                    at = it.Lsn;
                    expected = it.Scan(pinned, at);
                }
            }
            it.Disk.PowerOff();
        }
        catch (SimulatedCrashException)
        {
            // what is on the disk now is looked at by the next life
        }
        pinned?.Unpin();
        return durable;
    }

    private static bool CrashDuringFlush(DatafileOnDisk it, SimulatedDisk disk, long operation)
    {
        using DatafileOnDisk tried = it.OpenOn(disk, controlFileGeneration: 4);
        tried.PutMany(100, 3000, fill: 9);
        tried.DeleteMany(1000, 700);
        Assert.Contains(tried.Lsn, it.AtSeal.Keys);
        disk.CrashAt(disk.OperationCount + operation);
        try
        {
            tried.Flush();
            disk.PowerOff();
            return true;
        }
        catch (SimulatedCrashException)
        {
            return false;
        }
    }
}
