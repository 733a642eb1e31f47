using System.Globalization;
using System.Text;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class ReplayStreamTests
{
    private static readonly ReplayOptions Small = new()
    {
        ChangesPerBatch = 7,
        BytesPerBatch = 400,
        BytesPerBarrier = 3000
    };

    /// <summary>I2, I11, H43: the oracle is a dictionary that takes operations one by one.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Replay_to_every_commit_boundary_equals_the_oracle(int seed)
    {
        var load = new Load(seed);
        load.Run(records: 160);
        foreach ((Lsn cut, string state) in load.States)
        {
            var model = new FileModel();
            using var stream = new ReplayStream(load.Wal.Read(), StartOf(load), cut, Small);
            model.Play(stream);
            Assert.Equal(state, model.Text());
            Assert.Equal(cut, stream.Progress.Through);
        }
    }

    /// <summary>H34: a second try begins with files that stand at different LSNs; each skips what it has.</summary>
    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    [InlineData(13)]
    public void Replay_that_goes_on_after_a_crash_equals_the_oracle(int seed)
    {
        var load = new Load(seed);
        load.Run(records: 160);
        var random = new Random(seed);
        foreach ((Lsn cut, string state) in load.States.Skip(20))
        {
            // Given a first try that died: each file has what was delivered to it
            var model = new FileModel();
            using (var first = new ReplayStream(load.Wal.Read(), StartOf(load), cut, Small))
                model.Play(first, steps: random.Next(12));
            ReplayCatalogue again = model.Catalogue(load.Wal.Timeline.StartLsn);

            // When it is tried again from the beginning
            using var second = new ReplayStream(load.Wal.Read(), again, cut, Small);
            model.Play(second);

            // Then it stands where one try would have stood
            Assert.Equal(state, model.Text());
        }
    }

    /// <summary>H34: a barrier stands for everything below it, also one that comes because the buffers are full.</summary>
    [Fact]
    public void A_barrier_that_is_wanted_comes_behind_all_that_was_read()
    {
        var wal = new MemoryWal();
        for (int i = 0; i < 3 * 4096; i++)
            wal.Put(1, 1, "a"u8, "1"u8).Commit();
        using var stream = new ReplayStream(
            wal.Read(), OneTable(wal), Lsn.MaxValue, new ReplayOptions { ChangesPerBatch = 100, BytesPerBarrier = long.MaxValue >> 1 });
        Assert.True(stream.MoveNext());
        var delivered = Assert.IsType<ReplayStep.Changes>(stream.Current);

        stream.WantBarrier();

        Lsn through = delivered.Batch.LastLsn;
        while (stream.MoveNext() && stream.Current is ReplayStep.Changes more)
            through = more.Batch.LastLsn;
        var barrier = Assert.IsType<ReplayStep.Barrier>(stream.Current);
        Assert.Equal(through, barrier.Through);
        Assert.Equal(through, stream.Progress.Through);
        while (stream.MoveNext())
            Assert.IsType<ReplayStep.Changes>(stream.Current);
    }

    /// <summary>
    /// P5, H1: where a replay flushes, no group is cut: WAL is read from there again, by others too, and the rest of a group
    /// begins with no record that passes by itself.
    /// </summary>
    [Fact]
    public void A_barrier_that_is_due_within_a_group_comes_behind_its_last_record()
    {
        var wal = new MemoryWal();
        var ends = new List<Lsn>();
        for (int group = 0; group < 6; group++)
        {
            for (int i = 0; i < 20; i++, wal.IsInGroup = true)
                wal.Put(1, 1, "a"u8, new byte[200]).Commit();
            wal.IsInGroup = false;
            ends.Add(wal.End);
        }

        using var stream = new ReplayStream(
            wal.Read(), OneTable(wal), Lsn.MaxValue, new ReplayOptions { ChangesPerBatch = 7, BytesPerBarrier = 3000 });
        var barriers = new List<Lsn>();
        while (stream.MoveNext())
        {
            if (stream.Current is ReplayStep.Barrier barrier)
                barriers.Add(barrier.Through);
        }

        Assert.Equal(ends.SkipLast(1), barriers);
        Assert.Equal(ends[^1], stream.Progress.Through);
        foreach (Lsn from in barriers)
        {
            using PathReader again = wal.Read(from);
            Assert.True(again.MoveNext());
        }
    }

    [Fact]
    public void A_cut_within_a_record_is_refused()
    {
        var wal = new MemoryWal();
        Lsn one = wal.Put(1, 1, "a"u8, "1"u8).Commit();
        wal.Put(1, 1, "a"u8, "2"u8).Commit();
        using var stream = new ReplayStream(wal.Read(), OneTable(wal), one + 8);

        RefusedException refused = Assert.Throws<RefusedException>(() => stream.MoveNext());

        Assert.Equal(ErrorCode.TargetUnreachable, refused.Code);
    }

    [Fact]
    public void A_cut_beyond_the_end_is_refused()
    {
        var wal = new MemoryWal();
        Lsn one = wal.Put(1, 1, "a"u8, "1"u8).Commit();
        using var stream = new ReplayStream(wal.Read(), OneTable(wal), one + 800);

        Assert.Equal(ErrorCode.TargetUnreachable, Assert.Throws<RefusedException>(() => stream.MoveNext()).Code);
    }

    [Fact]
    public void A_replay_that_stands_at_its_cut_reads_nothing_and_is_done()
    {
        var wal = new MemoryWal();
        Lsn one = wal.Put(1, 1, "a"u8, "1"u8).Commit();
        using var stream = new ReplayStream(new NoRecords(one), OneTable(wal), one);

        Assert.False(stream.MoveNext());
        Assert.True(stream.IsDone);
        Assert.Equal(one, stream.Progress.Through);
    }

    /// <summary>H34: at any start of replay no file above the cut takes part.</summary>
    [Fact]
    public void A_file_above_the_cut_takes_no_part()
    {
        var wal = new MemoryWal();
        Lsn one = wal.Put(1, 1, "a"u8, "1"u8).Commit();
        Lsn two = wal.Put(1, 1, "a"u8, "2"u8).Commit();
        var catalogue = new ReplayCatalogue(Lsn.Zero);
        catalogue.AddFile(FileId.Main, two);

        RefusedException refused =
            Assert.Throws<RefusedException>(() => new ReplayStream(wal.Read(), catalogue, one));

        Assert.Equal(ErrorCode.TargetUnreachable, refused.Code);
    }

    /// <summary>
    /// H43: the current control file's catalogue is beyond the target, and lacks what was dropped in between.
    /// </summary>
    [Fact]
    public void A_catalogue_above_the_cut_takes_no_part()
    {
        var wal = new MemoryWal();
        Lsn one = wal.Put(1, 1, "a"u8, "1"u8).Commit();

        RefusedException refused =
            Assert.Throws<RefusedException>(() => new ReplayStream(wal.Read(), new ReplayCatalogue(one + 8), one));

        Assert.Equal(ErrorCode.TargetUnreachable, refused.Code);
    }

    /// <summary>H23: any unknown id is an error.</summary>
    [Fact]
    public void A_record_that_names_an_unknown_file_is_damage()
    {
        var wal = new MemoryWal();
        wal.Put(9, 1, "a"u8, "1"u8).Commit();
        using var stream = new ReplayStream(wal.Read(), OneTable(wal), Lsn.MaxValue);

        Assert.Equal(ErrorCode.WalDamaged, Assert.Throws<DamageException>(() => stream.MoveNext()).Code);
    }

    /// <summary>H43: tables as well as files.</summary>
    [Fact]
    public void A_record_that_names_an_unknown_table_is_damage()
    {
        var wal = new MemoryWal();
        wal.Put(1, 9, "a"u8, "1"u8).Commit();
        using var stream = new ReplayStream(wal.Read(), OneTable(wal), Lsn.MaxValue);

        Assert.Equal(ErrorCode.WalDamaged, Assert.Throws<DamageException>(() => stream.MoveNext()).Code);
    }

    /// <summary>H23: dropped ids stay listed, and their records are passed over up to the drop.</summary>
    [Fact]
    public void Records_of_a_file_that_the_catalogue_lists_as_dropped_are_passed_over()
    {
        var wal = new MemoryWal();
        wal.Put(2, 5, "a"u8, "1"u8).Put(1, 1, "k"u8, "v"u8).Commit();
        Lsn drop = wal.Log(new WalEvent.DropDatafile(new FileId(2), "two"));
        wal.Put(1, 1, "k"u8, "w"u8).Commit();
        ReplayCatalogue catalogue = OneTable(wal, at: drop);
        catalogue.AddDroppedFile(new FileId(2), drop);
        catalogue.AddDroppedTable(new TableId(5), new FileId(2), drop);

        var model = new FileModel();
        using var stream = new ReplayStream(wal.Read(), catalogue, Lsn.MaxValue);
        model.Play(stream);

        Assert.Equal("1/1/k=w", model.Text());
        Assert.Equal(1, stream.Progress.Skipped);
    }

    /// <summary>
    /// H29: a file of the catalogue at C that was dropped before it was copied has no copy; it is gone at the stop.
    /// </summary>
    [Fact]
    public void A_file_that_was_dropped_before_it_was_copied_is_passed_over_up_to_its_drop()
    {
        var wal = new MemoryWal();
        wal.Put(2, 5, "a"u8, "1"u8).Commit();
        wal.Log(new WalEvent.CreateTable(new TableId(6), new FileId(2), "later"));
        wal.Put(2, 6, "a"u8, "1"u8).Put(1, 1, "k"u8, "v"u8).Commit();
        wal.Log(new WalEvent.DropDatafile(new FileId(2), "two"));
        ReplayCatalogue catalogue = OneTable(wal);
        catalogue.AddDroppedFile(new FileId(2), Lsn.MaxValue);
        catalogue.AddTable(new TableId(5), new FileId(2));

        var model = new FileModel();
        using var stream = new ReplayStream(wal.Read(), catalogue, Lsn.MaxValue);
        model.Play(stream);

        Assert.Equal("1/1/k=v", model.Text());
    }

    /// <summary>H43: the catalogue knows the drop, the file does not have it yet.</summary>
    [Fact]
    public void A_dropped_table_that_the_file_still_has_is_cut_from_the_file_alone()
    {
        var wal = new MemoryWal();
        Lsn put = wal.Put(1, 2, "old"u8, "1"u8).Commit();
        wal.Put(1, 2, "new"u8, "1"u8).Commit();
        Lsn drop = wal.Log(new WalEvent.DropTable(new TableId(2), FileId.Main, "t"));
        var catalogue = new ReplayCatalogue(drop);
        catalogue.AddFile(FileId.Main, put);
        catalogue.AddDroppedTable(new TableId(2), FileId.Main, drop);
        using var stream = new ReplayStream(wal.Read(), catalogue, Lsn.MaxValue);

        Assert.True(stream.MoveNext());
        ReplayStep.Ddl ddl = Assert.IsType<ReplayStep.Ddl>(stream.Current);
        Assert.False(ddl.IsNew);
        Assert.Equal(drop, ddl.Lsn);
        Assert.False(stream.MoveNext());
    }

    /// <summary>I10: what the parent holds beyond the fork is never read.</summary>
    [Fact]
    public void A_path_leaves_out_what_lies_beyond_a_fork()
    {
        var parent = new MemoryWal();
        Lsn fork = parent.Put(1, 1, "a"u8, "kept"u8).Commit();
        parent.Put(1, 1, "a"u8, "abandoned"u8).Commit();
        var child = new MemoryWal(parent.Timeline with
        {
            Timeline = new TimelineId(2),
            Lineage = new Lineage(0xB2),
            Parent = TimelineId.First,
            ForkLsn = fork,
            StartLsn = new Lsn(2 * 65_024),
        });
        child.Put(1, 1, "b"u8, "new"u8).Commit();
        var path = new PathReader([
            new PathLeg(
                parent.Timeline, () => new MemoryWalBytes(
                    parent.Timeline.StartLsn, parent.Bytes), parent.Timeline.StartLsn,
                fork, fork),
            new PathLeg(
                child.Timeline, () => new MemoryWalBytes(child.Timeline.StartLsn, child.Bytes), child.Timeline.StartLsn,
                Lsn.MaxValue, Lsn.Zero)]);

        var model = new FileModel();
        using var stream = new ReplayStream(path, OneTable(parent), Lsn.MaxValue);
        model.Play(stream);

        Assert.Equal("1/1/a=kept 1/1/b=new", model.Text());
    }

    private static ReplayCatalogue OneTable(MemoryWal wal, Lsn at = default)
    {
        var catalogue = new ReplayCatalogue(at);
        catalogue.AddFile(FileId.Main, wal.Timeline.StartLsn);
        catalogue.AddTable(new TableId(1), FileId.Main);
        return catalogue;
    }

    private static ReplayCatalogue StartOf(Load load)
    {
        var catalogue = new ReplayCatalogue(Lsn.Zero);
        catalogue.AddFile(FileId.Main, load.Wal.Timeline.StartLsn);
        return catalogue;
    }

    /// <summary>What the receivers make of the steps: files with keys, each at its own LSN.</summary>
    private sealed class FileModel
    {
        private readonly SortedDictionary<(uint File, uint Table, string Key), string> _rows = [];
        private readonly Dictionary<uint, Lsn> _has = [];

        public void Play(ReplayStream stream, int steps = int.MaxValue)
        {
            for (; steps > 0 && stream.MoveNext(); steps--)
            {
                switch (stream.Current)
                {
                    case ReplayStep.Changes changes:
                        Apply(changes.Batch);
                        changes.Batch.Recycle();
                        break;
                    case ReplayStep.Ddl ddl:
                        Apply(ddl);
                        break;
                    case ReplayStep.Barrier barrier:
                        Assert.True(barrier.Through >= _has.Values.DefaultIfEmpty().Max());
                        break;
                }
            }
        }

        /// <summary>The catalogue as of the start, and what the files have.</summary>
        public ReplayCatalogue Catalogue(Lsn start)
        {
            var catalogue = new ReplayCatalogue(Lsn.Zero);
            catalogue.AddFile(FileId.Main, Lsn.Max(start, _has.GetValueOrDefault(1u)));
            foreach ((uint file, Lsn has) in _has.Where(pair => pair.Key != 1))
                catalogue.AddUnborn(new FileId(file), has);
            return catalogue;
        }

        public string Text() => string.Join(
            ' ', _rows.Select(row => $"{row.Key.File}/{row.Key.Table}/{row.Key.Key}={row.Value}"));

        private void Apply(ReplayBatch batch)
        {
            byte[] last = [];
            while (batch.MoveNext())
            {
                Assert.True(last.AsSpan().SequenceCompareTo(batch.Key) < 0);
                last = batch.Key.ToArray();
                uint table = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(batch.Key);
                (uint, uint, string) key = (batch.File.Value, table, Encoding.UTF8.GetString(batch.Key[4..]));
                if (batch.IsDelete)
                    _rows.Remove(key);
                else
                    _rows[key] = Encoding.UTF8.GetString(batch.Value);
            }
            Assert.True(batch.ThroughLsn >= batch.LastLsn);
            _has[batch.File.Value] = batch.ThroughLsn;
        }

        private void Apply(ReplayStep.Ddl ddl)
        {
            switch (ddl.Event)
            {
                case WalEvent.CreateDatafile it:
                    _has[it.FileId.Value] = Lsn.Max(ddl.Lsn, _has.GetValueOrDefault(it.FileId.Value));
                    break;
                case WalEvent.DropDatafile it:
                    _has.Remove(it.FileId.Value);
                    Remove(key => key.File == it.FileId.Value);
                    break;
                case WalEvent.DropTable it when _has.GetValueOrDefault(it.FileId.Value) < ddl.Lsn:
                    Remove(key => key.Table == it.TableId.Value);
                    break;
            }
        }

        private void Remove(Func<(uint File, uint Table, string Key), bool> which)
        {
            foreach ((uint, uint, string) key in _rows.Keys.Where(which).ToArray())
                _rows.Remove(key);
        }
    }

    /// <summary>
    /// Random transactions over several files and tables that come and go, with the state after each record.
    /// </summary>
    private sealed class Load(int seed)
    {
        private readonly Random _random = new(seed);
        private readonly SortedDictionary<(uint File, uint Table, string Key), string> _rows = [];
        private readonly Dictionary<uint, uint> _tables = [];
        private readonly List<uint> _files = [1];
        private uint _nextFile = 2;
        private uint _nextTable = 1;

        public MemoryWal Wal { get; } = new();
        public List<(Lsn Cut, string State)> States { get; } = [];

        public void Run(int records)
        {
            while (States.Count < records)
            {
                Lsn lsn = _random.Next(20) switch
                {
                    0 => CreateFile(),
                    1 when _files.Count > 1 => DropFile(),
                    2 or 3 => CreateTable(),
                    4 when _tables.Count > 0 => DropTable(),
                    5 => Wal.Log(new WalEvent.Heartbeat()),
                    _ when _tables.Count > 0 => Commit(),
                    _ => CreateTable(),
                };
                States.Add((lsn, string.Join(
                    ' ', _rows.Select(row => $"{row.Key.File}/{row.Key.Table}/{row.Key.Key}={row.Value}"))));
            }
        }

        private Lsn CreateFile()
        {
            uint file = _nextFile++;
            _files.Add(file);
            return Wal.Log(
                new WalEvent.CreateDatafile(new FileId(file), $"f{file}", $"f{file}.pitr", new Incarnation(file)));
        }

        private Lsn DropFile()
        {
            uint file = _files[_random.Next(1, _files.Count)];
            _files.Remove(file);
            foreach (uint table in _tables.Where(pair => pair.Value == file).Select(pair => pair.Key).ToArray())
                _tables.Remove(table);
            Remove(key => key.File == file);
            return Wal.Log(new WalEvent.DropDatafile(new FileId(file), $"f{file}"));
        }

        private Lsn CreateTable()
        {
            uint table = _nextTable++;
            uint file = _files[_random.Next(_files.Count)];
            _tables.Add(table, file);
            return Wal.Log(new WalEvent.CreateTable(new TableId(table), new FileId(file), $"t{table}"));
        }

        private Lsn DropTable()
        {
            (uint table, uint file) = _tables.ElementAt(_random.Next(_tables.Count));
            _tables.Remove(table);
            Remove(key => key.Table == table);
            return Wal.Log(new WalEvent.DropTable(new TableId(table), new FileId(file), $"t{table}"));
        }

        private Lsn Commit()
        {
            for (int n = _random.Next(1, 6); n > 0; n--)
            {
                (uint table, uint file) = _tables.ElementAt(_random.Next(_tables.Count));
                string key = _random.Next(12).ToString(CultureInfo.InvariantCulture);
                if (_random.Next(4) == 0)
                {
                    Wal.Delete(file, table, Encoding.UTF8.GetBytes(key));
                    _rows.Remove((file, table, key));
                }
                else
                {
                    string value = _random.Next(1000).ToString(CultureInfo.InvariantCulture);
                    Wal.Put(file, table, Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(value));
                    _rows[(file, table, key)] = value;
                }
            }
            return Wal.Commit();
        }

        private void Remove(Func<(uint File, uint Table, string Key), bool> which)
        {
            foreach ((uint, uint, string) key in _rows.Keys.Where(which).ToArray())
                _rows.Remove(key);
        }
    }
}
