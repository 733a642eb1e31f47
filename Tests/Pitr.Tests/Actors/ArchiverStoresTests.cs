using System.Text;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>Stores that come and go while a database runs, and what a check finds in them.</summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "IAsyncLifetime disposes of it: xunit calls that.")]
public sealed class ArchiverStoresTests : IAsyncLifetime
{
    private const string Second = "/second";
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(500);
    private readonly ArchiveLab _lab = new();
    private PitrDatabase _database = null!;

    public async Task InitializeAsync()
    {
        await _lab.CloseAsync(await _lab.CreateAsync(), Tick);
        _database = await _lab.OpenAsync(); // its store is named by pitr.json alone
        await _lab.CommitAsync(_database, 40);
        await UntilShippedAsync();
    }

    public async Task DisposeAsync() => await _lab.DisposeAsync();

    [Fact]
    public async Task A_store_that_is_added_gets_the_WAL_that_is_here_and_all_that_follows()
    {
        ArchiveStatus added = await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        Assert.Equal((Second, null), (added.Store, added.LastError));
        Assert.Contains("\"/archive\", \"/second\"", Settings, StringComparison.Ordinal);
        await _lab.CommitAsync(_database, 40);
        await UntilShippedAsync();
        Assert.Equal(
            _lab.Catalog.Wholes(TimelineId.First), ArchiveCatalog.Load(Store(Second)).Wholes(TimelineId.First));
        Assert.Equal([ArchiveLab.Archive, Second], (await CheckAsync()).Select(store => store.Store));

        await _lab.CloseAsync(_database, Tick);
        _database = await _lab.OpenAsync();
        Assert.Equal(2, (await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive.Count);
    }

    /// <summary>H39: from the moment it was added on, WAL waits for the new store, too.</summary>
    [Fact]
    public async Task What_a_new_store_lacks_is_kept()
    {
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        await UntilShippedAsync();
        _lab.Disk.Faults.On(FileOp.Create).Of(Second).Always().Fail(Errno.EIO);
        await _lab.CommitAsync(_database, 40);
        EngineStatus behind = await _lab.UntilStatusAsync(
            _database, now => now.Archive is [{ LagBytes: 0 }, { LastError: not null, LagBytes: > 32 << 10 }], Tick);
        await _database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilStatusAsync(
            _database, now => now.Archive[1].LagSeconds >= behind.Archive[1].LagSeconds + 30, TimeSpan.FromSeconds(10));
        _lab.Disk.Faults.Clear();
        await UntilShippedAsync();
        await CheckAsync();
    }

    /// <summary>H39: checkpoints come while a store is set up, and WAL may go that all others have: what it begins with stays.</summary>
    [Fact]
    public async Task WAL_that_a_new_store_is_to_begin_with_is_held_while_it_is_set_up()
    {
        using var held = new HeldSync(_lab.Disk.Faults.On(FileOp.Rename).Of("/db/pitr.json").Hold());
        Task<ArchiveStatus> added = _database.AddStoreAsync(Second);
        await held.Reached.WaitAsync(ArchiveLab.Patience);
        await _lab.CommitAsync(_database, 40);
        await UntilShippedAsync();
        await _database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await UntilShippedAsync();
        await _lab.CommitAsync(_database, 40); // needs segments: whoever makes them ready has let go of the others before
        held.Release();

        await added.WaitAsync(ArchiveLab.Patience);
        await UntilShippedAsync();
        await CheckAsync();
        await _database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilStatusAsync(
            _database, _ => _lab.Disk.Stat($"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, 1)}") is null, Tick);
    }

    /// <summary>H24: a store that hangs while it is set up does not fill the disk.</summary>
    [Fact]
    public async Task A_store_that_stands_still_while_it_is_set_up_keeps_WAL_up_to_the_bound_and_is_not_added()
    {
        await _lab.CloseAsync(_database, Tick);
        _database = await _lab.OpenAsync(static options => options with { FencedWalBytesMax = 64 << 10, RequestTimeout = TimeSpan.FromHours(1) });
        using var held = new HeldSync(_lab.Disk.Faults.On(FileOp.SyncData).Of(Second).Hold());
        Task<ArchiveStatus> added = _database.AddStoreAsync(Second);
        await held.Reached.WaitAsync(ArchiveLab.Patience);
        string first = FirstSegment();
        using var bound = new CancellationTokenSource(ArchiveLab.Patience);
        while (FirstSegment() == first)
        {
            Assert.False(bound.IsCancellationRequested, "WAL is held for ever.");
            await _lab.CommitAsync(_database, 40);
            await UntilShippedAsync();
            await _database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
            _lab.Advance(Archiver.SetUpMax / 4);
        }

        held.Release();
        StorageFailedException refused =
            await Assert.ThrowsAsync<StorageFailedException>(() => added.WaitAsync(ArchiveLab.Patience));
        Assert.Equal(ErrorCode.StoreFailed, refused.Code);
        Assert.DoesNotContain(Second, Settings, StringComparison.Ordinal);
        Assert.Equal(Second, (await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience)).Store);

        string FirstSegment() => _lab.Disk.List($"{ArchiveLab.Folder}/wal")
            .Where(static name => SegmentName.TryParse(name, out _)).Min(StringComparer.Ordinal)!;
    }

