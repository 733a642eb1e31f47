using System.Runtime.CompilerServices;
using Akka.Dispatch;

namespace Pitr.Simulation;

/// <summary>
/// Everything that goes on in one run from one seed: which step is next, what time it is, and what happened.
/// </summary>
/// <remarks>
/// A step is one message of an actor, a piece of work, a timer, or what a client does between two awaits. One step runs
/// at a time. It may stop in its middle (<see cref="Pause"/>, <see cref="Yield"/>, <see cref="GiveWay"/>) and others
/// go on. Which of those that are ready is next is drawn (<see cref="Strand.NextOrder"/>); time jumps to the next timer
/// when none is ready.
/// INVARIANTS
///   N1  Nothing comes into the world but from the fiber that holds the baton: whatever else calls in is a thread, a
///       timer or a continuation that nobody put into the seed's hands, and ends the run with its stack.
///   N2  If nothing is ready and no timer is set, somebody waits for ever: the run fails.
///   N3  A step waits for no thread: one that does holds a lock over a step. That is told by the thread's state, and
///       never by how long a step takes, which is the machine's matter.
/// </remarks>
internal sealed class World
{
    private static readonly TimeSpan LongestLife = TimeSpan.FromHours(3);
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(2);
    private const int LooksMax = 30;

    private readonly FiberPool _fibers;
    private readonly PriorityQueue<Ready, (ulong Order, string Name)> _ready = new();
    private readonly List<Fiber> _yielded = [];
    private readonly List<(ManualResetEventSlim Until, Fiber Fiber)> _waiting = [];
    private readonly Baton _isOver = new();
    private readonly Strand _script = new("script");
    private SeededRandom _random;
    private Fiber? _running;
    private Ready? _handed; // the next step, for the fiber that gets the baton
    private Task? _task;
    private Exception? _failure;
    private long _yieldsInARow;
    private long _batons; // how often one was given

    public World(long seed, FiberPool fibers)
    {
        _fibers = fibers;
        _random = new SeededRandom(seed * 7919 + 17);
        Seed = _random.NextBits();
        Clock = new VirtualClock(this);
    }

    public ulong Seed { get; }

    public VirtualClock Clock { get; }

    public Transcript Transcript { get; } = new();

    /// <summary>What actors have logged as errors.</summary>
    public List<Akka.Event.Error> Errors { get; } = [];

    /// <summary>Steps so far.</summary>
    public long Steps { get; private set; }

    /// <summary>Whose step runs.</summary>
    public Strand Current
    {
        get
        {
            RequireInside();
            return _running!.Strand!;
        }
    }

    /// <summary>True if nothing is ready: all wait for timers or for each other.</summary>
    public bool IsQuiet => _ready.Count == 0 && _yielded.Count == 0 && _waiting.Count == 0;

    /// <summary>Runs the script and all that it sets going, until it ends.</summary>
    /// <exception cref="SimulationFailure">Somebody waits for ever, or something came from outside.</exception>
    public void Run(Func<Task> script)
    {
        _task = null;
        Enqueue(_script, (Action)(() => _task = script()));
        Fiber first = _fibers.Take();
        _running = first;
        first.Begin(this);
        AwaitEnd();
        if (_failure is not null)
            throw new SimulationFailure(_failure.Message, _failure);
        _task!.GetAwaiter().GetResult();
    }

    /// <summary>N3: looks from outside whether the fiber that has the baton waits, again and again in one place.</summary>
    private void AwaitEnd()
    {
        (long Steps, long Batons) before = default;
        for (int looks = 0; !_isOver.Take(Look); looks++)
        {
            (long Steps, long Batons) now = (Steps, Volatile.Read(ref _batons));
            if (now != before || _running is not { IsBlocked: true })
                looks = 0;
            before = now;
            if (looks > LooksMax)
                throw new SimulationFailure("A lock is held over a step: a fiber waits for a thread.", _failure);
        }
    }

    /// <summary>Adds a step that is ready.</summary>
    public void Post(Strand strand, Action run)
    {
        RequireInside();
        Enqueue(strand, run);
    }

    /// <summary>Adds the step of an actor.</summary>
    public void Post(Strand strand, IRunnable run)
    {
        RequireInside();
        Enqueue(strand, run);
    }

    public void Note(string what, string? of = null, long a = -1, long b = -1) =>
        Transcript.Add(Clock.Now, _running!.Strand!.Name, what, of, a, b);

    /// <summary>A number from the seed, in the order in which it is asked for.</summary>
    public int Draw(int below) => _random.Next(below);

    /// <summary>Ends the run.</summary>
    public void Fail(Exception why) => _failure ??= why;

    // ---- inside a step ---------------------------------------------------------------------------------

    /// <summary>Others may go on before the step does.</summary>
    public void GiveWay()
    {
        Fiber me = Me();
        Enqueue(me.Strand!, me);
        Stop(me);
    }

    /// <summary>The step goes on after so long.</summary>
    public void Pause(TimeSpan time)
    {
        Fiber me = Me();
        new VirtualTimer(this, () => Enqueue(me.Strand!, me)).Change(time, Timeout.InfiniteTimeSpan);
        Stop(me);
    }

    /// <summary>The step looks again after others went on.</summary>
    public void Yield()
    {
        Fiber me = Me();
        _yielded.Add(me);
        Stop(me);
    }

