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

    /// <summary>
    /// A few leaves, again and again, so that reads and changes meet in the same leaf, in splits, and in the split of
    /// the root; and one large buffer, with inner nodes that split.
    /// </summary>
    [Theory]
    [InlineData(Order.Random, 250, 300)]
    [InlineData(Order.Ascending, 250, 300)]
    [InlineData(Order.Descending, 250, 300)]
    [InlineData(Order.Runs, 100, 1_500)]
    [InlineData(Order.Random, 1, 20_000)]
    [InlineData(Order.Runs, 1, 20_000)]
    public void Readers_see_all_of_the_past_and_nothing_else_while_the_writer_works(
        Order order, int roundCount, int keyCount)
    {
        using var pool = new ArenaPool(256 << 20);
        var rounds = new Round[roundCount];
        for (int round = 0; round < roundCount; round++)
            rounds[round] = new Round(pool, new History(order, keyCount, round));
        var failures = new List<Exception>();
        var threads = new List<Thread>();
        for (int reader = 0; reader < Readers; reader++)
        {
            int seed = reader;
            var thread = new Thread(() => Guarded(failures, rounds, () =>
            {
                foreach (Round round in rounds)
                    Read(round, new Random(seed));
            }));
            threads.Add(thread);
            thread.Start();
        }
        Guarded(failures, rounds, () =>
        {
            foreach (Round round in rounds)
                Write(round);
        });
        foreach (Thread thread in threads)
            thread.Join();

        Assert.Empty(failures);
        foreach (Round round in rounds)
        {
            AssertScan(round.Buffer, round.History, round.History.Changes, backward: false);
            AssertScan(round.Buffer, round.History, round.History.Changes, backward: true);
            round.Buffer.Dispose();
        }
    }

    /// <summary>Keeps a failure for the test's thread, and lets everybody end.</summary>
    private static void Guarded(List<Exception> failures, Round[] rounds, Action action)
    {
        try
        {
            action();
        }
        catch (Exception failure) // the test's thread asserts that there is none
        {
            lock (failures)
                failures.Add(failure);
            foreach (Round round in rounds)
                round.IsGivenUp = true;
        }
    }

    private static void Write(Round round)
    {
        Span<byte> key = stackalloc byte[History.KeyBytes];
        Span<byte> value = stackalloc byte[History.ValueBytesMax];
        var spin = new SpinWait();
        while (!round.HasReader && !round.IsGivenUp)
            spin.SpinOnce(sleep1Threshold: -1);
        for (ulong lsn = 1; lsn <= round.History.Changes && !round.IsGivenUp; lsn++)
        {
            History.WriteKey(key, round.History.KeyOf(lsn));
            if (History.IsDelete(lsn))
                round.Buffer.Delete(key, new Lsn(lsn));
            else
                round.Buffer.Put(key, History.ValueOf(lsn, value), new Lsn(lsn));
            round.VisibleLsn = lsn;
        }
    }

    private static void Read(Round round, Random random)
    {
        History history = round.History;
        round.HasReader = true;
        ulong at;
        do
        {
            for (int get = 0; get < 100; get++)
            {
                // The keys around the last change: their leaf is the one that is changing.
                at = round.VisibleLsn;
                int near = at == 0 ? 0 : history.KeyOf(at) + random.Next(-20, 20);
                AssertGet(round.Buffer, history, Math.Clamp(near, 0, history.KeyCount - 1), at);
                AssertGet(round.Buffer, history, random.Next(history.KeyCount), at);
            }
            at = round.VisibleLsn;
            ulong past = (ulong)random.NextInt64((long)at + 1);
            for (int get = 0; get < 20; get++)
                AssertGet(round.Buffer, history, random.Next(history.KeyCount), past);
            for (int range = 0; range < 4; range++)
            {
                at = round.VisibleLsn;
                int near = at == 0 ? 0 : history.KeyOf(at);
                AssertRange(round.Buffer, history, at, near, backward: range % 2 == 0);
            }
            AssertScan(round.Buffer, history, random.Next(2) == 0 ? at : past, backward: random.Next(2) == 0);
        }
        while (at < history.Changes && !round.IsGivenUp);
    }

    private static void AssertGet(WriteBuffer buffer, History history, int number, ulong at)
    {
        Span<byte> key = stackalloc byte[History.KeyBytes];
        Span<byte> wanted = stackalloc byte[History.ValueBytesMax];
        History.WriteKey(key, number);
        ulong expected = history.NewestOf(number, at);
        BufferHit hit = buffer.TryGet(key, new Lsn(at), out ReadOnlySpan<byte> value, out Lsn lsn);
        if (hit != HitOf(expected) || lsn.Value != expected)
            Assert.Fail($"Key {number} at {at} is {hit} of {lsn.Value}, not {HitOf(expected)} of {expected}.");
        if (expected != 0 && !buffer.MayContain(KeyFilter.HashOf(key)))
            Assert.Fail("The filter denies a key.");
        if (hit == BufferHit.Put && !value.SequenceEqual(History.ValueOf(expected, wanted)))
            Assert.Fail("A value that was not written.");
    }

    private static void AssertScan(WriteBuffer buffer, History history, ulong at, bool backward)
    {
        var cursor = new WriteBufferCursor(buffer, new Lsn(at));
        int number = backward ? history.KeyCount : -1;
        bool more = backward ? cursor.SeekLast() : cursor.SeekFirst();
        for (; more; more = backward ? cursor.Prev() : cursor.Next())
            number = AssertNext(cursor, history, number, at, backward);
        AssertNoneBetween(history, number, backward ? -1 : history.KeyCount, at);
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

    /// <summary>One buffer, and how far its writer has come.</summary>
    private sealed class Round(ArenaPool pool, History history)
    {
        private ulong _visibleLsn;
        private volatile bool _hasReader;
        private volatile bool _isGivenUp;

        public WriteBuffer Buffer { get; } = new(pool, keepVersions: true);
        public History History { get; } = history;

        public ulong VisibleLsn
        {
            get => Volatile.Read(ref _visibleLsn);
            set => Volatile.Write(ref _visibleLsn, value);
        }

        public bool HasReader { get => _hasReader; set => _hasReader = value; }
        public bool IsGivenUp { get => _isGivenUp; set => _isGivenUp = value; }
    }

    /// <summary>What the writer does at each LSN, known to everybody beforehand.</summary>
    private sealed class History
    {
        public const int KeyBytes = 24;
        public const int ValueBytesMax = 48;

        private readonly int[] _keyOfLsn;
        private readonly List<ulong>[] _lsnsOfKey;

        public History(Order order, int keyCount, int seed)
        {
            var random = new Random(seed);
            KeyCount = keyCount;
            Changes = (ulong)keyCount * 3;
            _keyOfLsn = new int[Changes + 1];
            _lsnsOfKey = new List<ulong>[keyCount];
            for (int key = 0; key < keyCount; key++)
                _lsnsOfKey[key] = [];
            int run = Math.Max(10, keyCount / 40);
            for (ulong lsn = 1; lsn <= Changes; lsn++)
            {
                // A sixth of the changes meets one of ten keys: long chains. The others walk through the keys.
                int step = (int)((lsn - 1) * (ulong)keyCount / Changes);
                int key = random.Next(6) == 0 ? random.Next(10) * (keyCount / 10) : order switch
                {
                    Order.Ascending => step,
                    Order.Descending => keyCount - 1 - step,
                    Order.Runs => (step / run * 7919 % (keyCount / run) * run) + (step % run),
                    _ => random.Next(keyCount),
                };
                _keyOfLsn[lsn] = key;
                _lsnsOfKey[key].Add(lsn);
            }
        }

        public int KeyCount { get; }

        public ulong Changes { get; }

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