    [Theory]
    [InlineData(ArchiveLab.Archive)]
    [InlineData("file:///archive")]
    [InlineData("../archive/")]
    public async Task A_store_that_is_one_already_is_refused_however_it_is_written(string store)
    {
        string before = Settings;
        Assert.Equal(ErrorCode.StoreKnown, (await RefusedAsync(() => _database.AddStoreAsync(store))).Code);
        Assert.Equal(before, Settings);
    }

    [Fact]
    public async Task A_store_that_is_another_databases_or_ahead_or_not_there_is_refused_and_nothing_changes()
    {
        string before = Settings;
        _lab.Disk.CreateFolders("/foreign");
        ArchiveIdentity.SetUp(Store("/foreign"), new SystemIdentifier(9), () => 6, ArchiveLab.Noon);
        Assert.Equal(ErrorCode.ForeignSystem, (await RefusedAsync(() => _database.AddStoreAsync("/foreign"))).Code);

        _lab.Disk.CreateFolders("/ahead");
        ArchiveIdentity.SetUp(Store("/ahead"), _database.SystemId, () => 6, ArchiveLab.Noon);
        Store("/ahead").Put(ObjectName.Segment(TimelineId.First, 4711), new byte[1]);
        Assert.Equal(ErrorCode.WalTooShort, (await RefusedAsync(() => _database.AddStoreAsync("/ahead"))).Code);

        Assert.Equal(ErrorCode.StoreFailed, (await RefusedAsync(() => _database.AddStoreAsync("/no/such"))).Code);
        Assert.Equal(ErrorCode.StoreKindUnavailable, (await RefusedAsync(() => _database.AddStoreAsync("s3://b/p"))).Code);
        Assert.Equal(ErrorCode.StoreAddressInvalid, (await RefusedAsync(() => _database.AddStoreAsync("ftp://x"))).Code);
        Assert.Equal(before, Settings);
        Assert.Single((await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive);
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
    }

    [Fact]
    public async Task A_full_disk_under_pitr_json_adds_nothing_and_lets_the_timeline_go_again()
    {
        string before = Settings;
        _lab.Disk.Faults.On(FileOp.Rename).Of("/db/pitr.json").Fail(Errno.EIO);
        await RefusedAsync(() => _database.AddStoreAsync(Second));
        Assert.Equal(before, Settings);
        Assert.NotNull(TimelineOwner.Read(Store(Second), TimelineId.First)!.Released);
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
    }

    /// <summary>The folder's sync fails after pitr.json had been replaced: nobody knows what it says after a crash.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_addition_that_failed_when_pitr_json_named_it_is_made_or_taken_back(bool again)
    {
        FailSyncOfSettings();
        await Assert.ThrowsAsync<StorageFailedException>(() => _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience));
        Assert.Contains(Second, Settings, StringComparison.Ordinal);
        Assert.Single((await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive);
        if (again)
        {
            await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
            Assert.Contains($"[\"{ArchiveLab.Archive}\", \"/second\"]", SettingsAfterPowerLoss, StringComparison.Ordinal);
        }
        else
        {
            StoreRemoval removed = await _database.RemoveStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
            Assert.Equal((Second, 0, 1), (removed.Store, removed.LackedBytes, removed.StoresLeft));
            Assert.Contains($"[\"{ArchiveLab.Archive}\"]", SettingsAfterPowerLoss, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_removal_that_failed_when_pitr_json_named_it_no_longer_is_made_or_taken_back(bool again)
    {
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        FailSyncOfSettings();
        await Assert.ThrowsAsync<StorageFailedException>(() => _database.RemoveStoreAsync(Second).WaitAsync(ArchiveLab.Patience));
        Assert.DoesNotContain(Second, Settings, StringComparison.Ordinal);
        if (again)
            await _database.RemoveStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        else
            Assert.Equal(ErrorCode.StoreKnown, (await RefusedAsync(() => _database.AddStoreAsync(Second))).Code);
        Assert.Equal(!again, SettingsAfterPowerLoss.Contains(Second, StringComparison.Ordinal));
        Assert.Equal(again ? 1 : 2, (await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive.Count);
    }

    [Fact]
    public async Task A_store_that_is_removed_keeps_what_it_has_and_holds_no_WAL_any_more()
    {
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        await UntilShippedAsync();
        _lab.BreakStore();
        await _lab.CommitAsync(_database, 40);
        await _lab.UntilStatusAsync(
            _database, now => now.Archive is [{ LastError: not null, LagBytes: > 32 << 10 }, { LagBytes: 0 }], Tick);
        IReadOnlyList<string> there = _lab.Store.List("");

        StoreRemoval removed = await _database.RemoveStoreAsync("../archive").WaitAsync(ArchiveLab.Patience);
        Assert.Equal((ArchiveLab.Archive, 1), (removed.Store, removed.StoresLeft));
        Assert.True(removed.LackedBytes > 32 << 10, removed.ToString());
        Assert.Contains("\"stores\": [\"/second\"]", Settings, StringComparison.Ordinal);
        Assert.Equal(there, _lab.Store.List(""));
        Assert.Single((await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive);

        await _database.CheckpointAsync().WaitAsync(ArchiveLab.Patience);
        await _lab.UntilStatusAsync(
            _database, _ => _lab.Disk.Stat($"{ArchiveLab.Folder}/wal/{new SegmentName(TimelineId.First, 3)}") is null, Tick);
        await _lab.CloseAsync(_database, Tick);
        _database = await _lab.OpenAsync();
        Assert.Equal(Second, (await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive.Single().Store);
    }

    [Fact]
    public async Task The_last_store_may_go_and_one_may_come_to_a_database_without()
    {
        StoreRemoval removed = await _database.RemoveStoreAsync(ArchiveLab.Archive).WaitAsync(ArchiveLab.Patience);
        Assert.Equal(0, removed.StoresLeft);
        Assert.Empty((await _database.GetStatusAsync().WaitAsync(ArchiveLab.Patience)).Archive);
        Assert.Empty(await CheckAsync());
        await _lab.CommitAsync(_database, 20);
        await _lab.CloseAsync(_database, Tick);

        _database = await _lab.OpenAsync();
        await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        await _lab.CommitAsync(_database, 20);
        await UntilShippedAsync();
        await CheckAsync();
    }

    /// <summary>A store may come back: what it lacks of the time between is the gap that it is.</summary>
    [Fact]
    public async Task A_store_that_was_removed_may_be_added_again()
    {
        await _database.RemoveStoreAsync(ArchiveLab.Archive).WaitAsync(ArchiveLab.Patience);
        await _lab.CommitAsync(_database, 20);
        await _database.AddStoreAsync(ArchiveLab.Archive).WaitAsync(ArchiveLab.Patience);
        await UntilShippedAsync();
        await CheckAsync();
    }

    [Fact]
    public async Task A_store_that_only_the_program_names_or_nobody_does_cannot_be_removed()
    {
        NotFoundException unknown = await Assert.ThrowsAsync<NotFoundException>(
            () => _database.RemoveStoreAsync("/elsewhere").WaitAsync(ArchiveLab.Patience));
        Assert.Equal(ErrorCode.StoreUnknown, unknown.Code);
        Assert.Contains("'/archive'", unknown.Message, StringComparison.Ordinal);
        await _lab.CloseAsync(_database, Tick);
        _lab.Disk.CreateFolders(Second);
        _database = await _lab.OpenAsync(options => options with { ArchiveStores = [Second] });
        Assert.Equal(ErrorCode.StoreNotInSettings, (await RefusedAsync(() => _database.RemoveStoreAsync(Second))).Code);
    }

    [Fact]
    public async Task A_check_reads_everything_and_tells_what_was_found()
    {
        StoreCheck check = Assert.Single(await CheckAsync());
        Assert.Equal((ArchiveLab.Archive, new Lsn((ulong)PayloadBytes)), (check.Store, check.From));
        Assert.True(check.Segments >= 2 && check.Parts >= 1 && check.Bytes >= check.To - check.From, check.ToString());

        string second = ObjectName.Segment(TimelineId.First, 2);
        byte[] good = _lab.Store.Get(second).ToArray();
        byte[] bad = [.. good];
        bad[^5] ^= 1;
        _lab.Store.Put(second, bad);
        DamageException damage = await Assert.ThrowsAsync<DamageException>(CheckAsync);
        Assert.Equal((ErrorCode.ArchiveDamaged, second), (damage.Code, damage.Path));

        _lab.Store.Delete(second);
        RefusedException gap = await Assert.ThrowsAsync<RefusedException>(CheckAsync);
        Assert.Equal(ErrorCode.WalGap, gap.Code);

        _lab.Store.Put(second, _lab.Store.Get(ObjectName.Segment(TimelineId.First, 1)));
        Assert.Equal(ErrorCode.ArchiveDamaged, (await Assert.ThrowsAsync<DamageException>(CheckAsync)).Code);

        _lab.Store.Put(second, good);
        string history = ObjectName.History(TimelineId.First);
        byte[] branch = _lab.Store.Get(history).ToArray();
        _lab.Store.Delete(history);
        await Assert.ThrowsAsync<NotFoundException>(CheckAsync);
        _lab.Store.Put(history, branch);
        _lab.Store.Delete(ObjectName.Identity);
        Assert.Equal(ErrorCode.StoreFailed, (await Assert.ThrowsAsync<StorageFailedException>(CheckAsync)).Code);
    }

    /// <summary>What was shipped and read back, and is gone now, is missed although the local WAL is gone, too.</summary>
    [Fact]
    public async Task A_check_misses_the_newest_that_was_shipped()
    {
        foreach (string part in _lab.Store.List(ObjectName.WalPrefix).Where(name => name.Contains(".part-", StringComparison.Ordinal)))
            _lab.Store.Delete(part);
        Assert.Equal(ErrorCode.WalGap, (await Assert.ThrowsAsync<RefusedException>(CheckAsync)).Code);
    }

    /// <summary>Power goes at any operation of adding and removing: the database opens, and its archive is whole.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Power_loss_while_a_store_is_added_or_removed_loses_nothing(bool adds)
    {
        if (!adds)
            await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        await _lab.CommitAsync(_database, 4);
        long began = _lab.Disk.OperationCount;
        SimulatedDisk before = _lab.Disk.CrashCopy(1);
        if (adds)
            await _database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        else
            await _database.RemoveStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
        long took = _lab.Disk.OperationCount - began;
        Assert.True(took > 3, $"{took}");
        for (long at = 1; at <= took; at += Math.Max(1, took / 24))
        {
            var lab = new ArchiveLab(before.CrashCopy(at));
            PitrDatabase database = await lab.OpenAsync();
            lab.Disk.CrashAt(lab.Disk.OperationCount + at);
            try
            {
                if (adds)
                    await database.AddStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
                else
                    await database.RemoveStoreAsync(Second).WaitAsync(ArchiveLab.Patience);
            }
            catch (Exception failed) when (failed is PitrException or SimulatedCrashException)
            {
                // The machine is off.
            }
            SimulatedDisk after = lab.Disk.CrashCopy(at);
            await lab.AbandonAsync();

            await using var again = new ArchiveLab(after);
            PitrDatabase opened = await again.OpenAsync();
            Assert.Equal(_lab.Acknowledged, opened.Count(opened.GetTable("t")));
            await again.CommitAsync(opened, 1);
            await again.UntilStatusAsync(
                opened, now => now.Archive.Count > 0 && now.Archive.All(store => store.LagBytes == 0), TimeSpan.FromSeconds(5));
            await opened.CheckArchiveAsync().WaitAsync(ArchiveLab.Patience);
        }
    }

    private const long PayloadBytes = ArchiveLab.SegmentBytes - 512;

    private string Settings => Encoding.UTF8.GetString(_lab.Disk.ReadAll("/db/pitr.json"));

    /// <summary>The same after any of some power losses.</summary>
    private string SettingsAfterPowerLoss => Assert.Single(Enumerable.Range(1, 8)
        .Select(seed => Encoding.UTF8.GetString(_lab.Disk.CrashCopy(seed).ReadAll("/db/pitr.json"))).Distinct());

    private void FailSyncOfSettings() => _lab.Disk.Faults.On(FileOp.SyncFolder).Of("/db").Fail(Errno.EIO);

    private FolderStore Store(string folder) => ArchiveTestData.Store(_lab.Disk, folder);

    private Task<IReadOnlyList<StoreCheck>> CheckAsync() => _database.CheckArchiveAsync().WaitAsync(ArchiveLab.Patience);

    private Task<EngineStatus> UntilShippedAsync() => _lab.UntilStatusAsync(
        _database, now => now.Archive.All(store => store is { LagBytes: 0, LastError: null }), Tick);

    private static async Task<PitrException> RefusedAsync(Func<Task> change) =>
        await Assert.ThrowsAnyAsync<PitrException>(() => change().WaitAsync(ArchiveLab.Patience));
}
