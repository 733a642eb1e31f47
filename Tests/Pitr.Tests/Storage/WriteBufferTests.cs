using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class WriteBufferTests : IDisposable
{
    private readonly ArenaPool _pool = new(64 << 20);

    public void Dispose() => _pool.Dispose();

    [Fact]
    public void An_empty_buffer_has_no_keys()
    {
        using var buffer = new WriteBuffer(_pool, keepVersions: true);
        var cursor = new WriteBufferCursor(buffer, Lsn.MaxValue);

        Assert.Equal(BufferHit.None, buffer.TryGet(Key(1), Lsn.MaxValue, out _, out _));
        Assert.False(cursor.SeekFirst());
        Assert.False(cursor.SeekLast());
        Assert.False(cursor.Seek(Key(1)));
        Assert.False(cursor.SeekBefore(Key(1)));
        Assert.Equal(0, buffer.Keys);
        Assert.True(buffer.FirstLsn.IsZero);
    }

    [Fact]
    public void A_read_finds_the_newest_version_at_or_below_its_LSN()
    {
        using var buffer = new WriteBuffer(_pool, keepVersions: true);
        buffer.Put(Key(1), "a"u8, new Lsn(8));
        buffer.Delete(Key(1), new Lsn(16));
        buffer.Put(Key(1), "c"u8, new Lsn(24));

        Assert.Equal(BufferHit.None, buffer.TryGet(Key(1), new Lsn(7), out _, out _));
        Assert.Equal(BufferHit.Put, buffer.TryGet(Key(1), new Lsn(15), out ReadOnlySpan<byte> value, out Lsn lsn));
        Assert.Equal("a"u8, value);
        Assert.Equal(new Lsn(8), lsn);
        Assert.Equal(BufferHit.Delete, buffer.TryGet(Key(1), new Lsn(16), out _, out _));
        Assert.Equal(BufferHit.Put, buffer.TryGet(Key(1), Lsn.MaxValue, out value, out _));
        Assert.Equal("c"u8, value);
        Assert.Equal((new Lsn(8), new Lsn(24), 1L), (buffer.FirstLsn, buffer.LastLsn, buffer.Keys));
    }

    [Fact]
    public void Of_two_changes_of_a_key_in_one_transaction_the_last_one_counts()
    {
        using var buffer = new WriteBuffer(_pool, keepVersions: true);
        buffer.Put(Key(1), "old"u8, new Lsn(8));
        buffer.Put(Key(1), "first"u8, new Lsn(16));
        buffer.Put(Key(1), "last"u8, new Lsn(16));

        buffer.TryGet(Key(1), new Lsn(16), out ReadOnlySpan<byte> value, out _);
        Assert.Equal("last"u8, value);
        buffer.TryGet(Key(1), new Lsn(15), out value, out _);
        Assert.Equal("old"u8, value);
    }

    [Fact]
    public void Without_versions_a_newer_one_takes_the_place_of_the_older()
    {
        using var buffer = new WriteBuffer(_pool, keepVersions: false);
        buffer.Put(Key(1), "a"u8, new Lsn(8));
        buffer.Put(Key(1), "b"u8, new Lsn(16));

        Assert.Equal(BufferHit.None, buffer.TryGet(Key(1), new Lsn(8), out _, out _));
        Assert.Equal(BufferHit.Put, buffer.TryGet(Key(1), new Lsn(16), out ReadOnlySpan<byte> value, out _));
        Assert.Equal("b"u8, value);
    }

    [Fact]
    public void A_sealed_buffer_refuses_changes()
    {
        using var buffer = new WriteBuffer(_pool, keepVersions: true);
        buffer.Put(Key(1), "a"u8, new Lsn(8));
        Assert.Throws<BugException>(() => buffer.Seal(new Lsn(7)));
        buffer.Seal(new Lsn(16));

        Assert.True(buffer.IsSealed);
        Assert.Equal(new Lsn(16), buffer.SealedAt);
        Assert.Throws<BugException>(() => buffer.Put(Key(2), "b"u8, new Lsn(24)));
        Assert.Throws<BugException>(() => buffer.Seal(new Lsn(24)));
    }

    [Fact]
    public void Its_memory_goes_back_to_the_pool_and_is_used_again()
    {
        for (int round = 0; round < 3; round++)
        {
            using var buffer = new WriteBuffer(_pool, keepVersions: true);
            for (uint key = 0; key < 20_000; key++)
                buffer.Put(Key(key), new byte[100], new Lsn(8));
            buffer.Put(Key(1), new byte[3 << 20], new Lsn(16));
            Assert.True(_pool.RentedBytes >= buffer.Bytes);
        }
        Assert.Equal(0, _pool.RentedBytes);
        Assert.InRange(_pool.FreeBytes, 1, _pool.BudgetBytes);
    }

    [Fact]
    public void A_sorted_run_fills_its_leaves()
    {
        using var run = new WriteBuffer(_pool, keepVersions: false);
        using var mixed = new WriteBuffer(_pool, keepVersions: false);
        var random = new Random(1);
        for (uint key = 0; key < 50_000; key++)
        {
            run.Put(Key(key), default, new Lsn(8));
            mixed.Put(Key((uint)random.NextInt64(1L << 32)), default, new Lsn(8));
        }
        Assert.True(run.Bytes < mixed.Bytes * 0.95, $"{run.Bytes} bytes against {mixed.Bytes}.");
    }

    [Fact]
    public void An_insert_and_a_read_allocate_no_objects()
    {
        using var buffer = new WriteBuffer(_pool, keepVersions: true);
        byte[] key = Key(1);
        byte[] value = new byte[100];
        int found = 0;
        for (uint number = 0; number < 1000; number++)
            Write(number);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (uint number = 1000; number < 51_000; number++)
            Write(number);
        // The lists of chunks, tables and parts of the filter grow now and then.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000);
        Assert.Equal(51_000, found);

        void Write(uint number)
        {
            BinaryPrimitives.WriteUInt32BigEndian(key.AsSpan(4), number * 2_654_435_761);
            buffer.Put(key, value, new Lsn(number + 1));
            if (buffer.TryGet(key, Lsn.MaxValue, out _, out _) == BufferHit.Put)
                found++;
        }
    }

    /// <summary>
    /// Random changes against a model: every key, every version, every scan at several LSNs, both ways.
    /// </summary>
    [Theory]
    [InlineData(1, KeyShape.SharedPrefix, true)]
    [InlineData(2, KeyShape.SharedPrefix, false)]
    [InlineData(3, KeyShape.Short, true)]
    [InlineData(4, KeyShape.Nested, true)]
    [InlineData(5, KeyShape.Random, true)]
    [InlineData(6, KeyShape.SortedRuns, true)]
    [InlineData(7, KeyShape.SortedRuns, false)]
    [InlineData(8, KeyShape.Ones, true)]
    public void It_answers_like_its_model(int seed, KeyShape shape, bool keepVersions)
    {
        var random = new Random(seed);
        using var buffer = new WriteBuffer(_pool, keepVersions);
        var model = new BufferModel();
        var known = new List<byte[]>();
        ulong lsn = 0;
        for (int change = 0; change < 12_000; change++)
        {
            byte[] key = known.Count > 0 && random.Next(4) == 0
                ? known[random.Next(known.Count)]
                : KeyOf(shape, random, change);
            byte[]? value = random.Next(6) == 0 ? null : new byte[ValueBytes(random)];
            if (value is not null)
                random.NextBytes(value);
            if (random.Next(3) != 0)
                lsn += 8;
            if (value is null)
                buffer.Delete(key, new Lsn(lsn));
            else
                buffer.Put(key, value, new Lsn(lsn));
            model.Write(key, value, new Lsn(lsn));
            known.Add(key);
        }
        Assert.Equal(model.KeyCount, buffer.Keys);

        Lsn[] ats = keepVersions ? [new(lsn), new(lsn / 2), new(lsn / 10), Lsn.Zero, Lsn.MaxValue] : [Lsn.MaxValue];
        foreach (Lsn at in ats)
        {
            foreach (byte[] key in model.Keys)
                AssertGet(buffer, model, key, at);
            for (int other = 0; other < 500; other++)
                AssertGet(buffer, model, KeyOf(shape, random, random.Next(20_000)), at);
            AssertScans(buffer, model, shape, random, at);
        }
        foreach (byte[] key in model.Keys)
            Assert.True(buffer.MayContain(KeyFilter.HashOf(key)));
    }

    private static void AssertGet(WriteBuffer buffer, BufferModel model, byte[] key, Lsn at)
    {
        (BufferHit hit, byte[] value, Lsn lsn) = model.Get(key, at);
        Assert.Equal(hit, buffer.TryGet(key, at, out ReadOnlySpan<byte> found, out Lsn foundLsn));
        Assert.True(found.SequenceEqual(value));
        Assert.Equal(lsn, foundLsn);
    }

    private static void AssertScans(WriteBuffer buffer, BufferModel model, KeyShape shape, Random random, Lsn at)
    {
        List<(byte[] Key, BufferHit Hit, byte[] Value, Lsn Lsn)> rows = model.Scan(at);
        var cursor = new WriteBufferCursor(buffer, at);
        int row = 0;
        for (bool more = cursor.SeekFirst(); more; more = cursor.Next())
            AssertRow(cursor, rows[row++]);
        Assert.Equal(rows.Count, row);
        for (bool more = cursor.SeekLast(); more; more = cursor.Prev())
            AssertRow(cursor, rows[--row]);
        Assert.Equal(0, row);

        for (int seek = 0; seek < 300; seek++)
        {
            byte[] key = seek % 2 == 0 && rows.Count > 0
                ? rows[random.Next(rows.Count)].Key
                : KeyOf(shape, random, random.Next(20_000));
            int from = rows.BinarySearch((key, default, [], default), RowOrder.Instance);
            from = from < 0 ? ~from : from;
            Assert.Equal(from < rows.Count, cursor.Seek(key));
            for (int step = from; cursor.IsValid && step < from + 5; step++)
            {
                AssertRow(cursor, rows[step]);
                cursor.Next();
            }
            Assert.Equal(from > 0, cursor.SeekBefore(key));
            for (int step = from - 1; cursor.IsValid && step > from - 5; step--)
            {
                AssertRow(cursor, rows[step]);
                cursor.Prev();
            }
        }
    }

    private static void AssertRow(WriteBufferCursor cursor, (byte[] Key, BufferHit Hit, byte[] Value, Lsn Lsn) row)
    {
        Assert.True(cursor.Key.SequenceEqual(row.Key));
        Assert.True(cursor.Value.SequenceEqual(row.Value));
        Assert.Equal((row.Hit == BufferHit.Delete, row.Lsn), (cursor.IsDelete, cursor.Lsn));
    }

    private static int ValueBytes(Random random) => random.Next(2000) switch
    {
        0 => 1_500_000,
        < 20 => random.Next(200_000),
        _ => random.Next(60),
    };

    private static byte[] Key(uint number)
    {
        byte[] key = [0, 0, 0, 1, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32BigEndian(key.AsSpan(4), number);
        return key;
    }

    private static byte[] KeyOf(KeyShape shape, Random random, int change)
    {
        byte[] key;
        switch (shape)
        {
            case KeyShape.SharedPrefix: // few prefixes of 8 and more bytes, then anything up to the longest key
                key = new byte[4 + random.Next(random.Next(20) == 0 ? 1025 : 40)];
                random.NextBytes(key);
                key.AsSpan(0, Math.Min(key.Length, 8 + random.Next(12))).Fill((byte)random.Next(3));
                return key;
            case KeyShape.Short:
                key = new byte[4 + random.Next(4)];
                random.NextBytes(key.AsSpan(3));
                return key;
            case KeyShape.Nested: // each a prefix of others: only the length tells them apart
                key = new byte[4 + random.Next(1025)];
                key[^1] = (byte)random.Next(2);
                return key;
            case KeyShape.SortedRuns: // runs of 300 ascending keys, begun at random places
                key = new byte[20];
                BinaryPrimitives.WriteInt32BigEndian(key.AsSpan(8), change / 300 * 7919 % 64);
                BinaryPrimitives.WriteInt32BigEndian(key.AsSpan(12), change);
                return key;
            case KeyShape.Ones: // the greatest prefixes, which are also the filler of unused slots
                key = new byte[4 + random.Next(40)];
                key.AsSpan().Fill(0xFF);
                key[random.Next(key.Length)] -= (byte)random.Next(2);
                return key;
            default:
                key = new byte[20];
                random.NextBytes(key.AsSpan(4));
                return key;
        }
    }

    public enum KeyShape { Random, SharedPrefix, Short, Nested, SortedRuns, Ones }

    private sealed class RowOrder : IComparer<(byte[] Key, BufferHit, byte[], Lsn)>
    {
        public static readonly RowOrder Instance = new();

        public int Compare((byte[] Key, BufferHit, byte[], Lsn) x, (byte[] Key, BufferHit, byte[], Lsn) y) =>
            x.Key.AsSpan().SequenceCompareTo(y.Key);
    }
}
