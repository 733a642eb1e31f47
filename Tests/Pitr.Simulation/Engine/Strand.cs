namespace Pitr.Simulation;

/// <summary>
/// One thing that goes on in steps: an actor, a worker, a client, a timer. Its steps come one after the other; when
/// the next of them is taken, beside those of others, is drawn from the seed.
/// </summary>
/// <remarks>
/// The draw is made of the seed, the strand's name and the number of its step, and of nothing else: so the order in
/// which Akka happens to tell the children of an actor, which comes from hash codes that differ between processes,
/// does not matter. Some strands live longer than a world (Akka's guardians): in each they begin anew.
/// </remarks>
internal sealed class Strand(string name)
{
    private readonly ulong _hash = Hash(name);
    private World? _world;
    private ulong _steps;
    private Strand? _timers;
    private Strand? _pool;

    public string Name { get; } = name;

    /// <summary>Its timers.</summary>
    public Strand Timers => _timers ??= new Strand(Name + " timer");

    /// <summary>What it has queued beside itself.</summary>
    public Strand Pool => _pool ??= new Strand(Name + " pool");

    /// <summary>The place of its next step among all that are ready: the least is taken first.</summary>
    public ulong NextOrder(World world)
    {
        if (_world != world)
            (_world, _steps) = (world, 0);
        return Mix(world.Seed ^ _hash ^ (++_steps * 0x9E3779B97F4A7C15UL));
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }

    /// <summary>FNV-1a: the same in each process.</summary>
    private static ulong Hash(string text)
    {
        ulong hash = 14695981039346656037;
        foreach (char c in text)
            hash = (hash ^ c) * 1099511628211;
        return hash;
    }
}
