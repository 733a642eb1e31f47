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

    private double _fillOfBuffers;

    public PacedWriterTests() => _writer = new PacedWriter(_clock, Delay, () => _fillOfBuffers);

    public void Dispose() => _file.Dispose();

    [Fact]
    public void Each_chunk_is_at_most_a_mebibyte_and_written_back()
    {
        _writer.Write(_file, 4096, new byte[2 * Mebi + 5]);
        Assert.Equal([(4096L, Mebi), (4096L + Mebi, Mebi), (4096L + 2 * Mebi, 5)], _file.Writes);
        Assert.Equal([(4096L, Mebi), (4096L + Mebi, Mebi), (4096L + 2 * Mebi, 5L)], _file.Writebacks);
    }

    [Fact]
    public void Never_more_than_eight_mebibytes_are_dirty()
    {
        _writer.Write(_file, 0, new byte[20 * Mebi]);
        Assert.Equal(2, _file.Syncs);
        _writer.Sync(_file);
        _writer.Write(_file, 0, new byte[7 * Mebi]);
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

    [Fact]
    public void The_rate_halves_while_wal_syncs_are_slow_and_recovers_after()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        for (int i = 0; i < 20; i++)
            WriteAndCommit(1.0);
        double slow = _writer.BytesPerSecond;
        Assert.True(slow < 64.0 * Mebi, $"{slow} bytes per second.");
        Assert.True(slow >= PacedWriter.BytesPerSecondMin);
        for (int i = 0; i < 40; i++)
            WriteAndCommit(0.15);
        Assert.True(_writer.BytesPerSecond > slow);
        _clock.Advance(TimeSpan.FromSeconds(2));
        _writer.Write(_file, 0, new byte[10]);
        Assert.Equal(double.PositiveInfinity, _writer.BytesPerSecond);
    }

    /// <summary>Commits wait for a new WAL segment: the pace of a flush must not hold it back.</summary>
    [Fact]
    public void What_is_urgent_never_waits()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        for (int i = 0; i < 40; i++)
            WriteAndCommit(1.0);
        Assert.Equal(PacedWriter.BytesPerSecondMin, _writer.BytesPerSecond);
        _delayed = TimeSpan.Zero;
        _writer.WriteUrgent(_file, 0, new byte[16 * Mebi]);
        Assert.Equal(TimeSpan.Zero, _delayed);
        _writer.Write(_file, 0, new byte[10]); // comes after what was urgent
        Assert.True(_delayed > TimeSpan.FromSeconds(1));
    }

    [Fact]
    public void Wal_syncs_of_the_usual_length_do_not_slow_it_down()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        for (int i = 0; i < 400; i++)
        {
            double before = _writer.BytesPerSecond;
            WriteAndCommit(0.2);
            Assert.True(i == 0 || _writer.BytesPerSecond >= before);
        }
        Assert.Equal(double.PositiveInfinity, _writer.BytesPerSecond);
    }

    /// <summary>A burst before the first look at the WAL's syncs would be the longest wait of all.</summary>
    [Fact]
    public void Beside_commits_the_first_write_is_paced()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        _writer.Write(_file, 0, new byte[Mebi]);
        Assert.Equal(PacedWriter.BytesPerSecondAtFirst, _writer.BytesPerSecond);
    }

    [Fact]
    public void One_slow_sync_alone_does_not_halve_the_rate()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        for (int i = 0; i < 10; i++)
            WriteAndCommit(0.15);
        double before = _writer.BytesPerSecond;
        WriteAndCommit(100);
        WriteAndCommit(0.15);
        WriteAndCommit(0.15);
        Assert.True(_writer.BytesPerSecond > before);
    }

    /// <summary>Commits that wait for room in the write buffers wait for the flush.</summary>
    [Fact]
    public void The_fuller_the_write_buffers_the_higher_is_the_least_rate()
    {
        for (int i = 0; i < 64; i++)
            Commit(0.15);
        for (int i = 0; i < 40; i++)
            WriteAndCommit(1.0);
        Assert.Equal(PacedWriter.BytesPerSecondMin, _writer.BytesPerSecond);
        foreach ((double fill, double floor) in new[] { (0.25, 1.0), (0.35, 16), (0.4, 64) })
        {
            _fillOfBuffers = fill;
            for (int i = 0; i < 10; i++)
                WriteAndCommit(1.0);
            Assert.Equal(PacedWriter.BytesPerSecondMin * floor, _writer.BytesPerSecond, 1.0);
        }
        _fillOfBuffers = 0.5; // commits are held back
        for (int i = 0; i < 10; i++)
            WriteAndCommit(1.0);
        Assert.Equal(PacedWriter.BytesPerSecondMax, _writer.BytesPerSecond, 1.0);
    }

    private void Delay(TimeSpan delay)
    {
        _delayed += delay;
        _clock.Advance(delay);
    }

    private void WriteAndCommit(double syncMilliseconds)
    {
        _writer.Write(_file, 0, new byte[2 * Mebi]);
        Commit(syncMilliseconds);
    }

    private void Commit(double syncMilliseconds)
    {
        _clock.Advance(TimeSpan.FromMilliseconds(20));
        _writer.ReportWalSync(TimeSpan.FromMilliseconds(syncMilliseconds));
    }
}
