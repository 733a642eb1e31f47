namespace Pitr.Simulation;

/// <summary>
/// Makes a failing seed of the engine level smaller: fewer lives, fewer kinds of clients, as long as it fails in any
/// way.
/// </summary>
/// <remarks>
/// Clients draw from generators of their own, but the order in which they go on changes with each that is left out, so
/// a smaller run is simply tried. Each try has a house of its own: a failed run may leave something in one.
/// </remarks>
internal static class EngineMinimiser
{
    /// <summary>The least that still fails.</summary>
    public static EngineLimits Least(long seed, EngineLimits from)
    {
        EngineLimits least = from;
        while (least.Lives > 1 && Fails(seed, least with { Lives = least.Lives - 1 }))
            least = least with { Lives = least.Lives - 1 };
        foreach (string kind in EngineLimits.Kinds)
        {
            EngineLimits smaller = least with { Without = [.. least.Without, kind] };
            if (least.Has(kind) && Fails(seed, smaller))
                least = smaller;
        }

        return least;
    }

    private static bool Fails(long seed, EngineLimits limits)
    {
        try
        {
            new EngineRun(seed, limits: limits).Run();
            return false;
        }
        catch (SimulationFailure)
        {
            return true;
        }
    }
}
