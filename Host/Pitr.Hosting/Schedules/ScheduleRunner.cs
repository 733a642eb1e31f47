using Pitr.Actors;
using Serilog;

namespace Pitr.Hosting;

/// <summary>Runs the schedules of an open database until it is disposed of.</summary>
/// <remarks>
/// TIMES    a schedule waits for its next time, looked at each minute, so that a clock that is set is followed. When the
///          work is done it waits for the next one behind that moment: what passed meanwhile is left out.
/// MISSED   times that passed since the last run, and a run that was cut off, are made up for by one run at the start
///          (as anacron does, and systemd's Persistent=true). A schedule that is new has missed nothing.
/// ORDER    of one run: its beginning is noted durably · the work · its end is noted. A process that dies in between has
///          not noted the end, so the next one begins it again.
/// END      a run is cancelled, and counts as missed. Nothing of it goes on when the disposal has ended.
/// FAILURE  a run that fails is told and comes again at its next time; notes that can't be written are told, and the run
///          goes on.
/// THREADS  a task for each schedule; of each kind of work one at a time.
/// </remarks>
internal sealed class ScheduleRunner : IAsyncDisposable
{
    private static readonly TimeSpan LookAtLeast = TimeSpan.FromMinutes(1);

    private readonly EngineContext _engine;
    private readonly Func<PitrSchedule, CancellationToken, Task<string>> _run;
    private readonly IReadOnlyList<ScheduleTimes> _schedules;
    private readonly IReadOnlyCollection<string> _keys;
    private readonly ScheduleNotes _notes;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _ended;
    private readonly Dictionary<ScheduledWork, SemaphoreSlim> _turns = Enum.GetValues<ScheduledWork>()
        .ToDictionary(static work => work, static _ => new SemaphoreSlim(1, 1));
    private readonly Lock _gate = new(); // protects what is shown
    private readonly ScheduleStatus[] _shown;
    private readonly Task _loops;
    private int _isDisposed;

    private ScheduleRunner(
        EngineContext engine, Func<PitrSchedule, CancellationToken, Task<string>> run,
        IReadOnlyList<ScheduleTimes> schedules, ILogger log, CancellationToken ended)
    {
        (_engine, _run, _schedules, _log) = (engine, run, schedules, log);
        _keys = [.. schedules.Select(static one => one.Key)];
        _notes = new ScheduleNotes(engine.FileSystem, engine.Folder);
        _ended = CancellationTokenSource.CreateLinkedTokenSource(ended);
        _shown = [.. schedules.Select(ShownOf)];
        _loops = Task.WhenAll(schedules.Select((schedule, n) => Task.Run(() => LoopAsync(schedule, n))));
    }

    /// <summary>Begins; null without schedules, and of a database that is open for reading only.</summary>
    /// <param name="database">Open.</param>
    /// <param name="schedules">What to do.</param>
    /// <param name="log">Where runs are told.</param>
    /// <param name="run">What is done; null: the work.</param>
    /// <param name="ended">Ends it as its disposal does; the disposal is needed all the same.</param>
    public static ScheduleRunner? Start(
        PitrDatabase database, IReadOnlyList<ScheduleTimes> schedules, ILogger log,
        Func<PitrSchedule, CancellationToken, Task<string>>? run = null, CancellationToken ended = default) =>
        schedules.Count == 0 || database.Actors.IsReadOnly
            ? null
            : new ScheduleRunner(
                database.Engine, run ?? new ScheduledJobs(database).RunAsync, schedules, log, ended);

