using Microsoft.Extensions.Time.Testing;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class ProcessorShareTests
{
    private readonly FakeTimeProvider _clock = new();
    private TimeSpan _paused;
    private bool _commitsGoOn = true;

    private ProcessorShare Share(double part) => new(_clock, () => _commitsGoOn, Pause, part);

    private void Pause(TimeSpan pause)
    {
        Assert.InRange(pause, ProcessorShare.PauseMin, RateLimit.PieceMax);
        _paused += pause;
        _clock.Advance(pause);
    }

    private void Work(ProcessorShare share, int pieces, double milliseconds)
    {
        for (int i = 0; i < pieces; i++)
        {
            _clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
            share.EndPiece();
        }
    }

    [Theory]
    [InlineData(0.2, 400)]
    [InlineData(0.5, 100)]
    [InlineData(1, 0)]
    [InlineData(2.4, 0)] // of twelve processors
    public void Beside_commits_a_worker_works_a_part_of_the_time(double part, double milliseconds)
    {
        Work(Share(part), pieces: 100, milliseconds: 1);
        Assert.InRange(_paused.TotalMilliseconds, milliseconds - 4, milliseconds);
    }

    [Fact]
    public void Without_commits_and_between_its_pieces_nothing_is_held_back()
    {
        ProcessorShare share = Share(0.2);
        _commitsGoOn = false;
        Work(share, pieces: 100, milliseconds: 1);
        _commitsGoOn = true;
        _clock.Advance(TimeSpan.FromSeconds(5)); // a rate limit's wait
        share.BeginPiece();
        share.EndPiece();
        Assert.Equal(TimeSpan.Zero, _paused);
    }

    [Fact]
    public void A_piece_that_has_waited_for_a_disk_counts_as_a_short_one()
    {
        Work(Share(0.5), pieces: 1, milliseconds: 60_000);
        Assert.Equal(ProcessorShare.PieceMax, _paused);
    }

    [Theory]
    [InlineData(2, 2, 0.1)] // one copy, with the thread that hashes
    [InlineData(2, 4, 0.05)]
    [InlineData(32, 2, 1.6)]
    public void All_workers_of_a_backup_together_have_a_tenth_of_the_processors(int processors, int busyThreads, double part) =>
        Assert.Equal(part, ProcessorShare.PartOf(PaceBesideCommits.OfBackup, processors, busyThreads), 6);
}
