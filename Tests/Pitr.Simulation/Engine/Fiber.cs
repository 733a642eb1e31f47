namespace Pitr.Simulation;

/// <summary>
/// A thread that runs only while it holds the baton: of all fibers of a world exactly one goes on at a time, until it
/// gives the baton away. So a step can stop in its middle, at an operation on the disk, and others go on meanwhile.
/// </summary>
internal sealed class Fiber
{
    [ThreadStatic]
    private static Fiber? s_current;

    private readonly Baton _baton = new();
    private readonly Thread _thread;
    private World? _world;

    private Fiber() =>
        _thread = new Thread(Live, maxStackSize: 1 << 20) { IsBackground = true, Name = "fiber" };

    /// <summary>The fiber that the calling thread is; null if it is none.</summary>
    public static Fiber? Current => s_current;

    /// <summary>It has the baton, and its thread waits for another one: asked from outside.</summary>
    public bool IsBlocked => !_baton.IsGiven && (_thread.ThreadState & ThreadState.WaitSleepJoin) != 0;

    /// <summary>What it is in the middle of.</summary>
    public Strand? Strand { get; set; }

    public static Fiber Start()
    {
        var fiber = new Fiber();
        fiber._thread.Start();
        return fiber;
    }

    /// <summary>Gets the baton, to look for the next step of a world.</summary>
    public void Begin(World world)
    {
        _world = world;
        _baton.Give();
    }

    /// <summary>Gets the baton back in the middle of its step.</summary>
    public void Resume() => _baton.Give();

    /// <summary>Stops the calling fiber until it gets the baton.</summary>
    public void AwaitBaton() => _baton.Take();

    private void Live()
    {
        s_current = this;
        while (true)
        {
            _baton.Take();
            _world!.Go(this);
        }
    }
}

/// <summary>Fibers without work, kept from one world to the next.</summary>
internal sealed class FiberPool
{
    private readonly Stack<Fiber> _idle = new();

    public Fiber Take()
    {
        lock (_idle)
        {
            if (_idle.TryPop(out Fiber? fiber))
                return fiber;
        }

        return Fiber.Start();
    }

    public void Return(Fiber fiber)
    {
        lock (_idle)
            _idle.Push(fiber);
    }
}