    /// <summary>Cancels what runs, and waits for its end.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
            return;
        await _ended.CancelAsync().ConfigureAwait(false);
        await _loops.ConfigureAwait(false);
        _ended.Dispose();
        foreach (SemaphoreSlim turn in _turns.Values)
            turn.Dispose();
    }

    private DateTimeOffset Now => _engine.Clock.GetUtcNow();

    private async Task LoopAsync(ScheduleTimes schedule, int place)
    {
        try
        {
            DateTimeOffset? due = FirstDue(schedule);
            while (due is { } at)
            {
                Show(place, shown => shown with { NextAt = at, IsRunning = false });
                await UntilAsync(at).ConfigureAwait(false);
                await RunAsync(schedule, place).ConfigureAwait(false);
                due = schedule.After(Now);
            }
            Show(place, shown => shown with { NextAt = null, IsRunning = false });
        }
        catch (OperationCanceledException) when (_ended.IsCancellationRequested)
        {
            // It is over.
        }
    }

    private DateTimeOffset? FirstDue(ScheduleTimes schedule)
    {
        DateTimeOffset now = Now;
        if (_notes.Of(schedule.Key) is not { } note)
        {
            Put(new ScheduleNote(schedule.Key, now)); // so that what it misses from now on is known
            return schedule.After(now);
        }
        bool wasCutOff = note is { Began: not null, Ended: null };
        if (!wasCutOff && !(schedule.After(note.Seen) <= now))
            return schedule.After(now);
        _log.Warning(
            "The scheduled {Work} to {Store} was missed while the database was not open: it runs now",
            schedule.Says.Run, schedule.Says.Store);
        return now;
    }

    private async Task UntilAsync(DateTimeOffset at)
    {
        while (at - Now is var left && left > TimeSpan.Zero)
            await Task.Delay(left < LookAtLeast ? left : LookAtLeast, _engine.Clock, _ended.Token).ConfigureAwait(false);
        _ended.Token.ThrowIfCancellationRequested();
    }

    private async Task RunAsync(ScheduleTimes schedule, int place)
    {
        SemaphoreSlim turn = _turns[schedule.Says.Run];
        await turn.WaitAsync(_ended.Token).ConfigureAwait(false);
        try
        {
            await RunInTurnAsync(schedule, place).ConfigureAwait(false);
        }
        finally
        {
            turn.Release();
        }
    }

    private async Task RunInTurnAsync(ScheduleTimes schedule, int place)
    {
        PitrSchedule says = schedule.Says;
        (DateTimeOffset began, long since) = (Now, _engine.Clock.GetTimestamp());
        Put(new ScheduleNote(schedule.Key, began) { Began = began });
        Show(place, shown => shown with { IsRunning = true, NextAt = null });
        _log.Information("The scheduled {Work} to {Store} begins", says.Run, says.Store);
        string? failure = null;
        try
        {
            string done = await _run(says, _ended.Token).ConfigureAwait(false);
            _log.Information("The scheduled {Work} to {Store} is done: {Done}", says.Run, says.Store, done);
        }
        catch (Exception ended) when (IsTheEnd(ended))
        {
            _log.Warning("The scheduled {Work} to {Store} was cut off by the end; the next start does it", says.Run, says.Store);
            throw new OperationCanceledException("The schedules have ended.", ended, _ended.Token);
        }
        catch (Exception error) // whatever it is, the schedule goes on
        {
            failure = error.Message;
            _log.Error(error, "The scheduled {Work} to {Store} failed", says.Run, says.Store);
        }
        TimeSpan took = _engine.Clock.GetElapsedTime(since);
        Put(new ScheduleNote(schedule.Key, began) { Began = began, Ended = Now, Failure = failure });
        _engine.Metrics.NoteSchedule(says.Run, took, failure is null ? "ended" : "failed");
        Show(place, shown => shown with
        {
            IsRunning = false,
            LastBeganAt = began,
            LastSeconds = took.TotalSeconds,
            LastError = failure,
        });
    }

    /// <summary>It was cancelled, or the engine is being stopped by somebody else.</summary>
    private bool IsTheEnd(Exception error)
    {
        if (error is RefusedException { Code: ErrorCode.ShuttingDown })
            _ended.Cancel();
        return _ended.IsCancellationRequested;
    }

    private void Put(ScheduleNote note)
    {
        try
        {
            _notes.Put(note, _keys);
        }
        catch (StorageFailedException failed)
        {
            _log.Warning("What is settled of the schedules could not be noted: {Why}", failed.Message);
        }
    }

    // ---- status ------------------------------------------------------------------------------------

    private ScheduleStatus ShownOf(ScheduleTimes schedule)
    {
        ScheduleNote? note = _notes.Of(schedule.Key);
        return new ScheduleStatus(
            schedule.Says.Run, schedule.Says.Cron, schedule.Says.Store, schedule.After(Now), note?.Began,
            note is { Began: { } began, Ended: { } ended } ? (ended - began).TotalSeconds : null, note?.Failure, false);
    }

    private void Show(int place, Func<ScheduleStatus, ScheduleStatus> change)
    {
        lock (_gate)
        {
            _shown[place] = change(_shown[place]);
            _engine.Schedules = [.. _shown];
        }
    }
}
