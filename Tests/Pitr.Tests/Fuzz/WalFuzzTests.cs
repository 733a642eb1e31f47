using System.Buffers.Binary;
using System.Text;
using Pitr.Cli;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>The WAL with right checksums and wrong content: records, events, headers, whole folders.</summary>
public sealed class WalFuzzTests
{
    private static readonly WalGeometry Geometry = new(TestLog.SegmentBytes);

    /// <summary>Every record with its CRC made right, so that what is wrong reaches whoever uses it.</summary>
    [Fact]
    public void A_record_with_any_content_is_read_or_is_damage() => FuzzRun.Run(new FuzzTarget(
        "WAL records", [Stream()], ReadRecords, FuzzTarget.Told)
    {
        Mutate = static (stream, chance) => chance.Percent(40)
            ? ByteMutator.MutateWithin(stream, chance, 0, stream.Length)
            : MutateRecord(stream, chance),
        Repair = RepairRecords,
        FreeBytes = 4 << 20,
        Rounds = 800,
    });

    /// <summary>The same as bytes: the reader finds the end, a torn tail or damage, and reads nothing twice.</summary>
    [Fact]
    public void A_stream_of_any_bytes_has_an_end() => FuzzRun.Run(new FuzzTarget(
        "WAL stream", [Stream()],
        static (stream, steps) =>
        {
            using var reader = new WalReader(
                new CountedBytes(new MemoryWalBytes(Geometry.FirstLsn, stream), steps),
                WalRange.OfTimeline(TestLog.First.Lineage, Geometry.FirstLsn, Lsn.Zero));
            Lsn before = Geometry.FirstLsn;
            while (reader.MoveNext())
            {
                Assert.Equal(before, reader.Current.StartLsn);
                before = reader.Current.Lsn;
            }
            Assert.Equal(before, reader.Next);
            Assert.NotNull(reader.End);
            return null;
        },
        static _ => false)
    {
        StepsMax = 100,
        Rounds = 2_000,
    });

