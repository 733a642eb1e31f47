using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// Reads over buffers and tree: <see cref="ReadView"/>, <see cref="MergedCursor"/> and <see cref="SealedChanges"/>.
/// </summary>
public sealed class ReadViewTests : IDisposable
{
    private readonly ArenaPool _pool = new(64 << 20);
    private readonly MemoryPages _pages = new();
    private readonly List<WriteBuffer> _buffers = [];

    public void Dispose()
    {
        foreach (WriteBuffer buffer in _buffers)
            buffer.Dispose();
        _pages.Dispose();
        _pool.Dispose();
    }

    [Fact]
    public void The_newest_place_that_knows_a_key_answers()
    {
        WriteBuffer old = Sealed(("a", "1", 8), ("b", "1", 8), ("c", "1", 8), ("d", "1", 8));
        TreeRoot root = Flush(TreeRoot.Empty(0), old);
        WriteBuffer older = Sealed(("b", "2", 16), ("c", null, 16), ("e", "2", 16));
        WriteBuffer newer = Sealed(("c", "3", 24), ("d", null, 24));
        WriteBuffer active = Open(("e", null, 32), ("f", "4", 32));
        var view = new ReadView(_pages, root, new Lsn(8), active, [newer, older], []);

        Assert.Equal("a=1 b=2 c=3 f=4", Text(view, 32));
        Assert.Equal("a=1 b=2 c=3 e=2", Text(view, 24));
        Assert.Equal("a=1 b=2 d=1 e=2", Text(view, 16));
        Assert.Equal("a=1 b=1 c=1 d=1", Text(view, 8));
    }

    [Fact]
    public void A_read_below_the_root_is_refused()
    {
        var view = new ReadView(_pages, TreeRoot.Empty(0), new Lsn(16), Open(), [], []);

        Assert.Throws<BugException>(() => view.TryGet(Key("a"), new Lsn(15), out _));
        Assert.Throws<BugException>(() => new MergedCursor(view, new Lsn(15)));
    }

    [Fact]
    public void A_dropped_table_is_hidden_from_its_drop_on()
    {
        WriteBuffer old = Sealed(("a", "1", 8), ("b", "1", 8));
        TreeRoot root = Flush(TreeRoot.Empty(0), old);
        WriteBuffer active = Open(("c", "2", 16));
        active.Put([0, 0, 0, 2, 1], "other"u8, new Lsn(16));
        active.Put([0, 0, 0, 0, 1], "first"u8, new Lsn(16));
        var view = new ReadView(_pages, root, new Lsn(8), active, [], [new DroppedTable(new TableId(1), new Lsn(24))]);

        Assert.Equal(5, Count(view, 16));
        Assert.Equal(2, Count(view, 24));
        Assert.True(view.TryGet(Key("a"), new Lsn(23), out _));
        Assert.False(view.TryGet(Key("a"), new Lsn(24), out _));
        Assert.False(view.TryGet(Key("c"), new Lsn(24), out _));
    }

    [Fact]
    public void Pins_hold_a_superseded_view_and_the_last_one_releases_it_once()
    {
        var view = new ReadView(_pages, TreeRoot.Empty(0), Lsn.Zero, Open(), [], []);
        int released = 0;
        Assert.True(view.TryPin());
        Assert.True(view.TryPin());
        view.Unpin();
        view.Supersede(_ => released++);
        Assert.True(view.TryPin());
        view.Unpin();
        Assert.Equal((0, 1, true), (released, view.Pins, view.IsSuperseded));
        view.Unpin();
        Assert.Equal(1, released);
        Assert.False(view.TryPin());
    }

    [Fact]
    public void An_unpinned_view_is_released_when_it_is_superseded()
    {
        var view = new ReadView(_pages, TreeRoot.Empty(0), Lsn.Zero, Open(), [], []);
        int released = 0;
        view.TryPin();
        view.Unpin();
        Assert.Equal(0, released);
        view.Supersede(_ => released++);
        Assert.Equal(1, released);
        Assert.False(view.TryPin());
    }

    [Fact]
    public void Of_two_sealed_buffers_the_newer_gives_a_flush_the_change_of_a_key()
    {
        WriteBuffer older = Sealed(("a", "1", 8), ("b", "1", 8), ("d", "1", 8), ("d", "2", 16));
        WriteBuffer newer = Sealed(("b", null, 24), ("c", "3", 24), ("e", "3", 24));
        var changes = new SealedChanges(newer, older);
        var text = new List<string>();
        while (changes.MoveNext())
        {
            text.Add(System.Text.Encoding.ASCII.GetString(changes.Key[4..]) + "="
                + (changes.IsDelete ? "-" : System.Text.Encoding.ASCII.GetString(changes.Value)));
        }
        Assert.Equal("a=1 b=- c=3 d=2 e=3", string.Join(' ', text));
        Assert.False(changes.MoveNext());
    }

