using System.Globalization;

namespace Pitr.Bench;

/// <summary>What the command line asked for.</summary>
internal sealed record BenchOptions(
    string Question, double Seconds, int Repetitions, bool Json, IReadOnlyList<string> Engines,
    IReadOnlyList<int> Writers, string Folder)
{
    /// <summary>How long the system is left alone before something is measured that its leftovers would disturb.</summary>
    public double SettleSeconds { get; init; } = 20;

    public const string Usage =
        "usage: bench commit|allocation|read|scan|replay|stall|fence|move|pgtar|backup|restore|recovery|archive|memory "
        + "[--seconds S] [--repetitions N] [--engines a,b] [--writers 1,64,1024] [--settle S] [--folder DIR] [--json]";

    public static BenchOptions? Parse(string[] args)
    {
        if (args.Length == 0 || args[0].StartsWith('-'))
            return null;
        int[] writers = args[0] is "fence" or "move" or "recovery" ? [64] : [1, 64, 1024];
        var options = new BenchOptions(args[0], 5, 1, false, BenchEngines.Names, writers, Path.GetTempPath());
        for (int i = 1; i < args.Length; i++)
        {
            if (args[i] == "--json")
            {
                options = options with { Json = true };
                continue;
            }

            if (i + 1 == args.Length)
                return null;
            string value = args[++i];
            switch (args[i - 1])
            {
                case "--seconds":
                    options = options with { Seconds = double.Parse(value, CultureInfo.InvariantCulture) };
                    break;
                case "--repetitions":
                    options = options with { Repetitions = int.Parse(value, CultureInfo.InvariantCulture) };
                    break;
                case "--settle":
                    options = options with { SettleSeconds = double.Parse(value, CultureInfo.InvariantCulture) };
                    break;
                case "--engines":
                    options = options with { Engines = value.Split(',') };
                    break;
                case "--writers":
                    options = options with
                    {
                        Writers =
                        [.. value.Split(',').Select(n => int.Parse(n, CultureInfo.InvariantCulture))]
                    };
                    break;
                case "--folder":
                    options = options with { Folder = value };
                    break;
                default:
                    return null;
            }
        }

        return options;
    }
}
