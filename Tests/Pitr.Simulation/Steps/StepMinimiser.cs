using System.Globalization;

namespace Pitr.Simulation;

/// <summary>
/// Makes a failing seed smaller: fewer lives, fewer steps, fewer kinds of activities, as long as it fails in any way.
/// </summary>
/// <remarks>
/// Lives and steps draw from generators of their own, so that what is left out changes as little as possible of what is
/// kept; a kind that is left out changes what is drawn after it, so each smaller run is simply tried.
/// </remarks>
internal static class StepMinimiser
{
    /// <summary>Places of kinds in <see cref="StepLife"/>; the first, commits, always stays.</summary>
    private const int Kinds = 14;

    private const int TriesMax = 60;

    /// <summary>The one command that shows the failure again.</summary>
    public static string CommandFor(long seed, Func<StepSettings, StepSettings>? change, bool minimises)
    {
        StepSettings drawn = new StepRun(seed).Settings;
        StepSettings least = change is null ? drawn : change(drawn);
        if (minimises)
            least = Minimise(seed, least);
        string options = least.Against(drawn);
        return string.Create(
            CultureInfo.InvariantCulture, $"pitr-sim --seed {seed}{(options.Length == 0 ? "" : " " + options)}");
    }

    private static StepSettings Minimise(long seed, StepSettings from)
    {
        StepSettings least = from;
        int tries = 0;
        bool Try(StepSettings smaller)
        {
            if (tries++ >= TriesMax || !Fails(seed, smaller))
                return false;
            least = smaller;
            return true;
        }

        while (least.LivesMax > 1 && Try(least with { LivesMax = least.LivesMax - 1 })) { }
        for (int kind = 1; kind < Kinds; kind++)
        {
            if (!least.Without.Contains(kind))
                Try(least with { Without = [.. least.Without, kind] });
        }

        for (int less = least.StepsMax / 2; less > 0; less /= 2)
        {
            while (least.StepsMax > less && Try(least with { StepsMax = least.StepsMax - less })) { }
        }

        return least;
    }

    private static bool Fails(long seed, StepSettings settings)
    {
        try
        {
            new StepRun(seed, _ => settings).Run();
            return false;
        }
        catch (SimulationFailure)
        {
            return true;
        }
    }
}
