using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What lies in an archive store, with right digests and wrong content.</summary>
public sealed class ArchiveFuzzTests
{
    private const string OwnerName = "owner/00000001-0000000000000001.json";

    [Fact]
    public void An_archived_segment_with_any_content_is_read_or_is_damage()
    {
        ArchivedSegment whole = ArchiveTestData.Whole(5);
        ArchivedSegment part = ArchiveTestData.Part(5, 128, 1_280);
        FuzzRun.Run(new FuzzTarget(
            "archived segment", [whole.Encode().ToArray(), part.Encode().ToArray()],
            (bytes, _) =>
            {
                string name = bytes.Length > 10 && bytes[10] == 2 ? part.Name : whole.Name;
                ArchivedSegment decoded = ArchivedSegment.Decode("store", name, bytes);
                Assert.Equal(decoded.To - decoded.From, decoded.Stream.Length);
                return null; // compression may give other bytes (A1)
            },
            FuzzTarget.Told)
        {
            Mutate = static (bytes, chance) => chance.Percent(40)
                ? ByteMutator.Mutate(bytes, chance)
                : ByteMutator.MutateWithin(bytes, chance, 8, ArchivedSegment.HeaderBytes + 24),
            Repair = RepairSegment,
            FreeBytes = 2 << 20,
            Rounds = 3_000,
        });
    }

