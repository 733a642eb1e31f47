using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>H26: which of two databases with one lineage may push.</summary>
public sealed class TimelineOwnerTests
{
    private readonly FolderStore _store = NewStore().Store;
    private readonly EngineStart _source = new(1, "alpha", "boot", "/db", 8, 100);
    private readonly EngineStart _copy = new(2, "alpha", "boot", "/copy", 8, 200);

    private TimelineOwner Take(EngineStart start, DateTimeOffset? now = null) =>
        TimelineOwner.Take(_store, ArchiveTestData.System, TimelineId.First, LineageA, start, now ?? Noon);

    private static ErrorCode CodeOf(Action action) => Assert.Throws<RefusedException>(action).Code;

    /// <summary>
    /// H26: a copy started beside its source is refused, however old the owner's last sign of life is.
    /// </summary>
    [Fact]
    public void A_copy_beside_its_source_is_refused_fresh_or_stale()
    {
        TimelineOwner source = Take(_source);
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() => Take(_copy)));
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() => Take(_copy, Noon.AddYears(1))));
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() => Take(_source with { StartId = 3, Machine = "beta" })));
        source.RequireStillMine();
    }

    /// <summary>H26: the same place takes over after a crash; the start before it can't push any more.</summary>
    [Fact]
    public void The_next_start_in_the_same_place_takes_over()
    {
        TimelineOwner before = Take(_source);
        TimelineOwner next = Take(_source with { StartId = 5, Folder = "/renamed" });
        next.RequireStillMine();
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(before.RequireStillMine));
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() => before.Renew(Noon)));
        next.RequireStillMine();
    }

    /// <summary>H26: after an orderly end the database may start elsewhere, and then its source is the copy.</summary>
    [Fact]
    public void A_released_timeline_is_taken_from_anywhere_once()
    {
        TimelineOwner source = Take(_source);
        source.Renew(Noon.AddMinutes(1));
        source.Release(Noon.AddMinutes(2));
        TimelineOwner moved = Take(_copy);
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() => Take(_source with { StartId = 7 })));
        moved.RequireStillMine();
        Assert.Equal(_copy, TimelineOwner.Read(_store, TimelineId.First)!.Start);
    }

    /// <summary>H26: a snapshot of the source's disk, mounted beside it, has its inodes.</summary>
    [Fact]
    public void A_block_level_copy_beside_its_source_is_refused()
    {
        TimelineOwner source = Take(_source);
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() => Take(_source with { StartId = 3, Device = 9 })));
        source.RequireStillMine();
    }

    /// <summary>Owner objects of before boot and device were noted: of a boot that nobody knows.</summary>
    [Fact]
    public void An_owner_object_without_boot_and_device_means_what_it_meant()
    {
        Take(_source);
        string name = ObjectName.Owner(TimelineId.First, 1);
        string text = global::System.Text.Encoding.UTF8.GetString(SealedText.Open(_store.Name, name, _store.Get(name).Span));
        string[] lines = [.. text.Split('\n').Where(line =>
            !line.Contains("\"boot\"", StringComparison.Ordinal) && !line.Contains("\"device\"", StringComparison.Ordinal))];
        Assert.Equal(text.Split('\n').Length - 2, lines.Length);
        _store.Put(name, SealedText.Seal(global::System.Text.Encoding.UTF8.GetBytes(string.Join('\n', lines))));

        EngineStart there = TimelineOwner.Read(_store, TimelineId.First)!.Start;
        Assert.Equal(_source with { BootId = "", Device = 0 }, there);
        Assert.Equal(PlaceComparison.MayBeSame, there.PlaceOf(_source));
        Assert.Equal(PlaceComparison.Other, there.PlaceOf(_copy));
    }

    [Fact]
    public void Another_lineage_with_the_number_is_refused()
    {
        Take(_source).Release(Noon);
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() =>
            TimelineOwner.Take(_store, ArchiveTestData.System, TimelineId.First, LineageB, _source, Noon)));
        Assert.Equal(ErrorCode.ForeignSystem, CodeOf(() =>
            TimelineOwner.Take(_store, new SystemIdentifier(5), TimelineId.First, LineageA, _source, Noon)));
    }

    [Fact]
    public void Owner_objects_do_not_pile_up()
    {
        for (ulong start = 1; start <= 10; start++)
            Take(_source with { StartId = start });
        Assert.Equal(2, _store.List(ObjectName.OwnerPrefix).Count);
        Take(_copy with { Inode = 100 });
        TimelineOwner.Take(_store, ArchiveTestData.System, new TimelineId(2), LineageB, _copy, Noon);
        Assert.Equal(3, _store.List(ObjectName.OwnerPrefix).Count);
    }

    /// <summary>H26: of two starts that take a released timeline at once, exactly one has it.</summary>
    [Fact]
    public void Of_two_that_take_at_once_one_is_refused()
    {
        Take(_source).Release(Noon);
        TimelineOwner? between = null;
        var racing = new RacingStore(_store, () => between ??= Take(_copy));
        Assert.Equal(ErrorCode.ArchiveOwned, CodeOf(() =>
            TimelineOwner.Take(
                racing, ArchiveTestData.System, TimelineId.First, LineageA, _source with { StartId = 9 }, Noon)));
        between!.RequireStillMine();
    }

    [Fact]
    public void A_take_that_dies_can_be_repeated_from_the_same_place()
    {
        for (long crashAt = 1; crashAt <= 24; crashAt++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            TimelineOwner.Take(store, ArchiveTestData.System, TimelineId.First, LineageA, _source, Noon);
            disk.CrashAt(disk.OperationCount + crashAt);
            try
            {
                TimelineOwner.Take(
                    store, ArchiveTestData.System, TimelineId.First, LineageA, _source with { StartId = 2 }, Noon);
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            FolderStore after = Store(disk.CrashCopy(crashAt), seed: 4711);
            TimelineOwner.Take(
                after, ArchiveTestData.System, TimelineId.First, LineageA, _source with { StartId = 3 }, Noon)
                .RequireStillMine();
        }
    }

    /// <summary>Lets somebody else act just before a conditional create.</summary>
    private sealed class RacingStore(IArchiveStore inner, Action before) : IArchiveStore
    {
        public string Name => inner.Name;
        public string Place => inner.Place;
        public void CreateRoot() => inner.CreateRoot();
        public void Put(string name, ReadOnlyMemory<byte> content) => inner.Put(name, content);
        public void Put(string name, Stream content) => inner.Put(name, content);

        public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content)
        {
            before();
            return inner.TryPutIfAbsent(name, content);
        }

        public ReadOnlyMemory<byte> Get(string name) => inner.Get(name);
        public ReadOnlyMemory<byte>? TryGet(string name) => inner.TryGet(name);
        public Stream OpenRead(string name) => inner.OpenRead(name);
        public IReadOnlyList<string> List(string prefix) => inner.List(prefix);
        public void Delete(string name) => inner.Delete(name);
        public StoredObject? Stat(string name) => inner.Stat(name);
        public int RemoveStrays() => inner.RemoveStrays();
    }
}
