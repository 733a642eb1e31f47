using Pitr.Simulation;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>Which branch owned which LSN, and who may have a timeline's number.</summary>
public sealed class TimelineHistoryTests
{
    private static Lineage LineageC => new(0xC);

    private static TimelineHistory Second(ulong fork = 10_000, ulong lineage = 0xB, uint timeline = 2) => First.Fork(
        new TimelineId(timeline), new Lineage(lineage), new Lsn(fork),
        new Lsn((fork / (ulong)Payload + 1) * (ulong)Payload),
        "recovered", Noon);

    [Fact]
    public void A_history_comes_back_from_its_object()
    {
        TimelineHistory history = Second();
        TimelineHistory back = TimelineHistory.Decode("s", "history/00000002.json", history.Encode().Span);
        Assert.Equal(history.Path, back.Path);
        Assert.Equal(history.System, back.System);
    }

    /// <summary>H14, H33: a position is on the path only at or below each fork that comes after its lineage.</summary>
    [Fact]
    public void A_position_beyond_a_fork_is_not_on_the_path()
    {
        TimelineHistory history = Second(fork: 10_000);
        Assert.True(history.PathContains(LineageA, new Lsn(10_000)));
        Assert.False(history.PathContains(LineageA, new Lsn(10_008)));
        Assert.True(history.PathContains(LineageB, new Lsn(1_000_000)));
        Assert.False(history.PathContains(LineageC, new Lsn(8)));
        Assert.True(First.PathContains(LineageA, new Lsn(10_008)));
    }

    /// <summary>H33: two restores of one set that both call themselves timeline 2 are told apart.</summary>
    [Fact]
    public void Two_branches_with_one_number_do_not_contain_each_others_positions()
    {
        TimelineHistory one = Second(), other = Second(lineage: 0xC);
        Assert.False(one.PathContains(new Position(other.Last.Lineage, new Lsn(20_000))));
        Assert.False(one.IsSameBranch(other));
        Assert.Equal((LineageA, new Lsn(10_000)),
            (one.CommonWith(other)!.Value.Entry.Lineage, one.CommonWith(other)!.Value.Lsn));
    }

    [Fact]
    public void A_fork_below_the_last_timeline_start_forks_from_its_ancestor()
    {
        TimelineHistory third = Second(fork: 10_000)
            .Fork(new TimelineId(3), LineageC, new Lsn(9_000), new Lsn(3 * Payload), "again", Noon);
        Assert.Equal([TimelineId.First, new TimelineId(3)], third.Path.Select(entry => entry.Timeline));
        Assert.True(third.PathContains(LineageA, new Lsn(9_000)));
        Assert.False(third.PathContains(LineageA, new Lsn(9_008)));
        Assert.False(third.PathContains(LineageB, new Lsn(8)));
    }

    [Fact]
    public void The_owner_of_an_LSN_is_the_last_timeline_that_began_at_or_before_it()
    {
        TimelineHistory history = Second(fork: 10_000);
        Assert.Equal(1u, history.OwnerOf(new Lsn(3 * Payload - 8)).Timeline.Value);
        Assert.Equal(2u, history.OwnerOf(new Lsn(3 * Payload)).Timeline.Value);
    }

    [Fact]
    public void A_changed_cut_or_swapped_history_is_damage()
    {
        byte[] bytes = Second().Encode().ToArray();
        for (int at = 0; at < bytes.Length; at += 3)
        {
            byte[] flipped = [.. bytes];
            flipped[at] ^= 4;
            Assert.Throws<DamageException>(() => TimelineHistory.Decode("s", "history/00000002.json", flipped));
            Assert.Throws<DamageException>(() =>
                TimelineHistory.Decode("s", "history/00000002.json", bytes.AsSpan(0, at)));
        }
        Assert.Throws<DamageException>(() => TimelineHistory.Decode("s", "history/00000003.json", bytes));
    }

    /// <summary>H27: of two branches that claim one number, exactly one has it.</summary>
    [Fact]
    public void A_number_is_claimed_once()
    {
        (_, FolderStore store) = NewStore();
        Assert.Equal(ClaimOutcome.Claimed, TimelineClaim.Claim(store, Second()));
        Assert.Equal(ClaimOutcome.Taken, TimelineClaim.Claim(store, Second(lineage: 0xC)));
        Assert.Equal(new TimelineId(3), TimelineClaim.NextFree([store], TimelineId.First));
    }

