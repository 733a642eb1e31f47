using System.Globalization;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// Random lives of a log on a disk that loses, tears and reorders what was not synced: groups, switches, recycling,
/// kills, power losses, also while opening. Whatever was acknowledged is there; of the group that was under way a
/// prefix of whole records may be there; nothing else ever is (H2, H3, H4, H5, H6).
/// </summary>
public sealed class WalCrashTests
{
    [Theory]
    [InlineData(0, 60)]
    [InlineData(1000, 60)]
    [InlineData(2000, 60)]
    public void What_was_synced_survives_and_what_was_not_does_not_come_back(int firstSeed, int seeds)
    {
        for (int seed = firstSeed; seed < firstSeed + seeds; seed++)
        {
            try
            {
                new Lives(seed).Run();
            }
            catch (Exception cause)
            {
                throw new InvalidOperationException(
                    string.Create(CultureInfo.InvariantCulture, $"Seed {seed}: {cause}"), cause);
            }
        }
    }

    /// <summary>One record as the oracle knows it.</summary>
    private readonly record struct Known(Lsn Lsn, ulong TransactionId);

    private sealed class Lives(int seed)
    {
        private const int LivesEach = 6;

        private SeededRandom _random = new(seed); // a struct: not readonly
        private readonly List<Known> _acknowledged = [];
        private readonly List<Known> _underWay = [];
        private SimulatedDisk _disk = new(seed);
        private ulong _lastTransaction;
        private Lsn _redo = new(4096 - 512);
        private Lsn _knownEnd = new(4096 - 512);
        private DateTimeOffset _time = new(2026, 8, 22, 12, 0, 0, TimeSpan.Zero);

        public void Run()
        {
            _disk.CreateFolders(TestLog.FolderPath);
            for (int life = 0; life < LivesEach; life++)
            {
                _disk.CrashAt(_disk.OperationCount + 1 + _random.Next(life == 0 ? 250 : 120));
                try
                {
                    Live();
                }
                catch (SimulatedCrashException)
                {
                }
                catch (StorageFailedException failed) when (failed.InnerException is SimulatedCrashException)
                {
                }
                // A kill may come first: the next power loss then takes what the killed one wrote and never synced.
                _disk = _random.Chance(40) ? _disk.KillCopy() : _disk.CrashCopy((long)(_random.NextBits() >> 1));
            }
            using Opened last = Open();
        }

        private void Live()
        {
            using Opened log = Open();
            WalAppender appender = log.Result.Appender;
            log.Folder.EnsureReady();
            while (true)
            {
                if (_random.Chance(10))
                    Switch(log.Folder, appender);
                else
                    AppendGroup(log.Folder, appender);
                if (_random.Chance(15))
                    Checkpoint(log.Folder, appender);
            }
        }

        private void AppendGroup(WalFolder folder, WalAppender appender)
        {
            int[] lengths = new int[1 + _random.Next(6)];
            for (int n = 0; n < lengths.Length; n++)
                lengths[n] = 64 + (8 * _random.Next(_random.Chance(10) ? 1500 : 60));
            while (!appender.CanHold(lengths.Sum()))
                folder.EnsureReady(folder.ReadyCount + appender.SegmentsMissing(lengths.Sum()));
            _time = _time.AddTicks(1);
            appender.BeginGroup(_time, _time);
            _underWay.Clear();
            foreach (int length in lengths)
            {
                byte[] record = TestLog.Record(length, ++_lastTransaction);
                Lsn lsn = appender.Stage(record, WalRecordKind.Transaction, new TransactionId(_lastTransaction), 1,
                    RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes)));
                _underWay.Add(new Known(lsn, _lastTransaction));
            }
            appender.WriteAndSync();
            Acknowledge();
        }

        private void Switch(WalFolder folder, WalAppender appender)
        {
            folder.EnsureReady();
            Lsn boundary = folder.Geometry.BoundaryAtOrAbove(appender.NextLsn);
            if (boundary == appender.NextLsn)
                return;
            long rest = Math.Max(boundary - appender.NextLsn, RecordCodec.HeaderBytes);
            _underWay.Clear();
            _underWay.Add(new Known(appender.NextLsn + rest, 0));
            appender.Switch();
            Acknowledge();
        }

        /// <summary>The redo point and the known end move, and segments before go or are recycled.</summary>
        private void Checkpoint(WalFolder folder, WalAppender appender)
        {
            _knownEnd = appender.DurableLsn;
            _redo = _random.Chance(30) ? appender.DurableLsn : appender.LastGroupStart;
            // What follows a redo point is chained to the record that ends there; it stays until there is one above.
            Lsn kept = Lsn.Min(_redo, appender.LastGroupStart);
            SegmentName[] gone = [.. folder.List().Where(name => folder.Geometry.StartOf(name.Number + 1) <= kept)];
            if (_random.Chance(50))
                folder.Recycle(gone);
            else
                folder.Remove(gone);
            folder.EnsureReady();
        }

        private void Acknowledge()
        {
            _acknowledged.AddRange(_underWay);
            _underWay.Clear();
        }

        private Opened Open()
        {
            var folder = new WalFolder(_disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.First);
            WalOpened opened = WalOpening.Open(new WalOpeningRequest
            {
                Folder = folder,
                TimelineStart = folder.Geometry.FirstLsn,
                RedoLsn = _redo,
                KnownEnd = _knownEnd,
                LastCommitTime = _time,
            });
            Compare(folder, opened);
            return new Opened(folder, opened);
        }

        private void Compare(WalFolder folder, WalOpened opened)
        {
            List<Known> found = [];
            foreach (WalReplayPart part in opened.Replay)
            {
                using var reader = new WalReader(new FolderWalBytes(folder, part.Identity), part.Range);
                while (reader.MoveNext())
                {
                    WalRecord record = reader.Current;
                    found.Add(new Known(record.Lsn, record.TransactionId.Value));
                    if (record.Kind == WalRecordKind.Transaction)
                    {
                        byte[] written = TestLog.Record(record.Bytes.Length, record.TransactionId.Value);
                        Assert.True(record.Body.SequenceEqual(written.AsSpan(RecordCodec.HeaderBytes)));
                    }
                }
                Assert.Equal("E1", reader.End!.Row);
            }
            List<Known> acknowledged = [.. _acknowledged.Where(known => known.Lsn > _redo)];
            Assert.True(found.Count >= acknowledged.Count, "An acknowledged record is missing.");
            Assert.Equal(acknowledged, found[..acknowledged.Count]);
            List<Known> more = found[acknowledged.Count..];
            Assert.Equal(_underWay[..more.Count], more);
            Assert.Equal(found.Count > 0 ? found[^1].Lsn : _redo, opened.End);
            _acknowledged.AddRange(more); // from now on they are shown, so they must stay
            _underWay.Clear();
        }
    }

    private sealed record Opened(WalFolder Folder, WalOpened Result) : IDisposable
    {
        public void Dispose()
        {
            Result.Appender.Dispose();
            Folder.Dispose();
        }
    }
}
