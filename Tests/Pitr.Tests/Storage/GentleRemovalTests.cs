using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class GentleRemovalTests
{
    private const int Mebi = 1 << 20;

    private readonly FakeTimeProvider _clock = new();
    private readonly SimulatedDisk _disk = new();
    private readonly PacedWriter _writer;

    public GentleRemovalTests()
    {
        _writer = new PacedWriter(_clock, _clock.Advance);
        _disk.CreateFolder("/db");
    }

    [Fact]
    public void A_large_file_loses_its_name_durably_and_then_its_content_in_steps()
    {
        Make("/db/a", 40 * Mebi);
        Remove("/db/a");
        Assert.Equal(
            $"delete db/a\nsync folder db\nset length db/a {24 * Mebi}\nset length db/a {8 * Mebi}\n", _disk.Log.Text());
        Assert.Null(_disk.Stat("/db/a"));
    }

    [Fact]
    public void A_small_file_is_removed_at_once()
    {
        Make("/db/a", 16 * Mebi);
        Remove("/db/a");
        Assert.Equal("delete db/a\n", _disk.Log.Text());
    }

    /// <summary>GR1. A hard link is as good a copy as any that somebody made of a fenced file.</summary>
    [Fact]
    public void A_file_with_another_name_keeps_its_content()
    {
        Make("/db/a", 40 * Mebi);
        _disk.Link("/db/a", "/db/b");
        Remove("/db/a");
        Assert.Equal(40L * Mebi, _disk.Stat("/db/b")!.LengthBytes);
    }

    /// <summary>GR1. Whatever was seen before: the file itself says how many names it has.</summary>
    [Fact]
    public void A_file_that_has_a_name_after_all_is_closed_and_not_cut()
    {
        Make("/db/a", 40 * Mebi);
        _disk.Log.Start();
        using (var file = new NamelessFile(_disk.Open("/db/a", FileOpen.ReadWrite), _disk.TryLock("/db/a")!))
            file.Cut(_writer, CancellationToken.None);
        Assert.Equal("", _disk.Log.Text());
        Assert.Equal(40L * Mebi, _disk.Stat("/db/a")!.LengthBytes);
        Assert.Equal((0, 0), (_disk.OpenHandleCount, _disk.HeldLockCount));
    }

    /// <summary>GR1. A reader that was held up would take a file that is cut for a damaged one (H41).</summary>
    [Fact]
    public void A_file_that_somebody_may_still_read_keeps_its_content_until_that_one_closes_it()
    {
        Make("/db/a", 40 * Mebi);
        using IDisposable? reader = _disk.TryLock("/db/a");
        using IFileHandle file = _disk.Open("/db/a", FileOpen.Read);
        Remove("/db/a");
        Assert.Null(_disk.Stat("/db/a"));
        Assert.Equal(40L * Mebi, file.LengthBytes);
    }

    [Fact]
    public void A_file_that_can_not_be_cut_is_gone_all_the_same()
    {
        Make("/db/a", 40 * Mebi);
        _disk.Faults.On(FileOp.SetLength).Fail(Errno.EIO);
        Remove("/db/a");
        Assert.Null(_disk.Stat("/db/a"));
    }

    [Fact]
    public void Beside_commits_it_waits_before_each_step()
    {
        for (int i = 0; i < 64; i++)
            _writer.ReportWalSync(TimeSpan.FromMilliseconds(0.15));
        Make("/db/a", 80 * Mebi);
        long from = _clock.GetTimestamp();
        Remove("/db/a");
        Assert.Equal(4 * PacedWriter.CutStep, _clock.GetElapsedTime(from));
    }

    [Fact]
    public void Whoever_ends_it_gets_the_rest_back_at_once()
    {
        Make("/db/a", 80 * Mebi);
        using NamelessFile left = GentleRemoval.Unlink(_disk, "/db/a", _writer.CutBytes)!;
        _disk.Log.Start();
        left.Cut(_writer, new CancellationToken(canceled: true));
        Assert.Equal("", _disk.Log.Text());
        left.Dispose();
        Assert.Equal(0, _disk.OpenHandleCount);
    }

    private void Make(string path, long lengthBytes)
    {
        using IFileHandle file = _disk.Open(path, FileOpen.CreateNew);
        file.SetLength(lengthBytes);
    }

    private void Remove(string path)
    {
        _disk.Log.Start();
        using NamelessFile? left = GentleRemoval.Unlink(_disk, path, _writer.CutBytes);
        left?.Cut(_writer, CancellationToken.None);
        _disk.Log.Stop();
    }
}
