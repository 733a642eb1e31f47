using System.Buffers.Binary;
using System.IO.Hashing;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Files of a database folder with right checksums and wrong content.</summary>
public sealed class StorageFuzzTests
{
    private static readonly SystemIdentifier ThisSystem = new(0x1122334455667788);
    private static readonly DateTimeOffset Noon = new(2026, 11, 22, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_meta_page_with_any_content_is_read_or_is_none() => FuzzRun.Run(new FuzzTarget(
        "meta page", [MetaPageOf(6), MetaPageOf(7)],
        (page, _) =>
        {
            if (MetaPage.TryRead(page, PageLayout.Number(page), out string why) is not { } meta)
            {
                Assert.NotEmpty(why);
                return null;
            }
            var again = new byte[PageLayout.PageBytes];
            if (meta.FormatVersion <= MetaPage.FormatVersionNewest)
                meta.Write(again);
            return again;
        },
        static _ => false)
    {
        Mutate = static (page, chance) => chance.Percent(10)
            ? ByteMutator.Mutate(page, chance)
            : ByteMutator.MutateWithin(page, chance, PageLayout.KindAt, 200),
        Repair = RepairMeta,
        Rounds = 3_000,
    });

    [Fact]
    public void A_control_file_with_any_text_is_read_or_is_damage() => FuzzRun.Run(new FuzzTarget(
        "control file", [FullControl()],
        static (payload, _) => ControlFileStore.EncodePayload(ControlFileStore.DecodePayload("control", payload)),
        FuzzTarget.Told)
    {
        Mutate = JsonMutator.Mutate,
        Rounds = 1_000,
    });

    [Fact]
    public void A_control_file_with_any_bytes_is_read_or_is_damage() => FuzzRun.Run(new FuzzTarget(
        "control file frame", [Framed(FullControl())],
        static (bytes, _) => ControlFileStore.Encode(ControlFileStore.Decode("control", bytes)),
        FuzzTarget.Told)
    {
        Repair = static bytes =>
        {
            if (bytes.Length < 24)
                return bytes;
            BinaryPrimitives.WriteUInt64LittleEndian(
                bytes.AsSpan(bytes.Length - 8), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - 8)));
            return bytes;
        },
    });

    [Fact]
    public void A_chain_of_free_pages_with_any_content_is_read_or_is_damage()
    {
        var bits = new PageBits();
        for (uint page = 10; page < 5_000; page += 3)
            bits.Add(page);
        byte[] first = new byte[PageLayout.PageBytes];
        byte[] second = new byte[PageLayout.PageBytes];
        uint cursor = FreeChain.Fill(first, bits, 0, next: 3);
        FreeChain.Fill(second, bits, cursor, next: 0);
        PageChecksum.Stamp(first, 2, 9);
        PageChecksum.Stamp(second, 3, 9);
        MetaPage meta = MetaOf(9) with
        {
            PageCount = 6_000,
            FreeChain = 2,
            FreeChainGeneration = 9,
            FreeChainPages = 2,
            FreePages = (ulong)bits.Count,
        };
        FuzzRun.Run(new FuzzTarget(
            "free chain", [[.. first, .. second]],
            (pages, steps) =>
            {
                using var file = new CountedFile(steps, pages, at: 2);
                FreeChainContent content = FreeChain.Read(file, meta);
                var free = new FreePages(meta.PageCount);
                free.Load(content);
                free.Begin();
                _ = free.Take();
                foreach (uint old in free.Chain)
                    Assert.True(free.TryFree(old));
                _ = free.EndWithChain();
                return null;
            },
            FuzzTarget.Only<DamageException>())
        {
            Mutate = static (pages, chance) => ByteMutator.MutateWithin(
                pages, chance, chance.Percent(50) ? PageLayout.PageBytes : 0,
                chance.Percent(70) ? PageLayout.PageBytes + 64 : pages.Length),
            Repair = static pages =>
            {
                for (uint i = 0; i < 2; i++)
                    PageChecksum.Stamp(pages.AsSpan((int)i * PageLayout.PageBytes), 2 + i, 9);
                return pages;
            },
            StepsMax = 100,
            Rounds = 1_500,
        });
    }

    /// <summary>All at once, as an engine meets it: opened, read whole, checked, written to, flushed.</summary>
    [Fact]
    public void A_datafile_with_any_page_changed_serves_or_is_damage()
    {
        using DatafileOnDisk made = DatafileOnDisk.Create();
        made.PutMany(0, 400, valueBytes: 150);
        made.Put("large", new byte[40_000]);
        made.Flush();
        made.DeleteMany(100, 150);
        made.PutMany(400, 40, valueBytes: 150);
        made.Flush();
        made.CloseFile();
        SimulatedDisk disk = made.Disk;
        byte[] good = disk.ReadAll(DatafileOnDisk.Path);
        uint page = 0;
        FuzzRun.Run(new FuzzTarget(
            "datafile", [good],
            (bytes, steps) =>
            {
                UseDatafile(disk.KillCopy(), bytes, good, page, steps);
                return null;
            },
            FuzzTarget.Told)
        {
            Mutate = (bytes, chance) =>
            {
                page = (uint)chance.Next(bytes.Length / PageLayout.PageBytes);
                int from = (int)page * PageLayout.PageBytes;
                return ByteMutator.MutateWithin(bytes, chance, from + PageLayout.KindAt, from + (chance.Next(4) switch
                {
                    0 => PageLayout.HeaderBytes,
                    1 => 168,
                    2 => 1_200,
                    _ => PageLayout.PageBytes,
                }));
            },
            Repair = bytes =>
            {
                Span<byte> changed = bytes.AsSpan((int)page * PageLayout.PageBytes, PageLayout.PageBytes);
                ulong generation = page < MetaPage.Slots
                    ? BinaryPrimitives.ReadUInt64LittleEndian(changed[72..])
                    : PageLayout.Generation(changed);
                PageChecksum.Stamp(changed, page, generation);
                return bytes;
            },
            FreeBytes = 64 << 20,
            Rounds = 100,
        });
    }

    private static void UseDatafile(SimulatedDisk disk, byte[] bytes, byte[] good, uint page, FuzzSteps steps)
    {
        using (IFileHandle handle = disk.Open(DatafileOnDisk.Path, FileOpen.ReadWrite))
        {
            handle.Write(page * PageLayout.PageBytes, bytes.AsSpan((int)page * PageLayout.PageBytes, PageLayout.PageBytes));
            Assert.Equal(good.Length, handle.LengthBytes);
        }
        using var arenas = new ArenaPool(8 << 20);
        using var cache = new PageCache(PageCache.BudgetBytesMin, new EpochTable());
        var environment = new DatafileEnvironment(
            disk, cache, cache.Epochs, new PacedWriter(TimeProvider.System, static _ => { }), arenas);
        DatafileCheck.Run(environment, DatafileOnDisk.Path);
        using Datafile file = Datafile.Open(environment, DatafileOnDisk.Path, "main", DatafileOnDisk.Expected());
        using (environment.Epochs.Enter())
        {
            var cursor = new MergedCursor(file.View, Lsn.MaxValue);
            for (bool has = cursor.SeekFirst(); has; has = cursor.Next())
            {
                steps.Take();
                Assert.InRange(cursor.Key.Length, OperationCodec.TableIdBytes, KeySlots.KeyBytesMax);
                _ = cursor.Value.ToArray();
            }
        }
        Lsn lsn = file.CheckpointLsn;
        for (int i = 0; i < 400; i += 7)
        {
            lsn += 8;
            file.Apply(OperationKind.Put, DatafileOnDisk.KeyOf($"k{i:D5}"), [1, 2, 3], lsn);
        }
        file.Seal(lsn);
        FlushJob job = file.PrepareFlush(DatafileOnDisk.Lineage)!;
        job.WritePages();
        job.WriteMeta();
        file.CompleteFlush(job);
    }

    private static byte[] RepairMeta(byte[] page)
    {
        if (page.Length < PageLayout.PageBytes)
            return page;
        ulong generation = BinaryPrimitives.ReadUInt64LittleEndian(page.AsSpan(72));
        PageChecksum.Stamp(page, (uint)(generation % MetaPage.Slots), generation);
        return page;
    }

    private static MetaPage MetaOf(ulong generation) => new()
    {
        SystemId = ThisSystem,
        FileId = FileId.Main,
        Incarnation = new Incarnation(5),
        Generation = generation,
        CheckpointLsn = new Lsn(0x1000),
        Lineage = new Lineage(4),
        Root = new TreeRoot(7, 2, generation, 99),
        PageCount = 40,
        FreeChain = 9,
        FreeChainGeneration = generation,
        FreeChainPages = 1,
        FreePages = 3,
        RestoreStamp = new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    };

    private static byte[] MetaPageOf(ulong generation)
    {
        var page = new byte[PageLayout.PageBytes];
        MetaOf(generation).Write(page);
        return page;
    }

    private static byte[] FullControl() => ControlFileStore.EncodePayload(ControlFileTests.Full());

    private static byte[] Framed(byte[] payload) =>
        ControlFileStore.Encode(ControlFileStore.DecodePayload("control", payload));

    /// <summary>Bytes from a page on, and how often they are read.</summary>
    private sealed class CountedFile(FuzzSteps steps, byte[] pages, uint at) : IFileHandle
    {
        public string Path => "counted";

        public long LengthBytes => at * PageLayout.PageBytes + pages.Length;

        public uint Links => 1;

        public int Read(long offset, Span<byte> buffer)
        {
            steps.Take();
            long from = offset - at * PageLayout.PageBytes;
            if (from < 0 || from >= pages.Length)
                return 0;
            int length = (int)Math.Min(buffer.Length, pages.Length - from);
            pages.AsSpan((int)from, length).CopyTo(buffer);
            return length;
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => throw new NotSupportedException();

        public void SyncData() => throw new NotSupportedException();

        public void StartWriteback(long offset, long lengthBytes) => throw new NotSupportedException();

        public void AwaitWriteback(long offset, long lengthBytes) => throw new NotSupportedException();

        public void StartRead(long offset, long lengthBytes)
        {
        }

        public void SetLength(long lengthBytes) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }
}
