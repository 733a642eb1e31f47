using Akka.Actor;
using Pitr.Actors;
using Pitr.Simulation;
using static Pitr.Actors.WalProtocol;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// What the engine does by itself as time and WAL go on, in virtual time: heartbeats and segment switches (design §8),
/// and what brings a checkpoint (design §7).
/// </summary>
public sealed class IdleAndTriggersTests
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(10);

    /// <summary>So that the state of any moment is reachable on an idle database.</summary>
    [Fact]
    public async Task An_idle_database_beats_each_ten_seconds_and_each_minute_after_ten_idle_minutes()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await CreateAsync(NewDisk(), options => WithBeats(time, options));
        await database.CreateTableAsync("t").Within();
        await database.CheckpointAsync().Within();
        Assert.False(await BeatsAsync(database, time), "Something else was logged meanwhile.");

        for (int beat = 0; beat < 60; beat++)
            Assert.True(await BeatsAsync(database, time), $"Beat {beat} of the first ten minutes is missing.");
        int later = 0;
        for (int beat = 0; beat < 60; beat++)
            later += await BeatsAsync(database, time) ? 1 : 0;
        Assert.Equal(10, later);

        await database.PutAsync("t", "k", "v"); // no longer idle
        await BeatsAsync(database, time);
        Assert.True(await BeatsAsync(database, time));
    }

    /// <summary>So that the archive gets it whole.</summary>
    [Fact]
    public async Task A_segment_that_is_in_use_for_an_hour_is_switched()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await CreateAsync(NewDisk(), options => WithBeats(time, options) with
        {
            SegmentAgeMax = TimeSpan.FromHours(1),
        });
        var geometry = new Wal.WalGeometry(database.Engine.Options.WalSegmentBytes);
        ulong before = geometry.NumberOf(database.Engine.DurableLsn);
        for (TimeSpan passed = default; passed < TimeSpan.FromHours(1) - Beat; passed += Beat)
            await BeatsAsync(database, time);
        Assert.Equal(before, geometry.NumberOf(database.Engine.DurableLsn));

        await Until(
            () =>
            {
                time.Advance(Beat);
                return geometry.NumberOf(database.Engine.DurableLsn) > before;
            },
            "the segment is switched");
    }

    /// <summary>Heartbeats are no changes: an idle database writes no control file, and is not kept from idling.</summary>
    [Fact]
    public async Task A_checkpoint_comes_after_its_interval_if_something_was_changed_and_not_for_heartbeats()
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await CreateAsync(disk, options => WithBeats(time, options));
        await database.CreateTableAsync("t").Within();
        Lsn redo = (await database.CheckpointAsync().Within()).RedoLsn;
        for (int beat = 0; beat < 90; beat++) // three times the interval
            await BeatsAsync(database, time);
        Assert.Equal(redo, (await database.GetStatusAsync().Within()).RedoLsn);

        CommitResult changed = await database.PutAsync("t", "k", "v");
        time.Advance(TimeSpan.FromMinutes(5));
        await UntilRedoAsync(database, changed.Lsn);
    }

    [Fact]
    public async Task A_checkpoint_comes_after_so_much_WAL()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await CreateAsync(NewDisk(), options => time.In(options) with
        {
            CheckpointWalBytes = 100_000,
        });
        Table table = await database.CreateTableAsync("t").Within();
        CommitResult changed = await database.PutAsync(table, Bytes("k"), new byte[150_000]).Within();
        time.Advance(TimeSpan.FromSeconds(1));
        await UntilRedoAsync(database, changed.Lsn);
    }

    [Fact]
    public async Task A_checkpoint_comes_when_a_quarter_of_the_write_buffers_is_full()
    {
        await using var time = new VirtualTime(); // no look of the Checkpointer's: the datafile asks
        await using PitrDatabase database = await CreateAsync(NewDisk(), options => time.In(options) with
        {
            WriteBufferBytesMax = 4 << 20,
        });
        Table table = await database.CreateTableAsync("t").Within();
        CommitResult changed = await database.PutAsync(table, Bytes("k"), new byte[3 << 19]).Within();
        await UntilRedoAsync(database, changed.Lsn);
    }

    private static PitrOptions WithBeats(VirtualTime time, PitrOptions options) =>
        time.In(options) with { HeartbeatInterval = Beat };

    /// <summary>Lets ten seconds pass; true if something was logged.</summary>
    private static async Task<bool> BeatsAsync(PitrDatabase database, VirtualTime time)
    {
        Lsn before = database.Engine.DurableLsn;
        time.Advance(Beat);
        await database.Actors.WalWriter.Ask<SealSent>(new RequestSeal([])).Within(); // it has seen the beat before it
        return database.Engine.DurableLsn > before;
    }

    private static async Task UntilRedoAsync(PitrDatabase database, Lsn changed)
    {
        using var bound = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while ((await database.GetStatusAsync().Within()).RedoLsn < changed)
            bound.Token.ThrowIfCancellationRequested();
    }
}