    [Fact]
    public void An_event_with_any_text_is_read_or_is_damage()
    {
        foreach (WalEvent what in Events())
        {
            byte[] encoded = WalEventCodec.Encode(what)[RecordCodec.HeaderBytes..];
            byte[] json = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(encoded).TrimEnd('\0'));
            FuzzRun.Run(new FuzzTarget(
                $"event {what.Kind}", [json.Length == 0 ? "{}"u8.ToArray() : json],
                (text, _) =>
                {
                    UseEvent(new WalRecord(RecordOf(what.Kind, text)));
                    return null;
                },
                FuzzTarget.Told)
            {
                Mutate = JsonMutator.Mutate,
                Rounds = 150,
            });
        }
    }

    [Fact]
    public void The_operations_of_any_body_are_read_or_are_malformed() => FuzzRun.Run(new FuzzTarget(
        "operations", [Operations(9)],
        static (body, steps) =>
        {
            var reader = new OperationReader(body, 9);
            var again = new MemoryStream();
            while (reader.MoveNext())
            {
                steps.Take();
                Assert.InRange(reader.Key.Length, OperationCodec.TableIdBytes, KeySlots.KeyBytesMax);
                Assert.InRange(reader.Value.Length, 0, Limits.ValueBytesMax);
                var to = new byte[OperationCodec.HeaderBytes + reader.Key.Length + reader.Value.Length];
                OperationCodec.Write(
                    to, reader.Kind, reader.File, reader.Table, reader.Key[OperationCodec.TableIdBytes..], reader.Value);
                again.Write(to);
            }
            return again.ToArray();
        },
        static _ => false)
    {
        Rounds = 3_000,
        StepsMax = 9,
    });

    [Fact]
    public void The_header_of_a_segment_with_any_content_is_read_or_is_damage() => FuzzRun.Run(new FuzzTarget(
        "segment header", [HeaderBytes(1), HeaderBytes(77)],
        static (bytes, _) =>
        {
            SegmentHeader header = SegmentHeader.Read(bytes, "segment");
            var geometry = new WalGeometry(header.SegmentBytes); // what every reader makes of it
            Assert.Equal(geometry.StartOf(header.Name.Number), header.Start);
            var again = new byte[SegmentHeader.Bytes];
            header.Write(again);
            return again;
        },
        FuzzTarget.Told)
    {
        Mutate = static (bytes, chance) => chance.Percent(15)
            ? ByteMutator.Mutate(bytes, chance)
            : ByteMutator.MutateWithin(bytes, chance, 0, 72),
        Repair = RepairHeader,
        Rounds = 3_000,
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_folder_with_any_segment_changed_is_opened_or_refused(bool hasRightChecksums)
    {
        using TestLog log = TestLog.Create();
        log.Group(200, 1_000, 64);
        log.Group(3_000, 3_000);
        log.Group(120, 120, 120, 120);
        (string path, _) = log.Place(Geometry.FirstLsn);
        byte[] first = log.Disk.ReadAll(path);
        FuzzRun.Run(new FuzzTarget(
            $"WAL folder {hasRightChecksums}", [first],
            (bytes, steps) =>
            {
                OpenFolder(log.Disk.KillCopy(), path, bytes, steps);
                return null;
            },
            static failure => FuzzTarget.Told(failure) || failure is StorageFailedException { Code: ErrorCode.WalFailed })
        {
            Mutate = static (bytes, chance) => ByteMutator.MutateWithin(
                bytes, chance, chance.Percent(80) ? SegmentHeader.Bytes : 0, bytes.Length),
            Repair = hasRightChecksums
                ? static bytes =>
                    [.. RepairHeader(bytes[..SegmentHeader.Bytes]), .. RepairRecords(bytes[SegmentHeader.Bytes..])]
                : null,
            FreeBytes = 16 << 20,
            StepsMax = 20_000,
            Rounds = 150,
        });
    }

    [Fact]
    public void The_times_of_any_stretch_are_found() => FuzzRun.Run(new FuzzTarget(
        "segment times", [Stream()],
        static (stream, _) =>
        {
            SegmentTimes times = SegmentTimes.Scan(stream, Geometry.FirstLsn, default);
            Assert.NotNull(SegmentTimes.Join(times, times));
            return null;
        },
        static _ => false));

    [Fact]
    public void A_name_of_a_segment_reads_back_as_it_is_written() => FuzzRun.Run(new FuzzTarget(
        "segment name", [Encoding.UTF8.GetBytes(new SegmentName(new TimelineId(3), 0xAB).ToString())],
        static (bytes, _) => SegmentName.TryParse(Encoding.UTF8.GetString(bytes), out SegmentName name)
            ? Encoding.UTF8.GetBytes(name.ToString())
            : null,
        static _ => false));

    internal static WalEvent[] Events() =>
    [
        new WalEvent.Heartbeat(),
        new WalEvent.Checkpoint(
            new Lsn(0x4000), new Lsn(0x8000),
            Encoding.UTF8.GetString(ControlFileStore.EncodePayload(ControlFileTests.Full()))),
        new WalEvent.RestorePoint("before_release"),
        new WalEvent.BackupEnd("00000000000000AB", new Lsn(0x4000)),
        new WalEvent.CreateDatafile(new FileId(2), "orders", "orders.pitr", new Incarnation(0xFEDCBA9876543210)),
        new WalEvent.DropDatafile(new FileId(2), "orders"),
        new WalEvent.CreateTable(new TableId(7), new FileId(1), "lines"),
        new WalEvent.DropTable(new TableId(7), new FileId(1), "lines"),
        new WalEvent.MoveDatafile(new FileId(2), "/a/ä.pitr", "/b/o.pitr"),
        new WalEvent.TimelineStart(
            new TimelineId(2), new Lineage(9), new TimelineId(1), new Lineage(8), new Lsn(8), new Lsn(4096), "to 14:05"),
        new WalEvent.Shutdown(),
    ];

    private static byte[] Operations(int count)
    {
        var body = new MemoryStream();
        for (int i = 0; i < count; i++)
        {
            byte[] key = Encoding.ASCII.GetBytes($"key {i}");
            byte[] value = new byte[i % 3 == 2 ? 0 : i * 5];
            var to = new byte[OperationCodec.SizeOf(key.Length, value.Length)];
            OperationCodec.Write(
                to, i % 3 == 2 ? OperationKind.Delete : OperationKind.Put, FileId.Main, new TableId(1), key, value);
            body.Write(to);
        }
        return body.ToArray();
    }

    // Transactions and one event of each kind, without headers.
    private static byte[] Stream()
    {
        var stream = new MemoryStream();
        void Add(WalRecordKind kind, byte[] body)
        {
            var record = new byte[RecordCodec.LengthOf(body.Length)];
            body.CopyTo(record, RecordCodec.HeaderBytes);
            BinaryPrimitives.WriteInt32LittleEndian(record, record.Length);
            record[RecordCodec.KindAt] = (byte)kind;
            ulong place = Geometry.FirstLsn.Value + (ulong)stream.Length;
            BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(RecordCodec.StartLsnAt), place);
            BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(RecordCodec.GroupStartAt), place);
            BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(RecordCodec.TransactionIdAt), place);
            long ticks = new DateTime(2026, 11, 22, 12, 0, 0, DateTimeKind.Utc).Ticks + stream.Length;
            BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(RecordCodec.CommitTimeAt), ticks);
            BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(RecordCodec.RawClockAt), ticks);
            BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(RecordCodec.OperationCountAt), 9);
            stream.Write(record);
        }
        foreach (WalEvent what in Events())
        {
            Add(WalRecordKind.Transaction, Operations(9));
            Add(what.Kind, WalEventCodec.Encode(what)[RecordCodec.HeaderBytes..]);
        }
        return RepairRecords(stream.ToArray());
    }

    // Most of what matters lies in the headers: choose one.
    private static byte[] MutateRecord(byte[] stream, FuzzChance chance)
    {
        int at = 0;
        for (int skip = chance.Next(22); skip > 0; skip--)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(stream.AsSpan(at));
            if (length < RecordCodec.HeaderBytes || at + length + RecordCodec.HeaderBytes > stream.Length)
                break;
            at += (int)length;
        }
        return ByteMutator.MutateWithin(stream, chance, at, at + RecordCodec.HeaderBytes + 24);
    }

    // Chains every record that is one by its length, as a writer would have.
    private static byte[] RepairRecords(byte[] stream)
    {
        uint previous = RecordCodec.FirstPreviousCrc(TestLog.First.Lineage);
        int at = 0;
        while (at + RecordCodec.HeaderBytes <= stream.Length)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(stream.AsSpan(at));
            if (!RecordCodec.IsLength(length) || at + length > stream.Length)
                break;
            Span<byte> record = stream.AsSpan(at, (int)length);
            ulong place = Geometry.FirstLsn.Value + (ulong)at;
            previous = RecordCodec.WriteHeader(ref record[0], new RecordStamp
            {
                LengthBytes = (int)length,
                PreviousCrc = previous,
                Kind = (WalRecordKind)record[RecordCodec.KindAt],
                StartLsn = place,
                GroupStart = place,
                TransactionId = BinaryPrimitives.ReadUInt64LittleEndian(record[RecordCodec.TransactionIdAt..]),
                CommitTimeTicks = BinaryPrimitives.ReadInt64LittleEndian(record[RecordCodec.CommitTimeAt..]),
                RawClockTicks = BinaryPrimitives.ReadInt64LittleEndian(record[RecordCodec.RawClockAt..]),
                OperationCount = BinaryPrimitives.ReadUInt32LittleEndian(record[RecordCodec.OperationCountAt..]),
                Lineage = TestLog.First.Lineage.Value,
            }, RecordCodec.BodyState(record[RecordCodec.HeaderBytes..]));
            at += (int)length;
        }
        return stream;
    }

    private static byte[] RecordOf(WalRecordKind kind, byte[] body)
    {
        var record = new byte[RecordCodec.LengthOf(body.Length)];
        body.CopyTo(record, RecordCodec.HeaderBytes);
        record[RecordCodec.KindAt] = (byte)kind;
        return record;
    }

    private static byte[]? ReadRecords(byte[] stream, FuzzSteps steps)
    {
        using var reader = new WalReader(
            new CountedBytes(new MemoryWalBytes(Geometry.FirstLsn, stream), steps),
            WalRange.OfTimeline(TestLog.First.Lineage, Geometry.FirstLsn, Lsn.Zero));
        while (reader.MoveNext())
        {
            steps.Take();
            WalRecord record = reader.Current;
            UseEvent(record);
            OperationReader operations = record.Operations;
            while (record.Kind == WalRecordKind.Transaction && operations.MoveNext())
                steps.Take();
        }
        Assert.NotNull(reader.End);
        return null;
    }

    // What replay, `wal dump` and the clock of the next start make of a record.
    private static void UseEvent(WalRecord record)
    {
        _ = record.Event;
        _ = record.CommitTime;
        _ = record.RawClock;
        RecordDescription description = WalDump.DescribeWithOperations(record);
        new TableNames().Learn(record);
        using var json = new System.Text.Json.Utf8JsonWriter(System.IO.Stream.Null);
        new WalDumpWriter { Source = new SegmentPieces([], Database: null, OnlyFirst: false) }.Write(json, description);
    }

    private static byte[] HeaderBytes(ulong number)
    {
        var bytes = new byte[SegmentHeader.Bytes];
        SegmentHeader.For(TestLog.First, Geometry, number).Write(bytes);
        return bytes;
    }

    private static byte[] RepairHeader(byte[] bytes)
    {
        if (bytes.Length < SegmentHeader.Bytes)
            return bytes;
        "PITRWAL\n"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(
            bytes.AsSpan(SegmentHeader.Bytes - 4), Crc32C.Of(bytes.AsSpan(0, SegmentHeader.Bytes - 4)));
        return bytes;
    }

    private static void OpenFolder(SimulatedDisk disk, string path, byte[] bytes, FuzzSteps steps)
    {
        using (IFileHandle handle = disk.Open(path, FileOpen.ReadWrite))
            handle.Write(0, bytes);
        disk.BeforeOperation = _ => steps.Take();
        using var folder = new WalFolder(disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.First);
        WalOpened opened = WalOpening.Open(new WalOpeningRequest
        {
            Folder = folder,
            TimelineStart = Geometry.FirstLsn,
            RedoLsn = Geometry.FirstLsn,
            KnownEnd = Lsn.Zero,
        });
        using (opened.Appender)
        {
            folder.EnsureReady();
            DateTimeOffset time = opened.LastCommitTime.AddTicks(1);
            opened.Appender.BeginGroup(time, time);
            opened.Appender.Stage(new WalEvent.Heartbeat());
            opened.Appender.WriteAndSync();
        }
    }

    /// <summary>Counts the reads of a source.</summary>
    private sealed class CountedBytes(IWalBytes source, FuzzSteps steps) : IWalBytes
    {
        public bool MayEndInRecord => source.MayEndInRecord;

        public int Read(Lsn at, Span<byte> to)
        {
            steps.Take();
            return source.Read(at, to);
        }

        public Lsn NextAfter(Lsn hole)
        {
            steps.Take();
            return source.NextAfter(hole);
        }

        public (string Path, long Offset) Place(Lsn at) => source.Place(at);

        public void Dispose() => source.Dispose();
    }
}
