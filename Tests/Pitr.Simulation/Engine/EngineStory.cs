namespace Pitr.Simulation;

/// <summary>
/// A scripted life on the level of the engine: what random clients seldom come to. The actors, their order, the disk, the
/// crashes and the checks are those of every other run; only what the clients do, and when, is written down.
/// </summary>
/// <param name="Name">One word: what <c>--only</c> takes.</param>
/// <param name="Set">What of a seed's settings it needs otherwise.</param>
/// <param name="Tell">The clients of a life; its number comes second.</param>
/// <remarks>
/// INVARIANT  a story does what users and disks may do, and requires what is promised to everybody: it knows no mutation.
/// </remarks>
internal sealed partial record EngineStory(
    string Name, Func<EngineSettings, EngineSettings> Set, Func<EngineLife, ClientRandom, Task> Tell)
{
    /// <summary>Seeds of each that a bounded run explores: each is another order.</summary>
    public const int SeedsOfEach = 3;

    /// <summary>Of a thousand changes of the disk, before how many a crash is taken where the story is not at its point.</summary>
    public const int CrashesPerMille = 4;

    /// <summary>Lives, each beginning where the story or a crash of the one before has left the database.</summary>
    public int Lives { get; init; } = 1;
}
