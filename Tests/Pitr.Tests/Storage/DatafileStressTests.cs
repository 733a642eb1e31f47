using System.Buffers.Binary;
using System.Globalization;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// One owner that applies, seals and flushes, and many readers of the same datafile, in a page cache far smaller than
/// the data: pages are evicted, freed and written again under scans, snapshots are held over flushes and let go. What
/// a read must give follows from its LSN alone, so each value that comes is checked.
/// </summary>
public sealed class DatafileStressTests
{
    private const int Readers = 3;
    private const int Keys = 4_000;
    private const int Stride = 5; // a round writes each fifth key
    private const int Rounds = 45;
    private const int RoundsPerFlush = 3;
    private const int ValueBytes = 1_500;
    private const ulong FirstLsn = 10_000;
    private const ulong LsnsPerRound = 8 * Keys;

    private volatile int _visibleRound = -1;
    private volatile bool _isGivenUp;

    [Fact]
    public void Readers_see_what_their_lsn_says_while_pages_are_flushed_evicted_and_used_again()
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders(DatafileOnDisk.Folder);
        using var arenas = new ArenaPool(256 << 20);
        using var cache = new PageCache(PageCache.BudgetBytesMin, new EpochTable());
        Assert.True(cache.BudgetBytes < Keys * ValueBytes);
        var environment = new DatafileEnvironment(
            disk, cache, cache.Epochs, new PacedWriter(TimeProvider.System, static _ => { }), arenas);
        var failures = new List<Exception>();
        Datafile file = Datafile.Create(
            environment, DatafileOnDisk.Path, "main", DatafileOnDisk.SystemId, FileId.Main, DatafileOnDisk.Incarnation,
            DatafileOnDisk.Lineage, new Lsn(FirstLsn));
        using (file)
        {
            var threads = new List<Thread>();
            for (int reader = 0; reader < Readers; reader++)
            {
                int seed = reader;
                var thread = new Thread(() => Guarded(failures, () => Read(file, cache.Epochs, new Random(seed))));
                threads.Add(thread);
                thread.Start();
            }
            Guarded(failures, () => Write(file));
            foreach (Thread thread in threads)
                thread.Join();
            Assert.Empty(failures);
            Assert.True(cache.Evictions > 1_000, $"Only {cache.Evictions} pages were evicted.");
            cache.Epochs.AwaitAll();
            Assert.True(file.PinnedViews <= 2, $"{file.PinnedViews} views are held, though every reader has ended.");
        }
        DatafileReport report = DatafileCheck.Run(environment, DatafileOnDisk.Path);
        Assert.True(report.IsSound, string.Join('\n', report.Problems));
        Assert.Equal(0, disk.OpenHandleCount);
    }

    private void Guarded(List<Exception> failures, Action action)
    {
        try
        {
            action();
        }
        catch (Exception failure) // the test's thread asserts that there is none
        {
            lock (failures)
                failures.Add(failure);
            _isGivenUp = true;
        }
    }

    private static Lsn LsnOf(int round) => new(FirstLsn + (ulong)(round + 1) * LsnsPerRound);

    private void Write(Datafile file)
    {
        for (int round = 0; round < Rounds && !_isGivenUp; round++)
        {
            Lsn lsn = round == 0 ? new Lsn(FirstLsn) : LsnOf(round - 1);
            for (int key = round % Stride; key < Keys; key += Stride)
            {
                lsn += 8;
                if (IsDelete(key, round))
                    file.Apply(OperationKind.Delete, KeyOf(key), default, lsn);
                else
                    file.Apply(OperationKind.Put, KeyOf(key), ValueOf(key, round), lsn);
            }
            _visibleRound = round;
            if (round % RoundsPerFlush != RoundsPerFlush - 1)
                continue;
            file.Seal(LsnOf(round));
            FlushJob job = file.PrepareFlush(DatafileOnDisk.Lineage)!;
            job.WritePages();
            job.WriteMeta();
            file.CompleteFlush(job);
        }
        _isGivenUp |= _visibleRound != Rounds - 1;
    }

    private void Read(Datafile file, EpochTable epochs, Random random)
    {
        int round;
        do
        {
            ReadView? view = TakeView(file, epochs, out round);
            if (view is null)
                continue;
            try
            {
                Get(view, epochs, round, random);
                Scan(view, epochs, round, forward: random.Next(2) == 0, random.Next(Keys));
                if (random.Next(3) == 0) // a snapshot that outlives some flushes
                {
                    var spin = new SpinWait();
                    int until = Math.Min(Rounds - 1, round + 2 * RoundsPerFlush);
                    while (_visibleRound < until && !_isGivenUp)
                        spin.SpinOnce(sleep1Threshold: -1);
                    Scan(view, epochs, round, forward: true, from: 0);
                }
            }
            finally
            {
                view.Unpin();
            }
        }
        while (round < Rounds - 1 && !_isGivenUp);
    }

    // As snapshots are taken: the round first, then a view whose root is not beyond it.
    private ReadView? TakeView(Datafile file, EpochTable epochs, out int round)
    {
        using EpochGuard guard = epochs.Enter();
        round = _visibleRound;
        ReadView view = file.View;
        if (round < 0 || view.RootLsn > LsnOf(round) || !view.TryPin())
            return null;
        return view;
    }

    private static void Get(ReadView view, EpochTable epochs, int round, Random random)
    {
        for (int get = 0; get < 50; get++)
        {
            int key = random.Next(Keys);
            using EpochGuard guard = epochs.Enter();
            bool isThere = view.TryGet(KeyOf(key), LsnOf(round), out ValueRef value);
            RequireValue(key, round, isThere ? value.ToArray() : null);
        }
    }

    private static void Scan(ReadView view, EpochTable epochs, int round, bool forward, int from)
    {
        var cursor = new MergedCursor(view, LsnOf(round));
        int next = from;
        EpochGuard guard = epochs.Enter();
        try
        {
            bool has = forward ? cursor.Seek(KeyOf(from)) : cursor.SeekBefore(KeyOf(from + 1));
            for (int row = 0; has; row++)
            {
                int key = int.Parse(cursor.Key[4..], CultureInfo.InvariantCulture);
                for (; next != key; next += forward ? 1 : -1)
                    RequireValue(next, round, null);
                RequireValue(key, round, cursor.Value.ToArray());
                next += forward ? 1 : -1;
                if (row % 16 == 15) // as a long scan does: no epoch outlives a leaf
                {
                    cursor.Suspend();
                    guard.Dispose();
                    guard = epochs.Enter();
                }
                has = forward ? cursor.Next() : cursor.Prev();
            }
            for (; next >= 0 && next < Keys; next += forward ? 1 : -1)
                RequireValue(next, round, null);
        }
        finally
        {
            guard.Dispose();
        }
    }

    private static void RequireValue(int key, int round, byte[]? found)
    {
        int last = round - ((round - key % Stride) % Stride + Stride) % Stride; // the last round that wrote it
        byte[]? expected = last < 0 || IsDelete(key, last) ? null : ValueOf(key, last);
        if (expected is null ? found is not null : found is null || !found.AsSpan().SequenceEqual(expected))
            Assert.Fail($"Key {key} at round {round}: it should be of round {last}; found: "
                + (found is null ? "nothing" : $"round {BinaryPrimitives.ReadInt32LittleEndian(found)} of key "
                    + $"{BinaryPrimitives.ReadInt32LittleEndian(found.AsSpan(4))}"));
    }

    private static bool IsDelete(int key, int round) => (key / Stride + round) % 11 == 0;

    private static byte[] KeyOf(int key) => DatafileOnDisk.KeyOf($"{key:D6}");

    // A few overflow, so that their pages are freed and used again as well.
    private static byte[] ValueOf(int key, int round)
    {
        var value = new byte[key % 97 == 0 ? 12_000 : ValueBytes];
        value.AsSpan().Fill((byte)(key * 31 + round));
        BinaryPrimitives.WriteInt32LittleEndian(value, round);
        BinaryPrimitives.WriteInt32LittleEndian(value.AsSpan(4), key);
        return value;
    }
}