    [Fact]
    public void A_key_index_with_any_content_is_used_or_is_none()
    {
        var table = new NamedTable(new TableId(7), new FileId(1), "orders");
        ulong[] entries = [.. Enumerable.Range(0, 100).Select(n =>
            KeyIndex.Entry.OfKey(KeyIndex.Entry.Touched, table.Id, Encoding.ASCII.GetBytes($"key-{n}")))];
        byte[] good = KeyIndex.Of(ArchiveTestData.Identity(5), 1_000, entries, [table]).Encode();
        FuzzRun.Run(new FuzzTarget(
            "key index", [good],
            (bytes, _) =>
            {
                if (KeyIndex.TryDecode(bytes) is not { } index)
                    return null;
                Assert.True(index.MayTouch(table, "key-5"u8) | index.MayDelete(table, "x"u8) | true);
                Assert.All(index.Tables, named => Assert.NotNull(named.Name));
                return index.Encode();
            },
            static _ => false)
        {
            Mutate = static (bytes, chance) => chance.Percent(40)
                ? ByteMutator.Mutate(bytes, chance)
                : ByteMutator.MutateWithin(bytes, chance, 8, KeyIndex.HeaderBytes),
            Repair = static bytes =>
            {
                if (bytes.Length >= 16)
                {
                    "PITRKEYS"u8.CopyTo(bytes);
                    BinaryPrimitives.WriteUInt64LittleEndian(
                        bytes.AsSpan(bytes.Length - 8), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - 8)));
                }
                return bytes;
            },
        });
    }

    [Fact]
    public void A_history_with_any_text_is_read_or_is_damage()
    {
        TimelineHistory history = ArchiveTestData.First.Fork(
            new TimelineId(2), ArchiveTestData.LineageB, new Lsn(0x2000), new Lsn(0x3000), "to 14:05",
            ArchiveTestData.Noon);
        string name = ObjectName.History(history.Last.Timeline);
        FuzzRun.Run(Sealed("history", history.Encode(), bytes =>
        {
            TimelineHistory decoded = TimelineHistory.Decode("store", name, bytes);
            Assert.All(decoded.Path, entry => Assert.NotNull(entry.Reason));
            _ = decoded.CommonWith(history);
            _ = decoded.OwnerOf(new Lsn(0x2800));
            return decoded.Encode().ToArray();
        }));
    }

    [Fact]
    public void An_owner_object_with_any_text_is_read_or_is_damage()
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders("/store");
        FolderStore store = ArchiveTestData.Store(disk);
        TimelineOwner.Take(
            store, ArchiveTestData.System, TimelineId.First, ArchiveTestData.LineageA,
            new EngineStart(5, "machine", "boot", "/db", 8, 77), ArchiveTestData.Noon).Release(ArchiveTestData.Noon);
        ReadOnlyMemory<byte> good = store.Get(OwnerName);
        var one = new OneObject(OwnerName);
        FuzzRun.Run(Sealed("owner", good, bytes =>
        {
            one.Content = bytes;
            OwnerState owner = TimelineOwner.Read(one, TimelineId.First)!;
            Assert.NotNull(owner.Start.Machine);
            Assert.NotNull(owner.Start.Folder);
            return null;
        }));
    }

    [Fact]
    public void An_identity_with_any_text_is_read_or_is_damage()
    {
        (_, FolderStore store) = ArchiveTestData.NewStore();
        ArchiveIdentity.SetUp(store, ArchiveTestData.System, static () => 7, ArchiveTestData.Noon);
        ReadOnlyMemory<byte> good = store.Get(ObjectName.Identity);
        var one = new OneObject(ObjectName.Identity);
        FuzzRun.Run(Sealed("identity", good, bytes =>
        {
            one.Content = bytes;
            _ = ArchiveIdentity.Read(one);
            return null;
        }));
    }

    [Fact]
    public void A_name_of_an_object_is_of_one_kind_at_the_most() => FuzzRun.Run(new FuzzTarget(
        "object name",
        [
            .. new[]
            {
                ArchiveTestData.Whole(5).Name, ArchiveTestData.Part(5, 128, 1_280).Name,
                ObjectName.History(new TimelineId(7)), OwnerName,
            }.Select(Encoding.UTF8.GetBytes),
        ],
        static (bytes, steps) =>
        {
            string name = Encoding.UTF8.GetString(bytes);
            steps.Take(ObjectName.IsValid(name) ? 1 : 0);
            string? again = null;
            if (ObjectName.TryParseSegment(name, out TimelineId timeline, out ulong number))
                again = ObjectName.Segment(timeline, number);
            if (ObjectName.TryParsePart(name, out timeline, out number, out Lsn from, out Lsn to))
                again = ObjectName.Part(timeline, number, from, to);
            if (ObjectName.TryParseHistory(name, out timeline))
                again = ObjectName.History(timeline);
            if (ObjectName.TryParseOwner(name, out timeline, out ulong take))
                again = ObjectName.Owner(timeline, take);
            Assert.True(again is null || again == name, $"'{name}' reads as '{again}'");
            return again is null ? null : Encoding.UTF8.GetBytes(again);
        },
        static _ => false)
    {
        Rounds = 3_000,
    });

    private static FuzzTarget Sealed(string name, ReadOnlyMemory<byte> good, Func<byte[], byte[]?> decode) => new(
        name, [good.ToArray()], (bytes, _) => decode(bytes), FuzzTarget.Told)
    {
        Mutate = static (bytes, chance) => chance.Percent(10)
            ? ByteMutator.Mutate(bytes, chance)
            : SealedText.Seal(JsonMutator.Mutate(SealedText.Open("", "", bytes).ToArray(), chance)).ToArray(),
        Rounds = 800,
    };

    private static byte[] RepairSegment(byte[] bytes)
    {
        if (bytes.Length < ArchivedSegment.HeaderBytes)
            return bytes;
        "PITRSEGA"u8.CopyTo(bytes);
        Span<byte> header = bytes.AsSpan(0, ArchivedSegment.HeaderBytes);
        BinaryPrimitives.WriteInt64LittleEndian(header[72..], bytes.Length - ArchivedSegment.HeaderBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(
            header[144..], XxHash3.HashToUInt64(bytes.AsSpan(ArchivedSegment.HeaderBytes)));
        BinaryPrimitives.WriteUInt64LittleEndian(header[152..], XxHash3.HashToUInt64(header[..152]));
        return bytes;
    }

    /// <summary>A store with one object, which is what the test says.</summary>
    private sealed class OneObject(string name) : IArchiveStore
    {
        public byte[] Content { get; set; } = [];

        public string Name => "store";

        public string Place => "store";

        public void CreateRoot() => throw new NotSupportedException();

        public ReadOnlyMemory<byte> Get(string wanted) =>
            TryGet(wanted) ?? throw new InvalidOperationException($"There is no '{wanted}' here.");

        public ReadOnlyMemory<byte>? TryGet(string wanted) => wanted == name ? Content : null;

        public IReadOnlyList<string> List(string prefix) =>
            name.StartsWith(prefix, StringComparison.Ordinal) ? [name] : [];

        public StoredObject? Stat(string wanted) =>
            wanted == name ? new StoredObject(name, Content.Length) : null;

        public Stream OpenRead(string wanted) => throw new NotSupportedException();

        public void Put(string wanted, ReadOnlyMemory<byte> content) => throw new NotSupportedException();

        public void Put(string wanted, Stream content) => throw new NotSupportedException();

        public bool TryPutIfAbsent(string wanted, ReadOnlyMemory<byte> content) => throw new NotSupportedException();

        public void Delete(string wanted) => throw new NotSupportedException();

        public int RemoveStrays() => 0;
    }
}
