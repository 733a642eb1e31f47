using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>The life of a commit (design §3), from the caller's side.</summary>
public sealed class CommitTests
{
    /// <summary>I2, I8: over two datafiles, with checkpoints in between.</summary>
    [Fact]
    public async Task A_snapshot_sees_all_of_every_transaction_at_or_below_its_LSN_and_nothing_else()
    {
        const int writers = 4, rounds = 120;
        await using PitrDatabase database = await WithTwoFiles(TestEngine.NewDisk());
        (Table left, Table right) = (database.GetTable("t"), database.GetTable("u"));
        var commits = new ConcurrentBag<(int Writer, int Round, Lsn Lsn)>();
        var seen = new ConcurrentBag<(Lsn Lsn, int Writer, int Left, int Right)>();
        var single = new ConcurrentBag<(Lsn Lsn, int Round)>();
        Task writing = Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
        {
            var batch = new WriteBatch();
            for (int round = 1; round <= rounds; round++)
            {
                batch.Clear();
                batch.Put(left, [(byte)writer], BitConverter.GetBytes(round));
                batch.Put(right, [(byte)writer], BitConverter.GetBytes(round));
                commits.Add((writer, round, (await database.CommitAsync(batch)).Lsn));
                if (writer == 0 && round % 40 == 0)
                    await database.CheckpointAsync();
            }
        })));
        Task reading = Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(() =>
        {
            Lsn last = default;
            while (!writing.IsCompleted)
            {
                using Snapshot snapshot = database.OpenSnapshot();
                if (snapshot.Lsn == last)
                    continue;
                last = snapshot.Lsn;
                var value = new ArrayBufferWriter<byte>();
                bool isThere = database.TryGet(left, [0], value, out Lsn at);
                single.Add((at, isThere ? RoundOf(value.WrittenSpan.ToArray()) : 0));
                for (int writer = 0; writer < writers; writer++)
                {
                    seen.Add((snapshot.Lsn, writer,
                        RoundOf(snapshot.Get(left, [(byte)writer])), RoundOf(snapshot.Get(right, [(byte)writer]))));
                }
            }
        })));
        await Task.WhenAll(writing, reading).Within();

        Lsn[][] byWriter = [.. Enumerable.Range(0, writers).Select(writer =>
            commits.Where(commit => commit.Writer == writer).OrderBy(commit => commit.Round)
                .Select(commit => commit.Lsn).ToArray())];
        foreach ((Lsn lsn, int writer, int one, int other) in seen)
        {
            int expected = RoundAt(writer, lsn);
            Assert.Equal((expected, expected), (one, other));
        }

        // a single read tells the LSN that it stands for
        Assert.All(single, read => Assert.Equal(RoundAt(0, read.Lsn), read.Round));

        int RoundAt(int writer, Lsn lsn)
        {
            int place = Array.BinarySearch(byWriter[writer], lsn);
            return place >= 0 ? place + 1 : ~place;
        }
    }

    [Fact]
    public async Task A_commit_cancelled_before_it_was_taken_in_is_withdrawn_and_one_cancelled_after_it_only_loses_its_wait()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        Table table = database.GetTable("t");
        FaultGate gate = disk.Faults.On(FileOp.SyncData).Of("/wal/").Hold();
        using var cancel = new CancellationTokenSource();
        Task taken = database.PutAsync(table, TestEngine.Bytes("taken"), TestEngine.Bytes("v"), cancel.Token).AsTask();
        await gate.Reached.Within();
        Task waiting = database.PutAsync(table, TestEngine.Bytes("waiting"), TestEngine.Bytes("v"), cancel.Token)
            .AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => taken.Within());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within());
        gate.Release();
        await database.PutAsync("t", "last", "v");
        Assert.Equal("v", database.Get("t", "taken"));
        Assert.Null(database.Get("t", "waiting"));
    }

    [Fact]
    public async Task A_batch_whose_commit_was_cancelled_is_used_again_at_once()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTwoFiles(disk);
        Table table = database.GetTable("t");
        FaultGate gate = disk.Faults.On(FileOp.SyncData).Of("/wal/").Hold();
        using var cancel = new CancellationTokenSource();
        var batch = new WriteBatch();
        batch.Put(table, TestEngine.Bytes("first"), TestEngine.Bytes("1"));
        Task given = database.CommitAsync(batch, cancel.Token).AsTask();
        await gate.Reached.Within();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => given.Within());
        batch.Clear();
        batch.Put(table, TestEngine.Bytes("second"), TestEngine.Bytes("2"));
        Task<CommitResult> second = database.CommitAsync(batch).AsTask();
        gate.Release();
        await second.Within();
        Assert.Equal(("1", "2"), (database.Get("t", "first"), database.Get("t", "second")));
    }

    /// <summary>No lost Drain: the intake runs empty and fills again all the time, and everybody is answered.</summary>
    [Fact]
    public async Task Everybody_is_answered_however_often_the_intake_runs_empty()
    {
        const int threads = 12, rounds = 150;
        await using PitrDatabase database = await WithTwoFiles(TestEngine.NewDisk());
        Table table = database.GetTable("t");
        var lsns = new ConcurrentBag<Lsn>();
        await Task.WhenAll(Enumerable.Range(0, threads).Select(thread => Task.Run(async () =>
        {
            var random = new Random(thread);
            for (int i = 0; i < rounds; i++)
            {
                lsns.Add((await database.PutAsync(table, BitConverter.GetBytes(thread), BitConverter.GetBytes(i))).Lsn);
                for (int spin = random.Next(3); spin > 0; spin--)
                    await Task.Yield();
            }
        }))).Within();
        Assert.Equal(threads * rounds, lsns.Distinct().Count());
        Assert.Equal(0, database.Engine.Intake.Bytes);
        Assert.Equal(0, database.Engine.Visibility.Bytes);
    }

    [Fact]
    public async Task Under_back_pressure_commits_are_delayed_memory_is_bounded_and_their_order_is_that_of_the_calls()
    {
        const int commits = 3000;
        const long limit = 4 << 20;
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database =
            await TestEngine.CreateAsync(disk, options => options with { WriteBufferBytesMax = limit });
        Table table = await database.CreateTableAsync("t").Within();
        FaultGate gate = disk.Faults.On(FileOp.Write).Of("main.pitr").Hold();
        var tasks = new List<Task<CommitResult>>();
        for (int i = 0; i < commits; i++)
        {
            var batch = new WriteBatch();
            batch.Put(table, BitConverter.GetBytes(i), new byte[4000]);
            tasks.Add(database.CommitAsync(batch).AsTask());
        }

        await gate.Reached.Within(); // the flush that would make room stands still
        long most = 0;
        await TestEngine.Until(
            () =>
            {
                most = Math.Max(most, database.Engine.Slots.BufferedBytes);
                return most >= limit && database.Engine.Intake.Bytes == 0 && database.Engine.Visibility.Bytes == 0;
            },
            "the limit is reached and nothing is under way");
        Assert.Contains(tasks, task => task.IsCompletedSuccessfully);
        Assert.Contains(tasks, task => !task.IsCompleted);
        Assert.True(most < limit + (limit / 4), $"{most} bytes are buffered, {limit} may be");
        gate.Release();
        CommitResult[] results = await Task.WhenAll(tasks).Within();
        Assert.Equal(results.Select(result => result.Lsn).Order(), results.Select(result => result.Lsn));
    }

    [Fact]
    public async Task A_delayed_commit_is_refused_after_the_request_timeout_and_those_that_stay_end_with_the_engine()
    {
        const long limit = 1 << 20;
        SimulatedDisk disk = TestEngine.NewDisk();
        var clock = new FakeTimeProvider(); // delays, and the timeout of a delayed commit, pass by its hand only
        PitrDatabase database = await TestEngine.CreateAsync(
            disk, options => options with { WriteBufferBytesMax = limit, Clock = clock });
        Table table = await database.CreateTableAsync("t").Within();
        FaultGate gate = disk.Faults.On(FileOp.Write).Of("main.pitr").Hold();
        RefusedException? full = null;
        for (int i = 0; i < 2000 && full is null; i++)
        {
            try
            {
                Task<CommitResult> put = database.PutAsync(table, BitConverter.GetBytes(i), new byte[8000]).AsTask();
                await PassAsync(put);
                await put;
            }
            catch (RefusedException refused)
            {
                full = refused;
            }
        }

        Assert.Equal(ErrorCode.BuffersFull, full?.Code);
        Task<CommitResult> last = database.PutAsync(table, TestEngine.Bytes("last"), new byte[8000]).AsTask();
        disk.Faults.On(FileOp.SyncData).Of("/wal/").Fail(Storage.Errno.EIO);
        await Assert.ThrowsAnyAsync<PitrException>(() => database.CreateTableAsync("u").Within());
        await PassAsync(last);
        await Assert.ThrowsAnyAsync<PitrException>(() => last);
        gate.Release();
        await Assert.ThrowsAnyAsync<PitrException>(() => database.Completion.Within());

        async Task PassAsync(Task commit)
        {
            long began = TimeProvider.System.GetTimestamp();
            while (!commit.IsCompleted)
            {
                Assert.True(TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(30), "It never ends.");
                clock.Advance(TimeSpan.FromMilliseconds(100));
                await Task.Delay(1);
            }
        }
    }

    /// <summary>H8: over a clock that steps back, and over a restart.</summary>
    [Fact]
    public async Task Commit_times_grow_though_the_clock_steps_back_also_over_a_restart()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        var clock = new FakeTimeProvider(new DateTimeOffset(2030, 1, 1, 12, 0, 0, TimeSpan.Zero));
        var times = new List<DateTimeOffset>();
        PitrDatabase database = await TestEngine.CreateAsync(disk, options => options with { Clock = clock });
        await database.CreateTableAsync("t").Within();
        for (int i = 0; i < 3; i++)
        {
            times.Add((await database.PutAsync("t", "k", $"{i}")).Time);
            clock.AdjustTime(clock.GetUtcNow() - TimeSpan.FromHours(1));
        }

        await using PitrDatabase after =
            await TestEngine.OpenAsync(disk.KillCopy(), options => options with { Clock = clock });
        times.Add((await after.PutAsync("t", "k", "after")).Time);
        Assert.All(times.Zip(times.Skip(1)), pair => Assert.True(pair.Second >= pair.First + TimeSpan.FromTicks(1)));
        await database.ShutdownAsync().Within();
    }

    private static int RoundOf(byte[]? value) => value is null ? 0 : BitConverter.ToInt32(value);

    private static async Task<PitrDatabase> WithTwoFiles(SimulatedDisk disk)
    {
        PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("u", "other").Within();
        return database;
    }
}