    [Fact]
    public void A_flush_of_an_open_buffer_is_refused() =>
        Assert.Throws<BugException>(() => new SealedChanges(Open(("a", "1", 8))));

    /// <summary>
    /// The life of a datafile against a model: changes in three tables, seals, flushes, drops; and after each step gets
    /// and walks in both directions at every LSN that the view can answer.
    /// </summary>
    [Theory]
    [InlineData(1, 40)]
    [InlineData(2, 400)]
    [InlineData(3, 1_000)]
    [InlineData(4, 3_000)]
    public void Gets_and_walks_answer_like_a_model_through_seals_flushes_and_drops(int seed, int keyCount)
    {
        var random = new Random(seed);
        var model = new BufferModel();
        var dropped = new List<DroppedTable>();
        WriteBuffer active = Open();
        var stack = new List<WriteBuffer>();
        TreeRoot root = TreeRoot.Empty(0);
        ulong lsn = 8;
        ulong rootLsn = 0;
        for (int round = 0; round < 14; round++)
        {
            int changes = random.Next(keyCount);
            for (int change = 0; change < changes; change++)
            {
                byte[] key = KeyOf(random, keyCount);
                if (dropped.Exists(table => table.Table.Value == key[3]))
                    continue;
                byte[]? value = random.Next(4) == 0 ? null : new byte[random.Next(random.Next(50) == 0 ? 9_000 : 40)];
                if (value is null)
                    active.Delete(key, new Lsn(lsn));
                else
                    active.Put(key, value, new Lsn(lsn));
                model.Write(key, value, new Lsn(lsn));
                lsn += (ulong)random.Next(2) * 8;
            }
            lsn += 8;
            if (round == 9)
                dropped.Add(new DroppedTable(new TableId(2), new Lsn(lsn)));
            if (stack.Count < 2 && random.Next(3) != 0)
            {
                active.Seal(new Lsn(lsn));
                stack.Insert(0, active);
                active = Open();
                lsn += 8;
            }
            if (stack.Count > 0 && random.Next(2) == 0)
            {
                rootLsn = stack[0].SealedAt.Value;
                IEnumerable<DroppedTable> due = dropped.Where(table => table.HidesAt(new Lsn(rootLsn)));
                uint[] cut = [.. due.Select(table => table.Table.Value)];
                root = Flush(root, cut, [.. stack]);
                stack.Clear();
            }
            var view = new ReadView(_pages, root, new Lsn(rootLsn), active, [.. stack], [.. dropped]);
            foreach (ulong at in new[] { rootLsn, lsn, rootLsn + (ulong)random.NextInt64((long)(lsn - rootLsn) + 1) })
                AssertLikeModel(view, model, random, new Lsn(at), keyCount);
        }
    }

    /// <summary>A walk goes on over the same rows while changes above its LSN come in.</summary>
    [Fact]
    public void A_walk_does_not_see_what_is_written_after_it_began()
    {
        WriteBuffer active = Open();
        for (uint key = 0; key < 3_000; key += 3)
            active.Put(Number(key), "old"u8, new Lsn(8));
        var view = new ReadView(_pages, TreeRoot.Empty(0), Lsn.Zero, active, [], []);
        var cursor = new MergedCursor(view, new Lsn(8));
        ulong lsn = 8;
        int rows = 0;
        for (bool more = cursor.SeekFirst(); more; more = cursor.Next(), rows++)
        {
            Assert.True(cursor.Key.SequenceEqual(Number((uint)rows * 3)));
            Assert.Equal("old"u8, cursor.Value.Span);
            active.Put(Number((uint)rows * 3 + 1), "new"u8, new Lsn(lsn += 8));
            active.Put(Number(2_999 - (uint)rows), "new"u8, new Lsn(lsn += 8));
            active.Delete(Number((uint)rows * 3 + 3), new Lsn(lsn += 8));
        }
        Assert.Equal(1_000, rows);
    }

