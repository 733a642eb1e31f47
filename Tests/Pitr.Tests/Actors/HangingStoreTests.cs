using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A store that does not answer, where others say no: its bound is kept all the same, before any step there has ended and after.
/// </summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "IAsyncLifetime disposes of it: xunit calls that.")]
public sealed class HangingStoreTests : IAsyncLifetime
{
    private const long LagBytesMax = 64 << 10;
    private static readonly WalGeometry s_geometry = new(ArchiveLab.SegmentBytes);
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(500);
    private readonly ArchiveLab _lab = new();
    private FaultGate? _gate;

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        _lab.Disk.Faults.Clear();
        _gate?.Release();
        await _lab.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Commits_are_refused_at_the_bound_until_it_has_caught_up(bool isRestarted)
    {
        PitrDatabase database = await HangAsync(ArchiveLagChoice.RefuseCommits, isRestarted);
        ArchiveStatus bound = await _lab.UntilAsync(database, store => store.RefusesCommits, Tick);
        Assert.True(bound.LagBytes > LagBytesMax, bound.ToString());
        _lab.Advance(Tick);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => CommitUntilRefusedAsync(database));
        Assert.Equal(ErrorCode.ArchiveBehind, refused.Code);

        Answer();
        await _lab.UntilAsync(database, store => store is { LagBytes: 0, RefusesCommits: false }, Tick);
        await _lab.CommitAsync(database);
        Assert.Empty(_lab.Store.List(ObjectName.GapPrefix));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_it_lacks_is_given_up_at_the_bound_and_goes_and_the_gap_is_noted_when_it_answers(bool isRestarted)
    {
        PitrDatabase database = await HangAsync(ArchiveLagChoice.DropAndRecordGap, isRestarted);
        ArchiveStatus dropped = await _lab.UntilAsync(
            database, store => store.Dropped is not null && store.LagBytes <= LagBytesMax, Tick);
        Assert.False(dropped.RefusesCommits);
        await database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilAsync(database, _ => _lab.Disk.Stat(PathOf(5)) is null, Tick);
        await _lab.CommitAsync(database, 100); // again
        await _lab.UntilAsync(database, store => store.Dropped != dropped.Dropped && store.LagBytes <= LagBytesMax, Tick);

        Answer();
        ArchiveStatus status = await _lab.UntilAsync(database, store => store is { LagBytes: 0, LastError: null }, Tick);
        ArchiveGap noted = Assert.Single(GapNote.Of(_lab.Store, TimelineId.First, s_geometry));
        Assert.Equal(status.Dropped, $"{noted.From} to {noted.To}");
        TimelineHistory path = _lab.Catalog.History(TimelineId.First)!;
        ArchivedRange range = _lab.Catalog.Along(path, path.Last.StartLsn, Lsn.MaxValue, s_geometry.PayloadBytes);
        Assert.Equal(noted.To, range.Gaps[^1].To);
        Assert.All(range.Gaps, hole => Assert.True(noted.From <= hole.From && hole.To <= noted.To, $"{hole}, {noted}"));
    }

    /// <summary>All local WAL counts as lacked at first, and a store that has it only needs to say so.</summary>
    [Theory]
    [InlineData(ArchiveLagChoice.RefuseCommits)]
    [InlineData(ArchiveLagChoice.DropAndRecordGap)]
    public async Task One_that_answers_in_time_after_a_start_is_not_beyond_its_bound(ArchiveLagChoice choice)
    {
        PitrDatabase killed = await _lab.CreateAsync();
        await _lab.CommitAsync(killed, 200);
        await _lab.UntilAsync(killed, store => store.LagBytes == 0, Tick);
        await using var lab = new ArchiveLab(_lab.Disk.KillCopy());
        FaultGate gate = Hang(lab);
        try
        {
            PitrDatabase database = await lab.OpenAsync(options => With(options, choice));
            await gate.Reached.WaitAsync(ArchiveLab.Patience);
            ArchiveStatus unknown = (await database.GetStatusAsync()).Archive[0];
            Assert.True(unknown is { LagBytes: > LagBytesMax, RefusesCommits: false, Dropped: null }, unknown.ToString());
            for (TimeSpan waited = Tick; waited < Archiver.FirstAnswerMax; waited += Tick)
                lab.Advance(Tick);
            await lab.CommitAsync(database);
            Assert.False((await database.GetStatusAsync()).Archive[0].RefusesCommits);
            lab.Disk.Faults.Clear();
            gate.Release();
            ArchiveStatus status = await lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
            Assert.Null(status.Dropped);
        }
        finally
        {
            lab.Disk.Faults.Clear();
            gate.Release();
        }
    }

    private async Task<PitrDatabase> HangAsync(ArchiveLagChoice choice, bool isRestarted)
    {
        PitrDatabase database = await _lab.CreateAsync(options => With(options, choice));
        await _lab.CommitAsync(database, 20);
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        if (isRestarted)
        {
            await _lab.CloseAsync(database, Tick);
            database = await _lab.OpenAsync(); // with the bound that is so by default
            _lab.BreakStore();
            await _lab.CommitAsync(database, 160);
            await _lab.CloseAsync(database, Tick);
            _lab.Disk.Faults.Clear();
            _gate = Hang(_lab);
            database = await _lab.OpenAsync(options => With(options, choice));
            await _gate.Reached.WaitAsync(ArchiveLab.Patience);
            return database;
        }
        _gate = Hang(_lab);
        await _lab.CommitAsync(database);
        await _lab.UntilAsync(database, _ => _gate.Reached.IsCompleted, Tick);
        await _lab.CommitAsync(database, 160);
        return database;
    }

    private static FaultGate Hang(ArchiveLab lab) =>
        lab.Disk.Faults.On(FileOp.Create).Of(ArchiveLab.Archive + "/").Always().Hold();

    private void Answer()
    {
        _lab.Disk.Faults.Clear();
        _gate!.Release();
    }

    private static PitrOptions With(PitrOptions options, ArchiveLagChoice choice) =>
        options with { ArchiveLagBytesMax = LagBytesMax, ArchiveLagChoice = choice };

    private async Task CommitUntilRefusedAsync(PitrDatabase database)
    {
        for (int i = 0; i < 1000; i++)
            await _lab.CommitAsync(database);
    }

    private static string PathOf(ulong number) =>
        $"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, number)}";
}
