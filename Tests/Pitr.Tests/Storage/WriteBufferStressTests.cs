using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// One writer and many readers of one write buffer, without a lock (the argument is in the header of BufferTree). What
/// is written follows from its LSN alone, so a reader can tell of every answer whether it is the right one: not only
/// that it was written at some time, but that it is what a read at this LSN must give.
/// </summary>
public sealed class WriteBufferStressTests
{
    private const int Readers = 3;

    [Theory]
    [InlineData(Order.Random)]
    [InlineData(Order.Ascending)]
    [InlineData(Order.Descending)]
    [InlineData(Order.Runs)]
    public void Readers_see_all_of_the_past_and_nothing_else_while_the_writer_works(Order order)
    {
        using var pool = new ArenaPool(256 << 20);
        using var buffer = new WriteBuffer(pool, keepVersions: true);
        var history = new History(order);
        ulong visible = 0;
        var threads = new List<Thread>();
        var failures = new List<Exception>();
        for (int reader = 0; reader < Readers; reader++)
        {
            int seed = reader;
            var thread = new Thread(() => Guarded(failures, () => Read(buffer, history, ref visible, seed)));
            threads.Add(thread);
            thread.Start();
        }
        Guarded(failures, () => Write(buffer, history, ref visible));
        Volatile.Write(ref visible, History.Changes);
        foreach (Thread thread in threads)
            thread.Join();

        Assert.Empty(failures);
        AssertScan(buffer, history, History.Changes, backward: false);
        AssertScan(buffer, history, History.Changes, backward: true);
    }

    private static void Guarded(List<Exception> failures, Action action)
    {
        try
        {
            action();
        }
        catch (Exception failure) // handed to the test's thread, which asserts that there is none
        {
            lock (failures)
                failures.Add(failure);
        }
    }

    private static void Write(WriteBuffer buffer, History history, ref ulong visible)
    {
        Span<byte> key = stackalloc byte[History.KeyBytes];
        Span<byte> value = stackalloc byte[History.ValueBytesMax];
        for (ulong lsn = 1; lsn <= History.Changes; lsn++)
        {
            History.WriteKey(key, history.KeyOf(lsn));
            if (History.IsDelete(lsn))
                buffer.Delete(key, new Lsn(lsn));
            else
                buffer.Put(key, History.ValueOf(lsn, value), new Lsn(lsn));
            Volatile.Write(ref visible, lsn);
        }
    }

    private static void Read(WriteBuffer buffer, History history, ref ulong visible, int seed)
    {
        var random = new Random(seed);
        ulong at;
        do
        {
            at = Volatile.Read(ref visible);
            for (int get = 0; get < 400; get++)
                AssertGet(buffer, history, (int)(random.NextInt64(History.KeyCount)), at);
            ulong past = (ulong)random.NextInt64((long)at + 1);
            for (int get = 0; get < 100; get++)
                AssertGet(buffer, history, (int)(random.NextInt64(History.KeyCount)), past);
            // The key that was written last: its leaf is the one that is changing.
            if (at > 0)
                AssertGet(buffer, history, history.KeyOf(at), at);
            AssertScan(buffer, history, random.Next(2) == 0 ? at : past, backward: random.Next(2) == 0);
            AssertRange(buffer, history, at, random.Next(History.KeyCount), backward: random.Next(2) == 0);
        }
        while (at < History.Changes);
    }

    private static void AssertGet(WriteBuffer buffer, History history, int number, ulong at)
    {
        Span<byte> key = stackalloc byte[History.KeyBytes];
        Span<byte> wanted = stackalloc byte[History.ValueBytesMax];
        History.WriteKey(key, number);
        ulong expected = history.NewestOf(number, at);
        BufferHit hit = buffer.TryGet(key, new Lsn(at), out ReadOnlySpan<byte> value, out Lsn lsn);
        Assert.Equal(HitOf(expected), hit);
        Assert.Equal(expected, lsn.Value);
        Assert.True(expected == 0 || buffer.MayContain(KeyFilter.HashOf(key)), "The filter denies a key.");
        if (hit == BufferHit.Put)
            Assert.True(value.SequenceEqual(History.ValueOf(expected, wanted)), "A value that was never written.");
    }

    private static void AssertScan(WriteBuffer buffer, History history, ulong at, bool backward)
    {
        var cursor = new WriteBufferCursor(buffer, new Lsn(at));
        int number = backward ? History.KeyCount : -1;
        bool more = backward ? cursor.SeekLast() : cursor.SeekFirst();
        for (; more; more = backward ? cursor.Prev() : cursor.Next())
            number = AssertNext(cursor, history, number, at, backward);
        AssertNoneBetween(history, number, backward ? -1 : History.KeyCount, at);
    }

