namespace Pitr.Simulation;

/// <summary>What a run with actors does at most: a failing seed is made smaller by these.</summary>
/// <param name="Lives">Lives of a seed.</param>
/// <param name="Without">Kinds of clients that are left out; of <see cref="Kinds"/>.</param>
internal sealed record EngineLimits(int Lives, IReadOnlyList<string> Without)
{
    /// <summary>Kinds of clients beside the writers, who always stay.</summary>
    public static readonly string[] Kinds =
        [
            "transactions", "reader", "ddl", "fences", "moves", "compacts", "maintenance", "backups", "tars", "mending",
            "stores", "sessions", "trouble",
        ];

    public static readonly EngineLimits None = new(3, []);

    /// <summary>The story that is told in the place of the clients; null: none.</summary>
    public EngineStory? Story { get; init; }

    /// <summary>What the command line has to say to get the same run.</summary>
    public string Options =>
        (Story is null ? "" : $" --only {Story.Name} --seeds 1")
        + (Lives == (Story?.Lives ?? None.Lives) ? "" : $" --lives {Lives}")
        + (Without.Count == 0 ? "" : $" --without {string.Join(',', Without)}");

    public bool Has(string kind) => !Without.Contains(kind);
}
