using System.Globalization;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A move of each kind that ends at any operation on the disk, by power loss or a kill, while a writer commits: the next
/// opening finds exactly one datafile, whole, with every acknowledged commit, and nothing else of it (H17, H18, H19, H20).
/// The same of compacting, after whose rename the control file still names the former incarnation (H16, H42).
/// </summary>
/// <remarks>PITR_SWEEP=1 opens what is left at each operation instead of some.</remarks>
public sealed class MoveCrashTests
{
    private const int PointsInSuite = 12;

    private static bool IsWhole => Environment.GetEnvironmentVariable("PITR_SWEEP") is { Length: > 0 };

    /// <summary>H18, H19, H20: the copy, the name, and what is left over, at each step.</summary>
    [Theory]
    [InlineData(MoveCase.ByLink, true)]
    [InlineData(MoveCase.ByLink, false)]
    [InlineData(MoveCase.LinkAgain, true)]
    [InlineData(MoveCase.LinkAgain, false)]
    [InlineData(MoveCase.Back, true)]
    [InlineData(MoveCase.Back, false)]
    [InlineData(MoveCase.ByRecord, true)]
    [InlineData(MoveCase.ByRecord, false)]
    [InlineData(MoveCase.RecordFromLink, true)]
    [InlineData(MoveCase.RecordFromLink, false)]
    [InlineData(MoveCase.FromOutside, true)]
    [InlineData(MoveCase.FromOutside, false)]
    [InlineData(MoveCase.Compact, true)]
    [InlineData(MoveCase.Compact, false)]
    [InlineData(MoveCase.CompactLinked, true)]
    [InlineData(MoveCase.CompactLinked, false)]
    public async Task A_move_that_ends_at_any_operation_leaves_one_datafile_whole_and_no_stray(
        MoveCase move, bool isPowerLoss)
    {
        IReadOnlyList<Left> all = await EndsOfAsync(move, isPowerLoss, copiesEach: IsWhole ? 3 : 1);
        int stride = IsWhole ? 1 : Math.Max(1, all.Count / PointsInSuite);
        for (int i = 0; i < all.Count - 1; i += stride)
            await RequireAsync(all[i], move);
        await RequireAsync(all[^1], move);
    }

    /// <summary>H19: the opening that settles a move is cut off too.</summary>
    [Theory]
    [InlineData(MoveCase.ByLink)]
    [InlineData(MoveCase.LinkAgain)]
    [InlineData(MoveCase.Back)]
    [InlineData(MoveCase.RecordFromLink)]
    [InlineData(MoveCase.Compact)]
    [InlineData(MoveCase.CompactLinked)]
    public async Task An_opening_after_a_move_that_was_cut_off_may_be_cut_off_itself(MoveCase move)
    {
        IReadOnlyList<Left> all = await EndsOfAsync(move, isPowerLoss: false, copiesEach: 1);
        for (int i = all.Count / 2; i < all.Count; i += IsWhole ? 1 : Math.Max(1, all.Count / 6))
        {
            for (int at = 1; ; at += IsWhole ? 1 : 3)
            {
                SimulatedDisk opening = all[i].Disk.KillCopy();
                SimulatedDisk? left = null;
                long first = opening.OperationCount;
                opening.BeforeOperation = operation =>
                {
                    if (operation == first + at)
                    {
                        left = opening.CrashCopy(at);
                        opening.PowerOff();
                    }
                };
                await OpenAndEndAsync(opening);
                if (left is null)
                    break;
                await RequireAsync(all[i] with { Disk = left, At = all[i].At * 1000 + at }, move);
            }
        }
    }

    /// <summary>Each durable step, in its order: a link, and then back.</summary>
    [Theory]
    [InlineData(MoveCase.ByLink, "move-by-link.txt")]
    [InlineData(MoveCase.LinkAgain, "move-link-again.txt")]
    [InlineData(MoveCase.Back, "move-back.txt")]
    [InlineData(MoveCase.RecordFromLink, "move-by-record.txt")]
    [InlineData(MoveCase.Compact, "compact.txt")]
    public async Task A_move_takes_these_steps_in_this_order(MoveCase move, string golden)
    {
        await using MoveLab lab = await MoveLab.CreateAsync(move);
        await lab.Database.CheckpointAsync().WaitAsync(TestDatabase.Patience);
        lab.Disk.Log.Start();
        await lab.MoveAsync(move);
        lab.Disk.Log.Stop();
        GoldenFile.CheckSteps(golden, lab.Disk.Log.Text());
    }

    private static async Task OpenAndEndAsync(SimulatedDisk disk)
    {
        try
        {
            PitrDatabase database = await PitrDatabase.OpenAsync(TestDatabase.Folder, MoveLab.OptionsFor(disk))
                .WaitAsync(TestDatabase.Patience);
            disk.BeforeOperation = null;
            await TestDatabase.Ended(database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        }
        catch (Exception error) when (disk.IsOff && error is not TimeoutException)
        {
            // it was cut off
        }

        disk.BeforeOperation = null;
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    private static async Task RequireAsync(Left left, MoveCase move)
    {
        try
        {
            await MoveLab.RequireWholeAsync(left.Disk, move, left.Before, left.Acknowledged);
        }
        catch (Exception error)
        {
            throw new InvalidOperationException(
                string.Create(CultureInfo.InvariantCulture, $"Ended at operation {left.At}: {error.Message}"), error);
        }
    }

    /// <summary>
    /// One move and a checkpoint after it, and what an end before each of their operations leaves; the last is what their
    /// end leaves.
    /// </summary>
    private static async Task<IReadOnlyList<Left>> EndsOfAsync(MoveCase move, bool isPowerLoss, int copiesEach)
    {
        await using MoveLab lab = await MoveLab.CreateAsync(move);
        SimulatedDisk disk = lab.Disk;
        var all = new List<Left>();
        disk.BeforeOperation = operation =>
        {
            for (int n = 0; n < (isPowerLoss ? copiesEach : 1); n++)
            {
                int acknowledged = lab.Acknowledged;
                SimulatedDisk copy = isPowerLoss ? disk.CrashCopy(operation * 10 + n) : disk.KillCopy();
                all.Add(new Left(copy, operation, lab.Before, acknowledged));
            }
        };
        await lab.MoveUnderLoadAsync(move);
        await lab.Database.CheckpointAsync().WaitAsync(TestDatabase.Patience); // the WAL behind the move may go
        disk.BeforeOperation = null;
        Assert.Equal(MoveLab.After(move, lab.Before), MoveLab.Layout(disk).Order(StringComparer.Ordinal));
        Assert.Equal(MoveLab.TargetOf(move), (await lab.Database.GetStatusAsync().WaitAsync(TestDatabase.Patience))
            .Datafiles.Single(file => file.Name == "b").Path);
        all.Add(new Left(disk.CrashCopy(7), disk.OperationCount, lab.Before, lab.Acknowledged));
        return all;
    }

    private sealed record Left(SimulatedDisk Disk, long At, IReadOnlyList<string> Before, int Acknowledged);
}
