using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>The disk that a crash left, and what it must contain at the least.</summary>
/// <param name="Disk">As power loss or a kill left it.</param>
/// <param name="Acknowledged">Every commit at or below it was acknowledged.</param>
/// <param name="Where">For a failure's message.</param>
/// <param name="Lost">The datafile that its own disk has lost: it may need recovery. Null: none.</param>
internal sealed record EngineCrash(SimulatedDisk Disk, Lsn Acknowledged, string Where, string? Lost);

/// <summary>
/// Takes crashes of a life that goes on beside them: copies of its disk, before operations that change it.
/// </summary>
internal sealed class EngineCrashes(World world, WorldDisk disk, int perMille, int most)
{
    private readonly List<EngineCrash> _taken = [];

    public IReadOnlyList<EngineCrash> Taken => _taken;

    /// <summary>Few operations, of which each might be the last one.</summary>
    public bool IsCritical { get; set; }

    /// <summary>None is taken meanwhile: nobody could mend what one would leave.</summary>
    public bool IsPaused { get; set; }

    /// <summary>The datafile that its own disk has lost, until it is brought back; null: none.</summary>
    public string? Lost { get; set; }

    /// <summary>The greatest LSN that a caller was told.</summary>
    public Lsn Acknowledged { get; private set; }

    /// <summary>A caller was told that all up to here is durable.</summary>
    public void Acknowledge(Lsn at)
    {
        if (at > Acknowledged)
            Acknowledged = at;
    }

    public void Begin(string life) => disk.BeforeChange = () =>
    {
        if (!IsPaused && _taken.Count < most && world.Draw(1000) < (IsCritical ? Math.Max(perMille, 250) : perMille))
            Take(life);
    };

    public void End() => disk.BeforeChange = null;

    /// <summary>Takes one now.</summary>
    public void Take(string life)
    {
        bool isPowerLoss = world.Draw(100) < 75;
        long seed = world.Draw(int.MaxValue);
        SimulatedDisk left = isPowerLoss ? disk.Inner.CrashCopy(seed) : disk.Inner.KillCopy();
        string where = FormattableString.Invariant(
            $"{life}, {(isPowerLoss ? "power loss" : "kill")} before operation {disk.Inner.OperationCount + 1}");
        world.Note("crash", where);
        _taken.Add(new EngineCrash(left, Acknowledged, where, Lost));
    }
}
