using System.Text;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>Commits that wait for the archive: PitrOptions.ArchiveCommitWait.</summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "IAsyncLifetime disposes of it: xunit calls that.")]
public sealed class SynchronousArchiveTests : IAsyncLifetime
{
    private const string Second = "/second";
    private static readonly TimeSpan Wait = TimeSpan.FromSeconds(30);
    private readonly ArchiveLab _lab = new();
    private PitrDatabase _database = null!;

    public async Task InitializeAsync()
    {
        await _lab.CloseAsync(await _lab.CreateAsync(), TimeSpan.FromMilliseconds(500));
        _database = await _lab.OpenAsync(options => options with { ArchiveCommitWait = Wait });
    }

    public async Task DisposeAsync() => await _lab.DisposeAsync();

    [Fact]
    public async Task A_commit_is_answered_when_the_store_has_it_without_any_time_going_by()
    {
        _lab.Advance(TimeSpan.FromMilliseconds(500)); // the first look of the archiver
        for (int i = 0; i < 30; i++)
        {
            CommitResult commit = await PutAsync($"k{i}").WaitAsync(ArchiveLab.Patience);
            Assert.True(InStore(ArchiveLab.Archive) >= commit.Lsn, $"{commit.Lsn}");
        }
    }

    [Fact]
    public async Task Many_commits_at_once_share_a_push()
    {
        _lab.Advance(TimeSpan.FromMilliseconds(500));
        CommitResult[] commits = await Task.WhenAll(
            Enumerable.Range(0, 200).Select(i => PutAsync($"k{i}"))).WaitAsync(ArchiveLab.Patience);
        Assert.True(InStore(ArchiveLab.Archive) >= commits.Max(commit => commit.Lsn));
    }

    [Fact]
    public async Task With_a_store_that_is_down_the_wait_ends_with_a_typed_error_and_the_commit_stands()
    {
        _lab.Advance(TimeSpan.FromMilliseconds(500));
        await PutAsync("before").WaitAsync(ArchiveLab.Patience);
        _lab.BreakStore();
        Task<CommitResult> waiting = PutAsync("k");
        await _lab.UntilAsync(_database, store => store.LastError is not null);
        Assert.False(waiting.IsCompleted);
        // It asks for the push before it begins to count, so the error may be there first.
        await _lab.UntilStatusAsync(_database, _ => waiting.IsCompleted, Wait);
        var late = await Assert.ThrowsAsync<StorageFailedException>(() => waiting.WaitAsync(ArchiveLab.Patience));
        Assert.Equal(ErrorCode.CommitNotArchived, late.Code);
        Assert.Contains(ArchiveLab.Archive, late.Message, StringComparison.Ordinal);
        Assert.NotNull(_database.Get(_database.GetTable("t"), "k"u8));

        _lab.Disk.Faults.Clear();
        await _lab.UntilAsync(_database, store => store.LagBytes == 0, TimeSpan.FromSeconds(1));
        await PutAsync("after").WaitAsync(ArchiveLab.Patience);
    }

    [Fact]
    public async Task Every_store_is_waited_for_and_one_that_was_removed_no_longer()
    {
        _lab.Advance(TimeSpan.FromMilliseconds(500));
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        CommitResult commit = await PutAsync("a").WaitAsync(ArchiveLab.Patience);
        Assert.True(InStore(ArchiveLab.Archive) >= commit.Lsn && InStore(Second) >= commit.Lsn);
        _lab.Disk.Faults.On(FileOp.Create).Of(Second).Always().Fail(Errno.EIO);
        Task<CommitResult> waiting = PutAsync("b");
        await _lab.UntilStatusAsync(_database, now => now.Archive is [{ LagBytes: 0 }, { LastError: not null }]);
        Assert.False(waiting.IsCompleted);
        await _database.RemoveStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        await waiting.WaitAsync(ArchiveLab.Patience);
    }

    [Fact]
    public async Task Without_any_store_nothing_is_waited_for_and_a_cancelled_wait_leaves_the_commit()
    {
        _lab.Advance(TimeSpan.FromMilliseconds(500));
        await PutAsync("a").WaitAsync(ArchiveLab.Patience);
        _lab.BreakStore();
        using var enough = new CancellationTokenSource();
        Task<CommitResult> waiting = _database
            .PutAsync(_database.GetTable("t"), "k"u8.ToArray(), new byte[10], enough.Token).AsTask();
        await _lab.UntilAsync(_database, store => store.LastError is not null);
        await enough.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WaitAsync(ArchiveLab.Patience));
        Assert.NotNull(_database.Get(_database.GetTable("t"), "k"u8));
        await _database.RemoveStoreAsync(ArchiveLab.Archive).WaitAsync(ArchiveLab.Patience);
        await PutAsync("b").WaitAsync(ArchiveLab.Patience);
    }

    /// <summary>A1: the store goes on behind the gap, with LSNs above those that it will never have.</summary>
    [Fact]
    public async Task A_commit_whose_WAL_was_given_up_is_not_said_to_be_in_the_store()
    {
        await _lab.CloseAsync(_database, TimeSpan.FromMilliseconds(500));
        _database = await _lab.OpenAsync(options => options with
        {
            ArchiveCommitWait = TimeSpan.FromDays(10),
            ArchiveLagBytesMax = 64 << 10,
            ArchiveLagChoice = ArchiveLagChoice.DropAndRecordGap,
        });
        _lab.Advance(TimeSpan.FromMilliseconds(500));
        await PutAsync("before").WaitAsync(ArchiveLab.Patience);
        _lab.BreakStore();
        Task<CommitResult>[] commits = [.. Enumerable.Range(0, 2000).Select(n => PutAsync($"k{n}"))];
        await _lab.UntilAsync(
            _database, store => store.Dropped is not null && store.LagBytes <= 64 << 10, TimeSpan.FromMilliseconds(500));
        _lab.Disk.Faults.Clear();
        await _lab.UntilAsync(_database, store => store.LagBytes == 0, TimeSpan.FromSeconds(1));

        TimelineHistory path = _lab.Catalog.History(TimelineId.First)!;
        ArchiveGap[] gaps = [.. _lab.Catalog.Along(
            path, path.Last.StartLsn, Lsn.MaxValue, ArchiveLab.SegmentBytes - 512).Gaps];
        int told = 0;
        foreach (Task<CommitResult> commit in commits)
        {
            try
            {
                CommitResult done = await commit.WaitAsync(ArchiveLab.Patience);
                Assert.DoesNotContain(gaps, gap => gap.From < done.Lsn && done.Lsn <= gap.To);
            }
            catch (StorageFailedException late) when (late.Code == ErrorCode.CommitNotArchived)
            {
                told++;
            }
        }

        Assert.InRange(told, 1, commits.Length - 1);
    }

    private Task<CommitResult> PutAsync(string key) =>
        _database.PutAsync(_database.GetTable("t"), Encoding.ASCII.GetBytes(key), new byte[100]).AsTask();

    private Lsn InStore(string folder) => ArchiveCatalog.Load(ArchiveTestData.Store(_lab.Disk, folder))
        .HighestEnd(TimelineId.First, ArchiveLab.SegmentBytes - 512);
}
