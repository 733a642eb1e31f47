using System.Text;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>An engine and its archive: what goes there, when, and what happens while it does not (design §8).</summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "IAsyncLifetime disposes of it: xunit calls that.")]
public sealed class ArchiverTests : IAsyncLifetime
{
    private const int SegmentBytes = ArchiveLab.SegmentBytes;
    private const int PayloadBytes = SegmentBytes - SegmentHeader.Bytes;
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(500);
    private readonly ArchiveLab _lab = new();

    public Task InitializeAsync() => Task.CompletedTask;

    public Task DisposeAsync() => _lab.DisposeAsync().AsTask();

    [Fact]
    public async Task The_tail_is_on_its_way_a_second_after_a_commit()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        for (int i = 0; i < 3; i++)
        {
            await _lab.CommitAsync(database);
            Lsn durable = (await database.GetStatusAsync()).FlushedLsn;
            _lab.Advance(Tick);
            _lab.Advance(Tick);
            await _lab.UntilAsync(database, store => store.LagBytes == 0);
            Assert.Equal(durable, _lab.Catalog.HighestEnd(TimelineId.First, PayloadBytes));
        }
    }

    [Fact]
    public async Task Commits_go_on_while_the_store_is_down_its_lag_is_told_and_it_catches_up_in_order()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        _lab.BreakStore();
        await _lab.CommitAsync(database, 20);
        ArchiveStatus behind = await _lab.UntilAsync(database, store => store.LastError is not null, Tick);
        Assert.True(behind.LagBytes >= 20 << 10 && behind.LagSegments >= 1, behind.ToString());
        await _lab.CommitAsync(database, 60);
        ArchiveStatus further = await _lab.UntilAsync(
            database, store => store.LagSeconds >= behind.LagSeconds + 30, TimeSpan.FromSeconds(10));
        Assert.True(further.LagBytes >= 80 << 10 && further.LagSegments >= 5, further.ToString());
        Assert.Contains("EIO", further.LastError, StringComparison.Ordinal);

        _lab.Disk.Log.Start();
        _lab.Disk.Faults.Clear();
        await _lab.UntilAsync(database, store => store is { LagBytes: 0, LastError: null }, Tick);
        ulong[] order = _lab.SegmentsInOrder();
        Assert.True(order.Length >= 5, $"{order.Length} segments");
        Assert.Equal(Enumerable.Range(0, order.Length).Select(i => order[0] + (ulong)i), order);
    }

    /// <summary>
    /// H39: what the store took but gives back garbled, or has not at all, is kept here, whatever the redo point.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task No_segment_is_recycled_before_the_store_has_it_and_it_was_read_back(bool isWritten)
    {
        PitrDatabase database = await _lab.CreateAsync();
        string first = $"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, 1)}";
        if (isWritten)
            _lab.Disk.Faults.On(FileOp.Read).Of($"{ArchiveLab.Archive}/wal/").Always().Garble();
        else
            _lab.BreakStore();
        await _lab.CommitAsync(database, 40);
        await _lab.UntilAsync(database, store => store.LastError is not null, Tick);
        await database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilAsync(database, store => store.LagSeconds >= 200, TimeSpan.FromSeconds(10));
        string archived = $"{ArchiveLab.Archive}/{ObjectName.Segment(TimelineId.First, 1)}";
        Assert.Equal(isWritten, _lab.Disk.Stat(archived) is not null);
        Assert.NotNull(_lab.Disk.Stat(first));

        _lab.Disk.Faults.Clear();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        await _lab.UntilAsync(database, _ => _lab.Disk.Stat(first) is null, Tick);
    }

    [Fact]
    public async Task A_store_that_is_down_holds_up_no_other_and_keeps_what_it_lacks()
    {
        _lab.Disk.CreateFolders("/second");
        PitrDatabase database = await _lab.CreateAsync(options => options with
        {
            ArchiveStores = [ArchiveLab.Archive, "/second"],
        });
        ArchiveIdentity.SetUp(ArchiveTestData.Store(_lab.Disk, "/second"), database.SystemId, () => 6, ArchiveLab.Noon);
        _lab.BreakStore();
        await _lab.CommitAsync(database, 40);
        EngineStatus status = await _lab.UntilStatusAsync(
            database, now => now.Archive is [{ LastError: not null }, { LagBytes: 0, LastError: null }],
            Tick);
        Assert.True(status.Archive[0].LagBytes >= 40 << 10, status.Archive[0].ToString());
        await database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilAsync(
            database, store => store.LagSeconds >= status.Archive[0].LagSeconds + 30, TimeSpan.FromSeconds(10));
        Assert.NotNull(_lab.Disk.Stat($"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, 1)}"));
    }

    /// <summary>H25, I13: whoever else wrote the segment, it is neither replaced nor taken for ours.</summary>
    [Fact]
    public async Task Other_content_under_a_segments_name_is_left_alone_and_told()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        string name = ObjectName.Segment(TimelineId.First, 1);
        var identity = new SegmentIdentity(
            database.SystemId, TimelineId.First, _lab.Catalog.History(TimelineId.First)!.Last.Lineage, 1);
        ArchivePush.Push(_lab.Store, ArchivedSegment.Whole(
            identity, new Lsn(PayloadBytes), SegmentHeader.Bytes, new byte[SegmentBytes]));
        byte[] theirs = _lab.Store.Get(name).ToArray();

        await _lab.CommitAsync(database, 40);
        ArchiveStatus status = await _lab.UntilAsync(database, store => store.LastError is not null, Tick);
        Assert.Contains("holds other content", status.LastError, StringComparison.Ordinal);
        await database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        Assert.Equal(theirs, _lab.Store.Get(name).ToArray());
        Assert.NotNull(_lab.Disk.Stat($"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, 1)}"));
        Assert.Empty(_lab.Catalog.Wholes(TimelineId.First).Skip(1));
    }

    [Fact]
    public async Task At_its_bound_a_store_that_is_down_lets_commits_be_refused_until_it_has_caught_up()
    {
        PitrDatabase database = await _lab.CreateAsync(options => options with { ArchiveLagBytesMax = 64 << 10 });
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        _lab.BreakStore();
        await _lab.CommitAsync(database, 40);
        await _lab.UntilAsync(database, store => store is { RefusesCommits: false, LastError: not null }, Tick);
        await _lab.CommitAsync(database, 30);
        ArchiveStatus bound = await _lab.UntilAsync(database, store => store.RefusesCommits, Tick);
        Assert.Equal(64 << 10, bound.LagBytesMax);
        _lab.Advance(Tick);
        RefusedException refused = await UntilRefusedAsync(database);
        Assert.Equal(ErrorCode.ArchiveBehind, refused.Code);
        Assert.Contains(ArchiveLab.Archive, refused.Message, StringComparison.Ordinal);
        Assert.Equal(database.Count(database.GetTable("t")), _lab.Acknowledged);

        _lab.Disk.Faults.Clear();
        await _lab.UntilAsync(database, store => store is { LagBytes: 0, RefusesCommits: false }, Tick);
        await _lab.CommitAsync(database);
    }

    private async Task<RefusedException> UntilRefusedAsync(PitrDatabase database)
    {
        for (int i = 0; i < 1000; i++)
        {
            try
            {
                await _lab.CommitAsync(database);
            }
            catch (RefusedException refused)
            {
                return refused;
            }
        }
        throw new InvalidOperationException("No commit was refused.");
    }

    [Fact]
    public async Task At_its_bound_a_store_that_is_down_loses_the_oldest_segments_if_so_chosen_and_the_gap_is_told()
    {
        PitrDatabase database = await _lab.CreateAsync(options => options with
        {
            ArchiveLagBytesMax = 64 << 10,
            ArchiveLagChoice = ArchiveLagChoice.DropAndRecordGap,
        });
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        _lab.BreakStore();
        await _lab.CommitAsync(database, 200);
        ArchiveStatus dropped = await _lab.UntilAsync(
            database, store => store.Dropped is not null && store.LagBytes <= 64 << 10, Tick);
        Assert.False(dropped.RefusesCommits);

        _lab.Disk.Faults.Clear();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        TimelineHistory path = _lab.Catalog.History(TimelineId.First)!;
        ArchivedRange range = _lab.Catalog.Along(path, path.Last.StartLsn, Lsn.MaxValue, PayloadBytes);
        Assert.Equal(dropped.Dropped, $"{range.Gaps[0].From} to {range.Gaps[^1].To}");
        Assert.Equal(range.Gaps.Skip(1).Select(gap => gap.From), range.Gaps.SkipLast(1).Select(gap => gap.To));

        // The note is in the store: a check explains the gap by it, and the next start tells it again.
        string[] noted = [.. _lab.Store.List(ObjectName.GapPrefix)];
        Assert.Equal(ObjectName.Gap(TimelineId.First, range.Gaps[0].From, range.Gaps[^1].To), Assert.Single(noted));
        RefusedException gap = await Assert.ThrowsAsync<RefusedException>(
            () => database.CheckArchiveAsync().WaitAsync(ArchiveLab.Patience));
        Assert.Equal(ErrorCode.WalGap, gap.Code);
        Assert.Contains("it was given up", gap.Message, StringComparison.Ordinal);
        await _lab.CloseAsync(database, Tick);
        database = await _lab.OpenAsync();
        await _lab.UntilAsync(database, store => store.Dropped == dropped.Dropped, Tick);
        Assert.Equal(noted, _lab.Store.List(ObjectName.GapPrefix));
    }

    /// <summary>A start that dies between giving up and noting: the next one finds the hole by itself.</summary>
    [Fact]
    public async Task A_hole_between_the_store_and_the_local_WAL_is_found_and_noted()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.CommitAsync(database, 100);
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        await database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilAsync(database, _ => _lab.Disk.Stat($"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, 3)}") is null, Tick);
        await _lab.CloseAsync(database, Tick);
        _lab.Store.Delete(ObjectName.Segment(TimelineId.First, 3));
        foreach (string name in _lab.Store.List(ObjectName.WalPrefix))
        {
            if (!ObjectName.TryParseSegment(name, out _, out ulong number) || number > 3)
                _lab.Store.Delete(name);
        }

        database = await _lab.OpenAsync();
        ArchiveStatus status = await _lab.UntilAsync(database, store => store is { Dropped: not null, LagBytes: 0 }, Tick);
        Assert.StartsWith($"{new Lsn(3 * (ulong)PayloadBytes)} to ", status.Dropped, StringComparison.Ordinal);
        Assert.Single(_lab.Store.List(ObjectName.GapPrefix));
    }

    [Fact]
    public async Task The_bound_is_a_setting_of_the_database()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.CloseAsync(database, Tick);
        Write("""{ "stores": ["/archive"], "archiveLagBytesMax": 12345, "archiveLagChoice": "dropAndRecordGap" }""");
        database = await _lab.OpenAsync();
        Assert.Equal(12345, (await database.GetStatusAsync()).Archive[0].LagBytesMax);
        await _lab.CloseAsync(database, Tick);
        Write("""{ "archiveLagBytesMax": -1 }""");
        PitrException refused = await Assert.ThrowsAnyAsync<PitrException>(() => _lab.OpenAsync());
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);

        void Write(string json) => DurableReplace.Write(
            _lab.Disk, $"{ArchiveLab.Folder}/{DatabaseSettings.FileName}", Encoding.UTF8.GetBytes(json));
    }

    [Fact]
    public async Task A_shutdown_ships_the_tail_and_releases_the_timeline_without_waiting_for_a_pause()
    {
        PitrDatabase database = await _lab.CreateAsync();
        _lab.BreakStore();
        await _lab.CommitAsync(database, 30);
        await _lab.UntilAsync(database, store => store.LastError is not null, Tick);
        _lab.Disk.Faults.Clear();
        await database.ShutdownAsync().WaitAsync(ArchiveLab.Patience); // time stands still
        Assert.Null(database.ArchiveLeft);
        Assert.NotNull(TimelineOwner.Read(_lab.Store, TimelineId.First)!.Released);
        PitrDatabase again = await _lab.OpenAsync();
        Assert.Equal(
            (await again.GetStatusAsync()).FlushedLsn,
            _lab.Catalog.HighestEnd(TimelineId.First, PayloadBytes));
    }

    /// <summary>H26: nothing that comes within the time of a shutdown would let it ship there.</summary>
    [Fact]
    public async Task A_shutdown_does_not_wait_for_a_store_that_another_start_owns()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        OwnerState mine = TimelineOwner.Read(_lab.Store, TimelineId.First)!;
        TimelineOwner.Take(
            _lab.Store, mine.System, mine.Timeline, mine.Lineage, mine.Start with { StartId = 99 }, ArchiveLab.Noon);
        await _lab.CommitAsync(database, 3);
        await database.ShutdownAsync().WaitAsync(ArchiveLab.Patience); // time stands still
        Assert.Contains("is owned by start 0000000000000063", database.ArchiveLeft, StringComparison.Ordinal);
    }

    /// <summary>H26: the machine was booted since the last start; neither opening nor commits wait for what that means.</summary>
    [Fact]
    public async Task After_a_boot_the_database_serves_at_once_and_ships_when_the_owner_is_known_to_be_over()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        await _lab.CloseAsync(database, Tick);
        OwnerState before = TimelineOwner.Read(_lab.Store, TimelineId.First)!;
        TimelineOwner.Take(
            _lab.Store, before.System, before.Timeline, before.Lineage,
            before.Start with { StartId = 99, BootId = "earlier" }, ArchiveLab.Noon); // and the power went

        PitrDatabase again = await _lab.OpenAsync(options => options with { ArchiveStores = [ArchiveLab.Archive] });
        await _lab.CommitAsync(again, 3);
        DateTimeOffset began = _lab.Clock.GetUtcNow();
        ArchiveStatus waits = await _lab.UntilAsync(again, store => store.LastError is not null, Tick);
        Assert.Contains("not yet known", waits.LastError, StringComparison.Ordinal);
        await _lab.UntilAsync(again, store => store is { LagBytes: 0, LastError: null }, TimeSpan.FromSeconds(5));
        Assert.True(_lab.Clock.GetUtcNow() - began >= OwnerWatch.Wait);
    }

    [Fact]
    public async Task A_shutdown_with_the_store_down_ends_in_time_and_says_what_is_left()
    {
        PitrDatabase database = await _lab.CreateAsync();
        _lab.BreakStore();
        await _lab.CommitAsync(database, 30);
        await _lab.UntilAsync(database, store => store.LastError is not null, Tick);
        await _lab.CloseAsync(database, TimeSpan.FromSeconds(5));
        Assert.Matches("^'/archive' lacks [1-9] segments, [0-9]{5} bytes ", database.ArchiveLeft);
        Assert.Contains("EIO", database.ArchiveLeft, StringComparison.Ordinal);

        _lab.Disk.Faults.Clear();
        PitrDatabase again = await _lab.OpenAsync(options => options with { ArchiveStores = [ArchiveLab.Archive] });
        await _lab.UntilAsync(again, store => store is { LagBytes: 0, LastSegment: not null }, Tick);
    }

    /// <summary>H7: an older copy of the database's folder beside the archive of what went on.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_log_that_ends_before_its_archive_is_not_continued_there(bool isStoreUpAtOpening)
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.CommitAsync(database, 5);
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        SimulatedDisk older = _lab.Disk.KillCopy();
        await _lab.CommitAsync(database, 40);
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        foreach (string name in _lab.Disk.List($"{ArchiveLab.Archive}/wal"))
            CopyTo(older, $"{ArchiveLab.Archive}/wal/{name}");
        string[] before = [.. older.List($"{ArchiveLab.Archive}/wal")];

        await using var lab = new ArchiveLab(older);
        if (isStoreUpAtOpening)
        {
            var refused = await Assert.ThrowsAsync<RefusedException>(() => lab.OpenAsync());
            Assert.Equal(ErrorCode.WalTooShort, refused.Code);
            Assert.Contains("/archive", refused.Message, StringComparison.Ordinal);
            Assert.Equal((0, 0), (older.OpenHandleCount, older.HeldLockCount));
            return;
        }
        older.Faults.On(FileOp.List).Of(ArchiveLab.Archive).Always().Fail(Errno.EIO);
        PitrDatabase opened = await lab.OpenAsync();
        await lab.UntilAsync(opened, store => store.LastError is not null, Tick);
        await lab.CommitAsync(opened, 3);
        older.Faults.Clear();
        ArchiveStatus status = await lab.UntilAsync(
            opened, store => store.LastError!.Contains("The local WAL of timeline", StringComparison.Ordinal),
            Tick);
        Assert.True(status.LagBytes > 0);
        Assert.Equal(before, older.List($"{ArchiveLab.Archive}/wal"));
    }

    private void CopyTo(SimulatedDisk other, string path)
    {
        if (other.Stat(path) is not null)
            return;
        using IFileHandle to = other.Open(path, FileOpen.CreateNew);
        to.Write(0, _lab.Disk.ReadAll(path));
        to.SyncData();
    }

    [Theory]
    [InlineData(ArchiveLab.Archive)]
    [InlineData("/sets")]
    public async Task The_recovery_window_is_from_the_oldest_sets_stop_to_what_is_archived(string setStore)
    {
        _lab.Disk.CreateFolders(setStore);
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.CommitAsync(database, 3);
        await _lab.UntilAsync(database, store => store.LagBytes == 0, Tick);
        Assert.Null((await database.GetStatusAsync()).RecoveryWindow);

        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = setStore });
        while (!backup.IsCompleted)
        {
            _lab.Advance(Tick);
            await Task.WhenAny(backup, Task.Delay(5));
        }
        BackupResult set = await backup;
        _lab.Advance(TimeSpan.FromMinutes(5));
        await _lab.CommitAsync(database, 3);
        EngineStatus status = await _lab.UntilStatusAsync(
            database, now => now.RecoveryWindow is { } known && known.To - known.From >= TimeSpan.FromMinutes(5), Tick);
        FolderStore store = ArchiveTestData.Store(_lab.Disk, setStore);
        Assert.Equal(
            Recovery.BackupCatalog.Read(store).Get(set.BackupId).Label.StopTime, status.RecoveryWindow!.From);
        Assert.Null(status.RecoveryWindow.VerifiedAt);
    }

    /// <summary>It reads all sets' labels and manifests, which may take a store long: beside the steps, and a shutdown.</summary>
    [Fact]
    public async Task A_look_for_the_recovery_window_holds_up_no_shipping()
    {
        PitrDatabase database = await _lab.CreateAsync();
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = ArchiveLab.Archive });
        while (!backup.IsCompleted)
        {
            _lab.Advance(Tick);
            await Task.WhenAny(backup, Task.Delay(5));
        }
        await backup;
        FaultGate gate = _lab.Disk.Faults.On(FileOp.Open).Of($"{ArchiveLab.Archive}/backups").Always().Hold();
        try
        {
            await _lab.UntilAsync(database, _ => gate.Reached.IsCompleted, Tick);
            await _lab.CommitAsync(database, 40);
            Lsn durable = (await database.GetStatusAsync()).FlushedLsn;
            await _lab.UntilAsync(database, store => store is { LagBytes: 0, LastError: null }, Tick);
            Assert.True(_lab.Catalog.HighestEnd(TimelineId.First, PayloadBytes) >= durable);
            await _lab.CloseAsync(database, TimeSpan.FromSeconds(5));
            Assert.Null(database.ArchiveLeft);
        }
        finally
        {
            _lab.Disk.Faults.Clear();
            gate.Release();
        }
    }
}
