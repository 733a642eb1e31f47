using System.Runtime.CompilerServices;
using Microsoft.Extensions.Time.Testing;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class PacedWriterTests : IDisposable
{
    private const int Mebi = 1 << 20;

    private readonly FakeTimeProvider _clock = new();
    private readonly MemoryFile _file = new();
    private readonly PacedWriter _writer;
    private TimeSpan _delayed;
    private TimeSpan _longestDelay;
    private Action? _onDelay;

    public PacedWriterTests() => _writer = new PacedWriter(_clock, Delay);

    public void Dispose() => _file.Dispose();

    [Fact]
    public void Each_chunk_is_at_most_a_mebibyte_and_written_back()
    {
        _writer.Write(_file, 4096, new byte[2 * Mebi + 5]);
        Assert.Equal([(4096L, Mebi), (4096L + Mebi, Mebi), (4096L + 2 * Mebi, 5)], _file.Writes);
        Assert.Equal([(4096L, Mebi), (4096L + Mebi, Mebi), (4096L + 2 * Mebi, 5L)], _file.Writebacks);
    }

    /// <summary>The disk writes one while the next is copied to it; a sync of the WAL waits for no more.</summary>
    [Fact]
    public void Beside_commits_two_chunks_are_in_flight_at_most()
    {
        Commit(0.15);
        _file.OnWriteback = () => Assert.InRange(_file.Writebacks.Count - _file.AwaitedWritebacks.Count, 0, 1);
        _writer.Write(_file, 0, new byte[3 * Mebi]);
        Assert.Contains((0L, (long)Mebi), _file.AwaitedWritebacks);
    }

    [Fact]
    public void Without_commits_eight_chunks_are_in_flight_at_most()
    {
        _file.OnWriteback = () => Assert.InRange(_file.Writebacks.Count - _file.AwaitedWritebacks.Count, 0, 7);
        _writer.Write(_file, 0, new byte[10 * Mebi]);
        Assert.Equal(
            [(0L, (long)Mebi), (Mebi, (long)Mebi), (2 * Mebi, (long)Mebi)], _file.AwaitedWritebacks);
    }

    [Fact]
    public void A_range_of_another_file_is_copied_in_chunks_and_written_back()
    {
        using var origin = new MemoryFile();
        byte[] bytes = new byte[3 * Mebi];
        new Random(1).NextBytes(bytes);
        origin.Write(0, bytes);
        Assert.Equal(2 * Mebi + 5, _writer.Copy(origin, _file, 100, 2 * Mebi + 5));
        Assert.Equal([(100L, Mebi), (100L + Mebi, Mebi), (100L + 2 * Mebi, 5)], _file.Writes);
        Assert.Equal(_file.Writes.Select(write => (write.Offset, (long)write.LengthBytes)), _file.Writebacks);
        byte[] copy = new byte[2 * Mebi + 5];
        _file.Read(100, copy);
        Assert.Equal(bytes[100..(100 + copy.Length)], copy);
        Assert.Equal(Mebi, _writer.Copy(origin, _file, 2 * Mebi, 5 * Mebi)); // it ends there
    }

    [Fact]
    public void Nothing_is_in_flight_while_it_waits_for_its_rate()
    {
        SlowDown();
        _onDelay = () => Assert.Equal(_file.Writebacks.Count, _file.AwaitedWritebacks.Count);
        _writer.Write(_file, 0, new byte[2 * Mebi]);
        Assert.True(_delayed > TimeSpan.Zero);
    }

    [Fact]
    public void Beside_commits_never_more_than_eight_mebibytes_are_not_synced()
    {
        Commit(0.15);
        _writer.Write(_file, 0, new byte[20 * Mebi]);
        Assert.Equal(2, _file.Syncs);
        _writer.Sync(_file);
        _writer.Write(_file, 0, new byte[7 * Mebi]);
        Assert.Equal(3, _file.Syncs);
    }

    [Fact]
    public void Without_commits_never_more_than_256_mebibytes_are_not_synced()
    {
        _writer.Write(_file, 0, new byte[600 * Mebi]);
        Assert.Equal(2, _file.Syncs);
        Commit(0.15);
        _writer.Write(_file, 0, new byte[10]); // 88 MiB are more than eight
        Assert.Equal(3, _file.Syncs);
    }

    /// <summary>A database writes a segment or an object each second, for years.</summary>
    [Fact]
    public void Nothing_is_kept_of_a_handle_that_nobody_holds()
    {
        WeakReference[] written = [.. Enumerable.Range(0, 8).Select(_ => WriteOne())];
        for (int attempt = 0; attempt < 10 && written.Any(handle => handle.IsAlive); attempt++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.DoesNotContain(written, handle => handle.IsAlive);
        Assert.False(_writer.HasFailed(_file));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private WeakReference WriteOne()
    {
        using var file = new MemoryFile();
        _writer.Write(file, 0, new byte[10]);
        return new WeakReference(file);
    }

    /// <summary>H11: an error from the write-back is a failed sync; nothing is written or synced after it.</summary>
    [Fact]
    public void After_a_failed_writeback_the_handle_is_not_used_again()
    {
        _file.OnWriteback = () => throw MemoryFile.InputOutputError();
        Assert.Throws<StorageFailedException>(() => _writer.Write(_file, 0, new byte[10]));
        _file.OnWriteback = null;
        Assert.Throws<StorageFailedException>(() => _writer.Sync(_file));
        Assert.Throws<StorageFailedException>(() => _writer.Write(_file, 0, new byte[10]));
        Assert.Single(_file.Writes);
        Assert.Equal(0, _file.Syncs);
    }

    /// <summary>H11.</summary>
    [Fact]
    public void After_a_writeback_that_failed_when_it_was_awaited_the_handle_is_not_used_again()
    {
        _file.OnAwaitedWriteback = () => throw MemoryFile.InputOutputError();
        Assert.Throws<StorageFailedException>(() => _writer.Write(_file, 0, new byte[9 * Mebi]));
        _file.OnAwaitedWriteback = null;
        Assert.Throws<StorageFailedException>(() => _writer.Sync(_file));
        Assert.Throws<StorageFailedException>(() => _writer.Write(_file, 0, new byte[10]));
        Assert.Equal(0, _file.Syncs);
    }

    [Fact]
    public void After_a_failed_sync_the_handle_is_not_used_again()
    {
        _file.OnSync = () => throw MemoryFile.InputOutputError();
        Assert.Throws<StorageFailedException>(() => _writer.Sync(_file));
        _file.OnSync = null;
        Assert.Throws<StorageFailedException>(() => _writer.Sync(_file));
    }

    [Fact]
    public void Without_commits_there_is_no_limit()
    {
        _writer.Write(_file, 0, new byte[100 * Mebi]);
        Assert.Equal(TimeSpan.Zero, _delayed);
        Assert.Equal(double.PositiveInfinity, _writer.BytesPerSecond);
    }

    /// <summary>Commits wait for a new WAL segment: the pace of a flush must not hold it back.</summary>
    [Fact]
    public void What_is_urgent_never_waits()
    {
        SlowDown();
        _writer.WriteUrgent(_file, 0, new byte[16 * Mebi]);
        Assert.Equal(TimeSpan.Zero, _delayed);
    }

    /// <summary>
    /// The WAL's own bandwidth comes as new segments: what is paced would never be written if it waited for that to be
    /// paid off at a low rate.
    /// </summary>
    [Fact]
    public void What_is_urgent_does_not_hold_back_what_is_paced()
    {
        SlowDown();
        for (int i = 0; i < 16; i++)
            _writer.WriteUrgent(_file, 0, new byte[16 * Mebi]);
        _writer.Write(_file, 0, new byte[10]);
        Assert.InRange(_delayed, TimeSpan.Zero, TimeSpan.FromMilliseconds(63)); // of the chunk before
    }

    /// <summary>A wait is decided by the rate when it began: a long one would outlast the load that it was for.</summary>
    [Fact]
    public void At_the_least_rate_no_single_wait_is_longer_than_that_of_a_chunk()
    {
        SlowDown();
        _longestDelay = TimeSpan.Zero;
        _writer.Write(_file, 0, new byte[2 * Mebi]);
        Assert.InRange(_longestDelay, TimeSpan.FromMilliseconds(20), TimeSpan.FromMilliseconds(63));
    }

    [Fact]
    public void Syncs_of_the_wal_that_are_slow_beside_its_chunks_slow_it_down()
    {
        SlowDown();
        Assert.Equal(BulkRate.BytesPerSecondMin, _writer.BytesPerSecond);
        _writer.Write(_file, 0, new byte[10]); // after it nothing is left to be decided
        for (int i = 0; i < 20; i++)
            Commit(0.15);
        _writer.Write(_file, 0, new byte[10]);
        Assert.True(_writer.BytesPerSecond > BulkRate.BytesPerSecondMin);
    }

    private void Delay(TimeSpan delay)
    {
        _delayed += delay;
        _onDelay?.Invoke();
        _longestDelay = delay > _longestDelay ? delay : _longestDelay;
        _clock.Advance(delay);
    }

    /// <summary>To the least rate, by syncs that are slow while a chunk is in flight.</summary>
    private void SlowDown()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        _file.OnWriteback = () =>
        {
            for (int i = 0; i < 8; i++)
                Commit(10);
        };
        for (int i = 0; i < 20; i++)
            _writer.Write(_file, 0, new byte[10]);
        _file.OnWriteback = null;
        _delayed = TimeSpan.Zero;
    }

    private void Commit(double syncMilliseconds)
    {
        _clock.Advance(TimeSpan.FromMilliseconds(syncMilliseconds + 5));
        _writer.ReportWalSync(TimeSpan.FromMilliseconds(syncMilliseconds));
    }
}
