using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>What every store keeps, whatever its kind (the header of <see cref="IArchiveStore"/>).</summary>
public sealed class ArchiveStoreContractTests
{
    public static TheoryData<string> Kinds => [.. StoreUnderTest.Kinds];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void What_was_put_is_there_for_everybody_and_replaces_what_was(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        store.Put("wal/a", Bytes(3, 1));
        store.Put("wal/a", Bytes(5, 2));
        foreach (IArchiveStore hand in new[] { store, test.Open() })
        {
            Assert.Equal(Bytes(5, 2), hand.Get("wal/a").ToArray());
            Assert.Equal(Bytes(5, 2), hand.TryGet("wal/a")!.Value.ToArray());
            Assert.Equal(new StoredObject("wal/a", 5), hand.Stat("wal/a"));
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void An_object_may_be_empty(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        store.Put("a", ReadOnlyMemory<byte>.Empty);
        store.Put("b", new MemoryStream());
        Assert.True(store.TryPutIfAbsent("c", ReadOnlyMemory<byte>.Empty));
        foreach (string name in new[] { "a", "b", "c" })
        {
            Assert.Equal(0, store.Get(name).Length);
            Assert.Equal(0, store.Stat(name)!.LengthBytes);
            using Stream content = store.OpenRead(name);
            Assert.Equal(-1, content.ReadByte());
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_stream_of_any_length_gives_the_same_object(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        foreach (int length in new[] { 1, 4096, (1 << 20) + 1, (17 << 20) + 5 })
        {
            byte[] content = new byte[length];
            new Random(length).NextBytes(content);
            store.Put("sets/x/big", Bytes(3, 1));
            store.Put("sets/x/big", new TricklingStream(content));
            Assert.Equal(length, store.Stat("sets/x/big")!.LengthBytes);
            using Stream there = store.OpenRead("sets/x/big");
            var copy = new MemoryStream();
            there.CopyTo(copy, 10_000);
            Assert.True(content.AsSpan().SequenceEqual(copy.ToArray()), $"{length} bytes");
            Assert.True(content.AsSpan().SequenceEqual(store.Get("sets/x/big").Span), $"{length} bytes");
        }
    }

    /// <summary>S1: a copy that ends in an error, such as a broken fence, leaves what was there.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_stream_that_fails_on_its_way_changes_nothing(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        store.Put("old", Bytes(3, 1));
        foreach (int after in new[] { 0, 100, 12 << 20 })
        {
            Assert.Throws<OperationCanceledException>(() => store.Put("new", new TricklingStream(new byte[after], fails: true)));
            Assert.Throws<OperationCanceledException>(() => store.Put("old", new TricklingStream(new byte[after], fails: true)));
            Assert.Null(store.Stat("new"));
            Assert.Equal(["old"], store.List(""));
            Assert.Equal(Bytes(3, 1), store.Get("old").ToArray());
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_taken_name_keeps_its_content(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        Assert.True(store.TryPutIfAbsent("a", Bytes(3, 1)));
        Assert.False(store.TryPutIfAbsent("a", Bytes(3, 2)));
        Assert.False(test.Open().TryPutIfAbsent("a", Bytes(3, 3)));
        store.Put("b", Bytes(3, 4));
        Assert.False(store.TryPutIfAbsent("b", Bytes(3, 5)));
        Assert.Equal(Bytes(3, 1), store.Get("a").ToArray());
        Assert.Equal(Bytes(3, 4), store.Get("b").ToArray());
        store.Delete("a");
        Assert.True(store.TryPutIfAbsent("a", Bytes(3, 6)));
    }

    /// <summary>H27, S3: of several who want a name at once exactly one gets it, and its content stands.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Of_several_who_create_a_name_at_once_one_succeeds(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        for (int round = 0; round < 5; round++)
        {
            string name = $"history/{round}";
            using var start = new Barrier(4);
            bool[] created = await Task.WhenAll(Enumerable.Range(0, 4).Select(hand => Task.Factory.StartNew(
                () =>
                {
                    IArchiveStore store = test.Open();
                    start.SignalAndWait();
                    return store.TryPutIfAbsent(name, Bytes(100, (byte)hand));
                },
                TaskCreationOptions.LongRunning)));
            Assert.Single(created, won => won);
            Assert.Equal(Bytes(100, (byte)Array.IndexOf(created, true)), test.Open().Get(name).ToArray());
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Missing_objects_are_not_there_and_deleting_them_is_nothing(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        Assert.Null(store.TryGet("no/such"));
        Assert.Null(store.Stat("no/such"));
        store.Delete("no/such");
        Assert.Equal(
            ErrorCode.ArchiveObjectUnknown, Assert.Throws<NotFoundException>(() => store.Get("no/such")).Code);
        Assert.Equal(
            ErrorCode.ArchiveObjectUnknown, Assert.Throws<NotFoundException>(() => store.OpenRead("no/such")).Code);
        Assert.Empty(store.List("no/"));
        Assert.Empty(store.List(""));
        store.Put("gone", Bytes(1, 1));
        store.Delete("gone");
        Assert.Null(store.TryGet("gone"));
        Assert.Empty(store.List(""));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Listing_gives_every_depth_in_ordinal_order(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        foreach (string name in new[] { "b/2", "b/1", "b/10/x", "a", "c", "b-2", "B" })
            store.Put(name, Bytes(1, 1));
        Assert.Equal(["B", "a", "b-2", "b/1", "b/10/x", "b/2", "c"], store.List(""));
        Assert.Equal(["b/1", "b/10/x", "b/2"], store.List("b/"));
        Assert.Equal(["b/1", "b/10/x"], store.List("b/1"));
        Assert.Empty(store.List("d"));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_name_that_could_leave_the_store_is_refused(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        foreach (string name in new[] { "../x", "a/../b", "a//b", "a/", "a/.tmp-1", "a b", "a\0b", "a?b", "a%2e" })
        {
            Assert.Throws<BugException>(() => store.Put(name, Bytes(1, 1)));
            Assert.Throws<BugException>(() => store.Put(name, new MemoryStream()));
            Assert.Throws<BugException>(() => store.TryPutIfAbsent(name, Bytes(1, 1)));
            Assert.Throws<BugException>(() => store.TryGet(name));
            Assert.Throws<BugException>(() => store.OpenRead(name));
            Assert.Throws<BugException>(() => store.Stat(name));
            Assert.Throws<BugException>(() => store.Delete(name));
        }
        Assert.Empty(store.List(""));
    }

    /// <summary>H25, H36, H39: a whole segment and parts of the next are pushed, found equal, joined and read.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void Segments_and_parts_are_pushed_found_equal_and_read_back(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        Assert.Equal(PushOutcome.Pushed, ArchivePush.Push(store, Whole(1)));
        Assert.Equal(PushOutcome.AlreadyThere, ArchivePush.Push(test.Open(), Whole(1)));
        Assert.Equal(
            ErrorCode.ArchiveConflict,
            Assert.Throws<RefusedException>(() => ArchivePush.Push(store, Whole(1, recordCount: 3))).Code);
        ArchivePush.Push(store, Part(2, 0, 128));
        ArchivePush.Push(store, Part(2, 128, 512));
        ArchivePush.Push(store, Whole(2));
        Assert.Equal(2, ArchivePush.DeleteParts(store, Whole(2)));
        ArchiveCatalog catalog = ArchiveCatalog.Load(test.Open());
        Assert.Equal([1ul, 2ul], catalog.Wholes(TimelineId.First));
        Assert.Empty(catalog.Parts(TimelineId.First, 2));
    }

    /// <summary>H26, H27: identity, claim and owner objects, as two databases meet in one store.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_timeline_is_claimed_and_owned_by_one(string kind)
    {
        using StoreUnderTest test = StoreUnderTest.Of(kind);
        IArchiveStore store = test.Open();
        store.CreateRoot();
        ulong next = 1;
        ArchiveIdentity.SetUp(store, ArchiveTestData.System, () => next++, Noon);
        Assert.Equal(ClaimOutcome.Claimed, TimelineClaim.Claim(store, First));
        Assert.Equal(ClaimOutcome.MineAlready, TimelineClaim.Claim(test.Open(), First));
        var here = new EngineStart(1, "m", "boot", "/db", 8, 5);
        TimelineOwner owner = TimelineOwner.Take(
            store, ArchiveTestData.System, TimelineId.First, LineageA, here, Noon);
        Assert.Throws<RefusedException>(() => TimelineOwner.Take(
            test.Open(), ArchiveTestData.System, TimelineId.First, LineageA, here with { Machine = "other" }, Noon));
        owner.RequireStillMine();
        owner.Release(Noon);
        Assert.Equal(0, store.RemoveStrays());
    }

    /// <summary>Gives its bytes in small pieces, and then ends or fails.</summary>
    private sealed class TricklingStream(byte[] content, bool fails = false) : Stream
    {
        private int _at;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => _at; set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            int piece = Math.Min(Math.Min(buffer.Length, 70_001), content.Length - _at);
            if (piece == 0 && fails)
                throw new OperationCanceledException("The copy is void.");
            content.AsSpan(_at, piece).CopyTo(buffer);
            _at += piece;
            return piece;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