    /// <summary>The step goes on when the event is set.</summary>
    public void Wait(ManualResetEventSlim until)
    {
        if (until.IsSet)
            return;
        Fiber me = Me();
        _waiting.Add((until, me));
        Stop(me);
    }

    /// <summary>A client goes on in a step of its own after the task has ended, whoever ended it.</summary>
    public WorldAwaiter On(Task task) => new(this, task);

    /// <summary>The same for one with a result.</summary>
    public WorldAwaiter<T> On<T>(Task<T> task) => new(this, task);

    /// <summary>Time for a client.</summary>
    public WorldAwaiter Delay(TimeSpan time) => new(this, Task.Delay(time, Clock));

    /// <summary>Some seconds in which all that was begun comes to rest.</summary>
    public async Task SettleAsync() => await Delay(TimeSpan.FromSeconds(5));

    /// <summary>A new thread of the script's that goes on beside the others.</summary>
    public Task Start(string name, Func<Task> client)
    {
        var done = new TaskCompletionSource();
        Post(new Strand(name), () => _ = LiveAsync(client, done));
        return done.Task;
    }

    private static async Task LiveAsync(Func<Task> client, TaskCompletionSource done)
    {
        try
        {
            await client().ConfigureAwait(false);
            done.SetResult();
        }
        catch (Exception error)
        {
            done.SetException(error);
        }
    }

    // ---- the loop --------------------------------------------------------------------------------------

    /// <summary>A fiber that has the baton takes step after step, until it gives the baton away.</summary>
    internal void Go(Fiber me)
    {
        while (true)
        {
            Ready? taken = _handed ?? TryNext();
            _handed = null;
            if (taken is not { } next)
            {
                _running = null;
                _fibers.Return(me);
                _isOver.Give();
                return;
            }

            if (next.What is Fiber other)
            {
                _running = other;
                _batons++;
                _fibers.Return(me);
                other.Resume();
                return;
            }

            try
            {
                Steps++;
                me.Strand = next.Strand;
                if (next.What is IRunnable mailbox)
                {
                    Note("runs");
                    mailbox.Run();
                }

                else
                    ((Action)next.What)();
            }
            catch (Exception error)
            {
                _failure ??= error;
            }
        }
    }

    /// <summary>Null if the run is over.</summary>
    private Ready? TryNext()
    {
        if (_failure is not null || _task is { IsCompleted: true })
            return null;
        try
        {
            return Next();
        }
        catch (Exception error)
        {
            _failure ??= error;
            return null;
        }
    }

    private Ready Next()
    {
        while (true)
        {
            while (Clock.TakeDue() is { } timer)
                Enqueue(timer.Strand, (Action)timer.Fire);
            for (int i = _waiting.Count - 1; i >= 0; i--)
            {
                if (!_waiting[i].Until.IsSet)
                    continue;
                Fiber fiber = _waiting[i].Fiber;
                _waiting.RemoveAt(i);
                Enqueue(fiber.Strand!, fiber);
            }

            if (_yielded.Count > 0 && (_ready.Count == 0 || _random.Chance(20)))
            {
                Fiber fiber = _yielded[0];
                _yielded.RemoveAt(0);
                if (_ready.Count == 0)
                    LetTimeGoOn();
                return new Ready(fiber.Strand!, fiber);
            }

            if (_ready.TryDequeue(out Ready next, out _))
            {
                _yieldsInARow = 0;
                return next;
            }

            if (Clock.NextDue is not { } due)
                throw new SimulationFailure("Nothing can go on: somebody waits for ever.");
            if (due > LongestLife)
                throw new SimulationFailure("Hours have passed: somebody waits for ever.");
            Clock.Jump(due);
        }
    }

    /// <summary>Only those are left that look again and again: what they wait for comes with time, or never.</summary>
    private void LetTimeGoOn()
    {
        if (++_yieldsInARow > 10_000)
            throw new SimulationFailure("A wait in a loop never ends.");
        if (_yieldsInARow > 2 * (_yielded.Count + 1) && Clock.NextDue is { } due)
            Clock.Jump(due > Clock.Now ? due : Clock.Now);
    }

    private void Enqueue(Strand strand, object what) =>
        _ready.Enqueue(new Ready(strand, what), (strand.NextOrder(this), strand.Name));

    private Fiber Me()
    {
        RequireInside();
        return _running!;
    }

    /// <summary>
    /// Gives the baton to whoever is next, and gets it back when the step is to go on. Who is next is found here: most
    /// often it is the caller itself, or another one in its middle, and threads are slow to change.
    /// </summary>
    private void Stop(Fiber me)
    {
        Ready? next = TryNext();
        _batons++;
        if (next is { What: Fiber other })
        {
            if (other == me)
                return;
            _running = other;
            other.Resume();
        }
        else
        {
            _handed = next;
            Fiber another = _fibers.Take();
            _running = another;
            another.Begin(this);
        }

        me.AwaitBaton();
    }

    private void RequireInside([CallerMemberName] string? asked = null)
    {
        if (Fiber.Current is { } me && me == _running)
            return;
        var stray = new SimulationFailure(
            $"{asked} was called from outside of the simulation:\n{Environment.StackTrace}");
        _failure ??= stray;
        throw stray;
    }

    private readonly record struct Ready(Strand Strand, object What);
}