    private static void AssertLikeModel(ReadView view, BufferModel model, Random random, Lsn at, int keyCount)
    {
        List<(byte[] Key, byte[] Value)> rows =
        [
            .. model.Scan(at).Where(row => row.Hit == BufferHit.Put && !view.IsHidden(row.Key, at))
                .Select(row => (row.Key, row.Value)),
        ];
        for (int get = 0; get < 200; get++)
        {
            byte[] key = KeyOf(random, keyCount);
            int row = rows.FindIndex(one => one.Key.AsSpan().SequenceEqual(key));
            Assert.Equal(row >= 0, view.TryGet(key, at, out ValueRef value));
            if (row >= 0)
                Assert.Equal(rows[row].Value, value.ToArray());
        }
        var cursor = new MergedCursor(view, at);
        int count = 0;
        for (bool more = cursor.SeekFirst(); more; more = cursor.Next())
            AssertRow(cursor, rows[count++]);
        Assert.Equal(rows.Count, count);
        for (bool more = cursor.SeekLast(); more; more = cursor.Prev())
            AssertRow(cursor, rows[--count]);
        Assert.Equal(0, count);

        for (int seek = 0; seek < 100; seek++)
        {
            byte[] key = KeyOf(random, keyCount);
            int from = rows.FindIndex(row => row.Key.AsSpan().SequenceCompareTo(key) >= 0);
            from = from < 0 ? rows.Count : from;
            bool forward = random.Next(2) == 0;
            int place = forward ? from : from - 1;
            bool stands = forward ? cursor.Seek(key) : cursor.SeekBefore(key);
            // A walk that turns around again and again.
            for (int step = 0; step < 8; step++)
            {
                Assert.Equal(place >= 0 && place < rows.Count, stands);
                Assert.Equal(stands, cursor.IsValid);
                if (!stands)
                    break;
                AssertRow(cursor, rows[place]);
                if (random.Next(3) == 0)
                    cursor.Suspend();
                forward = random.Next(3) == 0 ? !forward : forward;
                place += forward ? 1 : -1;
                stands = forward ? cursor.Next() : cursor.Prev();
            }
        }
    }

    private static void AssertRow(MergedCursor cursor, (byte[] Key, byte[] Value) row)
    {
        Assert.Equal(row.Key, cursor.Key.ToArray());
        Assert.Equal(row.Value, cursor.Value.ToArray());
    }

    private WriteBuffer Open(params (string Key, string? Value, ulong Lsn)[] changes)
    {
        var buffer = new WriteBuffer(_pool, keepVersions: true);
        _buffers.Add(buffer);
        foreach ((string key, string? value, ulong lsn) in changes)
        {
            if (value is null)
                buffer.Delete(Key(key), new Lsn(lsn));
            else
                buffer.Put(Key(key), System.Text.Encoding.ASCII.GetBytes(value), new Lsn(lsn));
        }
        return buffer;
    }

    private WriteBuffer Sealed(params (string Key, string? Value, ulong Lsn)[] changes)
    {
        WriteBuffer buffer = Open(changes);
        buffer.Seal(buffer.LastLsn);
        return buffer;
    }

    private TreeRoot Flush(TreeRoot old, params WriteBuffer[] newestFirst) => Flush(old, [], newestFirst);

    private TreeRoot Flush(TreeRoot old, uint[] dropped, WriteBuffer[] newestFirst)
    {
        TreeRoot root = TreeMerge.Run(
            _pages, old, new SealedChanges(newestFirst), dropped, _pages, CancellationToken.None);
        _pages.Complete();
        return root;
    }

    private static string Text(ReadView view, ulong at)
    {
        var text = new List<string>();
        var cursor = new MergedCursor(view, new Lsn(at));
        for (bool more = cursor.SeekFirst(); more; more = cursor.Next())
        {
            Assert.True(view.TryGet(cursor.Key, new Lsn(at), out ValueRef value));
            Assert.Equal(value.ToArray(), cursor.Value.ToArray());
            text.Add(System.Text.Encoding.ASCII.GetString(cursor.Key[4..]) + "="
                + System.Text.Encoding.ASCII.GetString(value.ToArray()));
        }
        return string.Join(' ', text);
    }

    private static int Count(ReadView view, ulong at)
    {
        var cursor = new MergedCursor(view, new Lsn(at));
        int forward = 0;
        for (bool more = cursor.SeekFirst(); more; more = cursor.Next())
            forward++;
        int backward = 0;
        for (bool more = cursor.SeekLast(); more; more = cursor.Prev())
            backward++;
        Assert.Equal(forward, backward);
        return forward;
    }

    private static byte[] Key(string key) => [0, 0, 0, 1, .. System.Text.Encoding.ASCII.GetBytes(key)];

    private static byte[] Number(uint number)
    {
        byte[] key = [0, 0, 0, 1, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32BigEndian(key.AsSpan(4), number);
        return key;
    }

    private static byte[] KeyOf(Random random, int keyCount)
    {
        int number = random.Next(keyCount);
        byte[] key = new byte[8 + number % 9];
        key[3] = (byte)(1 + number % 3);
        BinaryPrimitives.WriteInt32BigEndian(key.AsSpan(4), number);
        return key;
    }
}
