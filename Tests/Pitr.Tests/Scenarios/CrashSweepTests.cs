using System.Globalization;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A short story of one writer (commits over two datafiles, DDL, checkpoints, a fence, a segment switch, a shutdown and
/// an opening) that ends at every n-th operation on the disk, in each way: every call ends, nothing stays open, and the
/// next opening shows what was acknowledged, whole (H4, H5, H9, H10, H16, H21, H23, H44).
/// </summary>
/// <remarks>PITR_SWEEP=1 ends it at each operation instead of some.</remarks>
public sealed class CrashSweepTests
{
    private const int PointsInSuite = 25;

    private static bool IsWhole => Environment.GetEnvironmentVariable("PITR_SWEEP") is { Length: > 0 };

    [Theory]
    [InlineData("throws", true)]
    [InlineData("throws", false)]
    [InlineData("fails", true)]
    [InlineData("fails", false)]
    public async Task A_story_that_ends_at_any_operation_is_whole_at_the_next_opening(string how, bool isPowerLoss)
    {
        long last = await OperationsAsync();
        int stride = IsWhole ? 1 : Math.Max(1, (int)(last / PointsInSuite));
        for (long at = 1 + (isPowerLoss ? 0 : stride / 2); at <= last; at += stride)
        {
            try
            {
                await EndAtAsync(at, how == "fails", isPowerLoss);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException(
                    string.Create(
                        CultureInfo.InvariantCulture, $"Ended at operation {at} of {last}: {error.Message}"), error);
            }
        }
    }

    /// <summary>
    /// An opening that is cut off at any of its operations is refused, leaves nothing open and changes nothing.
    /// </summary>
    [Theory]
    [InlineData("throws")]
    [InlineData("fails")]
    public async Task An_opening_that_ends_at_any_operation_can_be_begun_again(string how)
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        var story = new CrashStory(disk);
        PitrDatabase database = await story.CreateAsync();
        await story.TellAsync(database, isEnded: false);
        SimulatedDisk left = disk.KillCopy();
        await TestDatabase.Ended(database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        for (long at = 1; ; at += IsWhole ? 1 : 2)
        {
            SimulatedDisk opening = left.CrashCopy(at);
            bool hasEnded = await OpenUntilAsync(opening, opening.OperationCount + at, how == "fails");
            await story.RequireAsync(opening.CrashCopy(at * 31));
            if (!hasEnded)
                break;
        }
    }

    /// <summary>A database whose creation was cut off is none, or one that opens.</summary>
    [Fact]
    public async Task A_creation_that_ends_at_any_operation_leaves_no_half_database()
    {
        for (int at = 1; ; at += IsWhole ? 1 : 3)
        {
            SimulatedDisk disk = TestDatabase.NewDisk();
            disk.CrashAt(at);
            bool hasEnded = false;
            try
            {
                PitrDatabase made = await PitrDatabase.CreateAsync(TestDatabase.Folder, CrashStory.Options(disk))
                    .WaitAsync(TestDatabase.Patience);
                await TestDatabase.Ended(made.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
                hasEnded = disk.OperationCount < at;
            }
            catch (Exception error) when (error is not TimeoutException)
            {
                // it was cut off
            }

            await TestDatabase.NothingIsOpenAsync(disk);
            SimulatedDisk left = disk.CrashCopy(at);
            try
            {
                await using PitrDatabase opened = await PitrDatabase.OpenAsync(
                    TestDatabase.Folder, CrashStory.Options(left)).WaitAsync(TestDatabase.Patience);
                await opened.CreateTableAsync("t").WaitAsync(TestDatabase.Patience);
            }
            catch (NotFoundException none)
            {
                Assert.Equal(ErrorCode.NotADatabase, none.Code);
            }

            if (hasEnded)
                break;
        }
    }

    private static async Task<long> OperationsAsync()
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        var story = new CrashStory(disk);
        PitrDatabase database = await story.CreateAsync();
        long before = disk.OperationCount;
        await story.TellAsync(database, isEnded: true);
        await story.RequireAsync(disk);
        return disk.OperationCount - before;
    }

    private static async Task EndAtAsync(long at, bool isFailing, bool isPowerLoss)
    {
        SimulatedDisk disk = TestDatabase.NewDisk(at);
        var story = new CrashStory(disk);
        PitrDatabase database = await story.CreateAsync();
        CrashCut cut = CrashCut.Set(disk, disk.OperationCount + at, isFailing, isPowerLoss, story);
        try
        {
            await story.TellAsync(database, isEnded: true);
        }
        catch (Exception error) when (cut.HasBegun && error is not TimeoutException)
        {
            await TestDatabase.Ended(database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        }

        disk.BeforeOperation = null;
        disk.Faults.Clear();
        await TestDatabase.NothingIsOpenAsync(disk);
        await story.RequireAsync(cut.Left(disk));
    }

    /// <summary>True if it was cut off.</summary>
    private static async Task<bool> OpenUntilAsync(SimulatedDisk disk, long at, bool isFailing)
    {
        CrashCut cut = CrashCut.Set(disk, at, isFailing, isPowerLoss: false, story: null);
        try
        {
            PitrDatabase database = await PitrDatabase.OpenAsync(TestDatabase.Folder, CrashStory.Options(disk))
                .WaitAsync(TestDatabase.Patience);
            disk.BeforeOperation = null;
            await TestDatabase.Ended(database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        }
        catch (Exception error) when (cut.HasBegun && error is not TimeoutException)
        {
            // it was refused
        }

        disk.BeforeOperation = null;
        disk.Faults.Clear();
        await TestDatabase.NothingIsOpenAsync(disk);
        return cut.HasBegun;
    }
}

/// <summary>The end of everything at one operation on a disk.</summary>
internal sealed class CrashCut
{
    private readonly bool _isPowerLoss;
    private SimulatedDisk? _left;

    private CrashCut(bool isPowerLoss) => _isPowerLoss = isPowerLoss;

    public bool HasBegun { get; private set; }

    /// <param name="disk">Where.</param>
    /// <param name="at">The operation from which on nothing works.</param>
    /// <param name="isFailing">True: I/O errors, and what counts is what was acknowledged at the engine's end. False:
    /// the
    /// file system throws, and what counts is what was acknowledged then.</param>
    /// <param name="isPowerLoss">What the disk loses; a kill loses nothing.</param>
    /// <param name="story">Told when nothing counts any more.</param>
    public static CrashCut Set(SimulatedDisk disk, long at, bool isFailing, bool isPowerLoss, CrashStory? story)
    {
        var cut = new CrashCut(isPowerLoss);
        disk.BeforeOperation = operation =>
        {
            if (operation < at || cut.HasBegun)
                return;
            cut.HasBegun = true;
            if (isFailing)
            {
                LifeEnd.FailFromNowOn(disk, "");
                return;
            }

            story?.Freeze();
            cut._left = cut.Copy(disk);
            disk.PowerOff();
        };
        return cut;
    }

    /// <summary>What the next opening finds.</summary>
    public SimulatedDisk Left(SimulatedDisk disk) => _left ?? Copy(disk);

    private SimulatedDisk Copy(SimulatedDisk disk) =>
        _isPowerLoss ? disk.CrashCopy(disk.OperationCount) : disk.KillCopy();
}
