namespace Pitr.Actors;

/// <summary>
/// The end of a set that is made outside of the engine, for whoever waits for an answer of its keeper: that it came, and
/// why.
/// </summary>
/// <remarks>THREADS  <see cref="End"/> is the keeper's, once; the rest is anybody's.</remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "The token source outlives the keeper in those who wait for its answers.")]
internal sealed class SetEnding
{
    private readonly CancellationTokenSource _ended = new();
    private volatile Problem? _why;

    /// <summary>Cancelled when the keeper is no more.</summary>
    public CancellationToken Token => _ended.Token;

    /// <summary>Why it ended; null until then.</summary>
    public Problem? Why => _why;

    public void End(Problem why)
    {
        _why = why;
        _ended.Cancel();
    }
}