    /// <summary>H28: a number whose history is lost is not taken again while WAL under it is there.</summary>
    [Fact]
    public void The_number_of_a_branch_whose_history_is_lost_is_not_free()
    {
        (_, FolderStore store) = NewStore();
        TimelineClaim.Claim(store, Second());
        store.Put(ObjectName.Segment(new TimelineId(4), 7), "WAL"u8.ToArray());
        Assert.Equal(new TimelineId(5), TimelineClaim.NextFree([store], TimelineId.First));
        store.Put(ObjectName.Part(new TimelineId(5), 7, new Lsn(8), new Lsn(16)), "WAL"u8.ToArray());
        Assert.Equal(new TimelineId(6), TimelineClaim.NextFree([store], TimelineId.First));
    }

    /// <summary>
    /// H32: after a crash the same promotion finds its claim; one with another fork does not take it for its own.
    /// </summary>
    [Fact]
    public void A_claim_is_mine_already_only_if_lineage_parent_fork_and_start_are_equal()
    {
        (_, FolderStore store) = NewStore();
        TimelineClaim.Claim(store, Second());
        TimelineHistory later = First.Fork(
            new TimelineId(2), LineageB, new Lsn(10_000), new Lsn(3 * Payload), "another word", Noon.AddDays(1));
        Assert.Equal(ClaimOutcome.MineAlready, TimelineClaim.Claim(store, later));
        Assert.Equal(ClaimOutcome.Taken, TimelineClaim.Claim(store, Second(fork: 10_008)));
    }

    /// <summary>H27: a crash at any step of a claim leaves the number free or claimed by the whole history.</summary>
    [Fact]
    public void A_claim_that_dies_leaves_no_stuck_number()
    {
        for (long crashAt = 1; ; crashAt++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            disk.CrashAt(disk.OperationCount + crashAt);
            bool ended = false;
            try
            {
                ended = TimelineClaim.Claim(store, Second()) == ClaimOutcome.Claimed;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            for (int seed = 0; seed < 12; seed++)
                Assert.NotEqual(
                    ClaimOutcome.Taken, TimelineClaim.Claim(Store(disk.CrashCopy(seed), seed: 4711), Second()));
            if (ended)
                return;
        }
    }

    /// <summary>H27: a store that ignores the condition is found when it is set up.</summary>
    [Fact]
    public void A_store_without_conditional_creates_is_refused_when_it_is_set_up()
    {
        (_, FolderStore store) = NewStore();
        var overwriting = new OverwritingStore(store);
        Assert.Equal(ErrorCode.StoreWithoutClaims,
            Assert.Throws<RefusedException>(() =>
                ArchiveIdentity.SetUp(overwriting, ArchiveTestData.System, () => 7, Noon)).Code);
        Assert.Empty(store.List(""));
    }

    /// <summary>H27: what counts is what is read back, not what the store says of the create.</summary>
    [Fact]
    public void A_claim_that_another_one_has_written_over_is_not_mine()
    {
        (_, FolderStore store) = NewStore();
        var raced = new OverwritingStore(store) { Then = name => store.Put(name, Second(lineage: 0xC).Encode()) };
        Assert.Equal(ClaimOutcome.Taken, TimelineClaim.Claim(raced, Second()));
    }

    [Fact]
    public void A_store_belongs_to_one_database_and_an_empty_mount_point_to_none()
    {
        (_, FolderStore store) = NewStore();
        Assert.Equal(ErrorCode.StoreFailed,
            Assert.Throws<StorageFailedException>(() => ArchiveIdentity.Check(store, ArchiveTestData.System)).Code);
        ulong next = 1;
        ArchiveIdentity made = ArchiveIdentity.SetUp(store, ArchiveTestData.System, () => next++, Noon);
        Assert.Equal(made, ArchiveIdentity.SetUp(store, ArchiveTestData.System, () => next++, Noon.AddDays(1)));
        Assert.Equal(ErrorCode.ForeignSystem,
            Assert.Throws<RefusedException>(() =>
                ArchiveIdentity.SetUp(store, new SystemIdentifier(9), () => next++, Noon)).Code);
        Assert.Equal([ObjectName.Identity], store.List(""));
    }

    private sealed class OverwritingStore(IArchiveStore inner) : IArchiveStore
    {
        /// <summary>What somebody else does right after a create.</summary>
        public Action<string>? Then { get; init; }

        public string Name => inner.Name;
        public string Place => inner.Place;
        public void CreateRoot() => inner.CreateRoot();
        public void Put(string name, ReadOnlyMemory<byte> content) => inner.Put(name, content);
        public void Put(string name, Stream content) => inner.Put(name, content);

        public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content)
        {
            inner.Put(name, content);
            Then?.Invoke(name);
            return true;
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