    private static void AssertRange(WriteBuffer buffer, History history, ulong at, int from, bool backward)
    {
        Span<byte> key = stackalloc byte[History.KeyBytes];
        History.WriteKey(key, from);
        var cursor = new WriteBufferCursor(buffer, new Lsn(at));
        int number = backward ? from : from - 1;
        bool more = backward ? cursor.SeekBefore(key) : cursor.Seek(key);
        for (int row = 0; row < 200 && more; row++, more = backward ? cursor.Prev() : cursor.Next())
            number = AssertNext(cursor, history, number, at, backward);
    }

    /// <summary>The row is the next one that a scan at this LSN must show, and the right version of it.</summary>
    private static int AssertNext(WriteBufferCursor cursor, History history, int before, ulong at, bool backward)
    {
        Span<byte> wanted = stackalloc byte[History.ValueBytesMax];
        int number = History.ReadKey(cursor.Key);
        Assert.True(backward ? number < before : number > before, "A scan is out of order.");
        AssertNoneBetween(history, before, number, at);
        ulong expected = history.NewestOf(number, at);
        Assert.Equal(expected, cursor.Lsn.Value);
        Assert.Equal(History.IsDelete(expected), cursor.IsDelete);
        if (!cursor.IsDelete)
            Assert.True(cursor.Value.SequenceEqual(History.ValueOf(expected, wanted)), "A value that was not written.");
        return number;
    }

    private static void AssertNoneBetween(History history, int one, int other, ulong at)
    {
        for (int number = Math.Min(one, other) + 1; number < Math.Max(one, other); number++)
            Assert.True(history.NewestOf(number, at) == 0, "A scan passed over a key.");
    }

    private static BufferHit HitOf(ulong lsn) =>
        lsn == 0 ? BufferHit.None : History.IsDelete(lsn) ? BufferHit.Delete : BufferHit.Put;

    public enum Order { Random, Ascending, Descending, Runs }

    /// <summary>What the writer does at each LSN, known to everybody beforehand.</summary>
    private sealed class History
    {
        public const int KeyCount = 20_000;
        public const ulong Changes = 60_000;
        public const int KeyBytes = 24;
        public const int ValueBytesMax = 48;

        private readonly int[] _keyOfLsn = new int[Changes + 1];
        private readonly List<ulong>[] _lsnsOfKey = new List<ulong>[KeyCount];

        public History(Order order)
        {
            var random = new Random(4711);
            for (int key = 0; key < KeyCount; key++)
                _lsnsOfKey[key] = [];
            for (ulong lsn = 1; lsn <= Changes; lsn++)
            {
                // A third of the changes meets one of ten keys: long chains.
                int step = (int)(lsn * KeyCount / (Changes + 1));
                int key = random.Next(3) == 0 ? random.Next(10) * (KeyCount / 10) : order switch
                {
                    Order.Ascending => step,
                    Order.Descending => KeyCount - 1 - step,
                    Order.Runs => (step / 500 * 7919 % (KeyCount / 500) * 500) + (step % 500),
                    _ => random.Next(KeyCount),
                };
                _keyOfLsn[lsn] = key;
                _lsnsOfKey[key].Add(lsn);
            }
        }

        public int KeyOf(ulong lsn) => _keyOfLsn[lsn];

        /// <summary>The LSN of the key's newest change at or below another; 0 if there is none.</summary>
        public ulong NewestOf(int key, ulong at)
        {
            int index = _lsnsOfKey[key].BinarySearch(at);
            index = index < 0 ? ~index - 1 : index;
            return index < 0 ? 0 : _lsnsOfKey[key][index];
        }

        public static bool IsDelete(ulong lsn) => lsn % 11 == 5;

        /// <summary>Table 1, a shared part in which some prefixes tie, and the number at the end.</summary>
        public static void WriteKey(Span<byte> key, int number)
        {
            key.Clear();
            key[3] = 1;
            "orders:"u8.CopyTo(key[4..]);
            BinaryPrimitives.WriteInt32BigEndian(key[11..], number / 5);
            BinaryPrimitives.WriteInt32BigEndian(key[20..], number);
        }

        public static int ReadKey(ReadOnlySpan<byte> key) => BinaryPrimitives.ReadInt32BigEndian(key[20..]);

        public static ReadOnlySpan<byte> ValueOf(ulong lsn, Span<byte> room)
        {
            Span<byte> value = room[..(8 + (int)(lsn % 41))];
            value.Fill((byte)(lsn * 31));
            BinaryPrimitives.WriteUInt64LittleEndian(value, lsn);
            return value;
        }
    }
}
