namespace Pitr.Storage;

/// <summary>
/// Holds work back that takes processors from commits, such as a backup's reading and hashing: while commits go on, all
/// of it together takes at most a share of them.
/// </summary>
/// <remarks>
/// A copy that is bounded by the disk alone takes a processor whole, and on two of them half of the commits. So its worker
/// pauses in proportion to what its pieces took; where there are many processors it never does.
/// STATE  of one worker: when its present piece began, and what it owes: pauses shorter than <see cref="PauseMin"/> are
/// put together, since a timer is no finer.
/// THREADS  one.
/// </remarks>
/// <param name="clock">The time.</param>
/// <param name="isHeldBack">True while commits go on, and the work can wait.</param>
/// <param name="pause">Waits; called with <see cref="RateLimit.PieceMax"/> at most.</param>
/// <param name="part">Of the time that the worker may work beside commits; above 0; 1 and more: all of it.</param>
internal sealed class ProcessorShare(
    TimeProvider clock, Func<bool> isHeldBack, Action<TimeSpan> pause, double part)
{
    /// <summary>The shortest pause that is made.</summary>
    public static readonly TimeSpan PauseMin = TimeSpan.FromMilliseconds(4);

    /// <summary>A piece counts as no longer than this: what took longer has waited for a disk.</summary>
    public static readonly TimeSpan PieceMax = TimeSpan.FromMilliseconds(10);

    private long _began = clock.GetTimestamp();
    private TimeSpan _owed;

    /// <summary>The part of one worker of several that together may take a share of all processors.</summary>
    /// <param name="share">Of all processors; above 0, at most 1.</param>
    /// <param name="processors">How many there are.</param>
    /// <param name="busyThreads">How many the workers would keep busy, if nothing held them back.</param>
    public static double PartOf(double share, int processors, double busyThreads) => share * processors / busyThreads;

    /// <summary>Called by the worker when it goes on with a piece, unless it does so right behind the one before.</summary>
    public void BeginPiece() => _began = clock.GetTimestamp();

    /// <summary>Called by the worker after each piece of its work; waits.</summary>
    public void EndPiece()
    {
        TimeSpan took = clock.GetElapsedTime(_began);
        if (part < 1)
            _owed += (took < PieceMax ? took : PieceMax) * ((1 / part) - 1);
        while (_owed >= PauseMin && isHeldBack())
        {
            TimeSpan now = _owed < RateLimit.PieceMax ? _owed : RateLimit.PieceMax;
            pause(now);
            _owed -= now;
        }

        if (_owed >= PauseMin)
            _owed = TimeSpan.Zero;
        BeginPiece();
    }
}
