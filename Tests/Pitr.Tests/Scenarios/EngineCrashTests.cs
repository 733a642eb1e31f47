using System.Globalization;
using Pitr.Simulation;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// The real engine against an oracle, several lives a seed, each of which ends at any operation on the disk: by power
/// loss, a kill, a file system that throws, a disk that fails, or an orderly shutdown (I1, I2, I6, I8, I12; H1, H3, H4,
/// H5, H9, H10, H12, H16, H21, H23, H44).
/// </summary>
/// <remarks>
/// The seed decides the load and the end; threads decide the rest, so one seed is many runs. A failure prints the seed.
/// PITR_SEED=n runs one seed, PITR_SEEDS=n so many, from PITR_SEED_FROM or 1.
/// </remarks>
public sealed class EngineCrashTests
{
    private const int LivesMax = 4;
    private const long SeedsInSuite = 12;

    [Fact]
    public async Task Every_acknowledged_commit_survives_and_none_is_there_by_half()
    {
        if (Number("PITR_SEED") is { } only)
        {
            await LiveAsync(only);
            return;
        }

        long from = Number("PITR_SEED_FROM") ?? 1;
        long step = Number("PITR_SEED_STEP") ?? 1;
        long count = Number("PITR_SEEDS") ?? SeedsInSuite;
        var failures = new List<string>();
        for (long seed = from; seed < from + count * step && failures.Count < 5; seed += step)
        {
            try
            {
                await LiveAsync(seed);
            }
            catch (InvalidOperationException error)
            {
                failures.Add(error.ToString());
            }
        }

        Assert.True(failures.Count == 0, string.Join("\n\n", failures));
    }

    private static async Task LiveAsync(long seed)
    {
        string where = "at the beginning";
        PitrDatabase? open = null;
        try
        {
            SimulatedDisk disk = TestDatabase.NewDisk(seed);
            var model = new ModelStore();
            PitrDatabase database = await PitrDatabase.CreateAsync(
                TestDatabase.Folder, EngineLife.Options(disk, seed, seed)).WaitAsync(TestDatabase.Patience);
            open = database;
            await EngineLife.BeginAsync(database, model).WaitAsync(TestDatabase.Patience);
            for (int number = 1; number <= LivesMax; number++)
            {
                long lifeSeed = seed * 100 + number;
                var life = new EngineLife(lifeSeed, disk, model);
                where = $"in life {number} ({life.How})";
                (SimulatedDisk left, Func<PitrDatabase, ModelStore> resolve) = await life.RunAsync(database);
                where = $"opening after life {number} ({life.How})";
                disk = await CrashWhileOpeningAsync(left, lifeSeed, seed);
                PitrOptions options = EngineLife.Options(disk, lifeSeed, seed);
                if (number == LivesMax) // all is to be in the archive at its end, however busy the machine is
                    options = options with { ArchiveShutdownWait = TestDatabase.Patience };
                database = await PitrDatabase.OpenAsync(TestDatabase.Folder, options).WaitAsync(TestDatabase.Patience);
                open = database;
                model = resolve(database);
                model.RequireEqual(database, where);
            }

            where = "at the end";
            await database.ShutdownAsync().WaitAsync(TestDatabase.Patience);
            await TestDatabase.NothingIsOpenAsync(disk);
            TestDatabase.CheckDatafiles(disk, database.Datafiles);
            RequireWholeArchive(disk, seed, database.VisibleLsn);
        }
        catch (Exception error)
        {
            Exception? ended = open?.Completion.Exception?.InnerException;
            throw new InvalidOperationException(
                $"Seed {seed}, {where} (PITR_SEED={seed}): {error.Message}\nThe engine ended by: {ended}", error);
        }
    }

    /// <summary>
    /// Every second time, opening itself is cut off somewhere, also by a file system that throws: it ends, and the next
    /// opening finds the same content.
    /// </summary>
    private static async Task<SimulatedDisk> CrashWhileOpeningAsync(SimulatedDisk disk, long lifeSeed, long seed)
    {
        var random = new SeededRandom(lifeSeed * 47);
        if (!random.Chance(50))
            return disk;
        SimulatedDisk? copy = null;
        long crashAt = disk.OperationCount + 1 + random.Next(random.Chance(50) ? 12 : 60);
        bool isPowerLoss = random.Chance(70);
        int how = random.Next(3);
        disk.BeforeOperation = operation =>
        {
            if (operation < crashAt || copy is not null)
                return;
            copy = isPowerLoss ? disk.CrashCopy(lifeSeed) : disk.KillCopy();
            if (how == 1)
                disk.PowerOff();
            if (how == 2)
                LifeEnd.FailFromNowOn(disk, "");
        };
        try
        {
            PitrDatabase database = await PitrDatabase.OpenAsync(
                TestDatabase.Folder, EngineLife.Options(disk, lifeSeed, seed)).WaitAsync(TestDatabase.Patience);
            await TestDatabase.Ended(database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        }
        catch (Exception error) when (copy is not null && how > 0 && error is not TimeoutException)
        {
            // it was refused, as it should be
        }

        disk.BeforeOperation = null;
        await TestDatabase.NothingIsOpenAsync(disk);
        return copy ?? disk.KillCopy();
    }

    /// <summary>No segment was let go before it was shipped, whatever ended the lives (I5).</summary>
    private static void RequireWholeArchive(SimulatedDisk disk, long seed, Lsn end)
    {
        if (disk.Stat("/archive/wal") is null)
            return;
        string[] shipped = [.. disk.List("/archive/wal").Select(name => name.Split('.')[0]).Distinct()];
        ulong last = ulong.Parse(shipped[^1].AsSpan(8), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        Assert.Equal(
            Enumerable.Range(1, (int)last).Select(number => $"00000001{number:X16}"),
            shipped);
        int payload = EngineLife.Options(disk, seed, seed).WalSegmentBytes - SegmentHeader.Bytes;
        Assert.True(
            last >= (end.Value - 1) / (ulong)payload, $"The WAL ends at {end}, the archive in segment {last:X}.");
    }

    private static long? Number(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text
            ? long.Parse(text, CultureInfo.InvariantCulture)
            : null;
}
