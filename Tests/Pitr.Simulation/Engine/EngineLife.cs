using System.Globalization;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// One life of a database between an opening and an end: clients that commit, read, fence, administer and meddle, all
/// at the same time, against the oracle.
/// </summary>
internal sealed partial class EngineLife
{
    public const string Store = "/store";

    private readonly EngineStage _stage;
    private readonly World _world;
    private readonly WorldDisk _disk;
    private readonly PitrDatabase _database;
    private readonly EngineHistory _history;
    private readonly EngineCrashes _crashes;
    private readonly EngineLimits _limits;
    private readonly long _seed;
    private readonly int _number;
    private readonly string _prefix;
    private readonly List<Table> _tables = [];
    private readonly List<Table> _everyTable = [];
    private readonly List<(PendingCommit Commit, List<ModelChange> Changes)> _unanswered = [];
    private readonly List<Action> _observations = [];
    private bool _mayFail;
    private bool _isOver;
    private bool _endsInOrder;
    private int _writersLeft;

    public EngineLife(
        EngineStage stage, WorldDisk disk, PitrDatabase database, EngineHistory history, EngineCrashes crashes,
        long seed, int number, EngineLimits limits)
    {
        _limits = limits;
        (_stage, _world, _disk, _database) = (stage, stage.World, disk, database);
        (_history, _crashes, _seed, _number, _prefix) = (history, crashes, seed, number, $"l{number}");
        foreach (ModelName name in history.Names)
        {
            if (!name.IsFile && database.TryGetTable(name.Name, out Table? table))
                _tables.Add(table);
        }

        _everyTable.AddRange(_tables);
    }

    /// <summary>Sets that were made: each with its stop.</summary>
    public List<BackupResult> Backups { get; } = [];

    /// <summary>All up to here is in the store.</summary>
    public Lsn Archived { get; private set; }

    /// <summary>The number of its timeline.</summary>
    public string Timeline { get; private set; } = "";

    /// <summary>The commit that the story goes back to after this life; null: some commit, or none.</summary>
    public Lsn? GoesBackTo { get; private set; }

    /// <summary>A disk whose copy of the database's folder somebody puts back after this life; null: nobody does.</summary>
    public SimulatedDisk? PutsBack { get; private set; }

    /// <summary>Conflicts that transactions met.</summary>
    public int Conflicts { get; private set; }

    private bool IsOver => _isOver || _database.Completion.IsCompleted;

    /// <summary>Makes the files and tables that a database begins with.</summary>
    public async Task BeginAsync()
    {
        await CreateTableAsync("t-main", "main");
        for (int i = 0; i < _stage.Settings.Sizes.MoreFiles; i++)
        {
            await CreateFileAsync($"f{i}");
            await CreateTableAsync($"t-f{i}", $"f{i}");
        }
    }

    /// <summary>Lives until its clients are done or the engine has failed, and closes it.</summary>
    public async Task RunAsync()
    {
        Timeline = _database.Actors.Timeline.Value.ToString(CultureInfo.InvariantCulture);
        _unfinishedBefore = UnfinishedSets();
        if (_limits.Story is { } story)
        {
            await _world.On(Start(story.Name, random => story.Tell(this, random)));
            await EndAsync();
            Settle();
            return;
        }

        (int clients, int commits) = _stage.Settings.Writers;
        _writersLeft = clients;
        List<Task> all = [];
        for (int i = 0; i < clients; i++)
            all.Add(Start($"writer {i}", random => WriteAsync(commits, random)));
        foreach (string kind in EngineLimits.Kinds.Where(_limits.Has))
            StartOf(kind, commits, all);
        await _world.On(Task.WhenAll(all));
        await EndAsync();
        Settle();
    }

    private void StartOf(string kind, int commits, List<Task> all)
    {
        if ((kind == "backups" && !_stage.Settings.Archives) || (kind == "tars" && !MakesTars))
            return;
        if (kind == "transactions")
            _writersLeft++;
        all.Add(Start(kind, kind switch
        {
            "transactions" => random => TransactAsync(commits, random),
            "reader" => ReadAsync,
            "ddl" => ChangeCatalogueAsync,
            "fences" => FenceAsync,
            "moves" => MoveAsync,
            "compacts" => CompactAsync,
            "maintenance" => MaintainAsync,
            "backups" => BackUpAsync,
            "tars" => MakeTarsAsync,
            "mending" => MendAsync,
            "stores" => ChangeStoresAsync,
            "sessions" => AdministerAsync,
            _ => MakeTroubleAsync,
        }));
    }

    private Task Start(string name, Func<ClientRandom, Task> client) => _world.Start(
        $"{_prefix} {name}", () => client(new ClientRandom(_seed ^ (name.Length * 7919) ^ name[^1])));

    /// <summary>What a client asks for, if it is not refused because of an end or of trouble.</summary>
    private async Task<(bool IsDone, T? Answer)> TryAsync<T>(string what, Func<Task<T>> ask)
    {
        _world.Note("asks", what);
        try
        {
            T answer = await _world.On(ask());
            _world.Note("has", what);
            return (true, answer);
        }
        catch (ConflictException)
        {
            Conflicts++;
            _world.Note("conflict", what);
        }
        catch (BugException)
        {
            throw;
        }
        catch (OperationCanceledException)
        {
            _world.Note("cancelled", what);
        }
        catch (PitrException refused) when (_mayFail || IsOver || IsOrdinary(refused))
        {
            _world.Note("refused", $"{what}: {refused.Code}");
        }

        return (false, default);
    }

    /// <summary>Refusals that others' doings explain.</summary>
    private bool IsOrdinary(PitrException refused) =>
        (_storeWasAway && refused is StorageFailedException)
        || _isInTheWay
        || (_stage.Settings.Disk.SlowPercent > 0 && refused.Code == ErrorCode.TimedOut)
        || (_stage.Settings.FencedWalBytesMax <= 1 << 20 && refused.Code == ErrorCode.BackupVoid)
        || (_stage.Settings.ArchiveLagBytesMax is not null && refused.Code == ErrorCode.ArchiveBehind)
        || (_stage.Settings.MayHaveGaps && refused.Code is ErrorCode.WalGap or ErrorCode.CommitNotArchived)
        || refused.Code is ErrorCode.TableUnknown or ErrorCode.DatafileUnknown or ErrorCode.SnapshotTooOld
            or ErrorCode.FenceBroken or ErrorCode.FenceUnknown or ErrorCode.DatafileFenced
            or ErrorCode.MoveRefused or ErrorCode.MoveUnderWay or ErrorCode.MoveCancelled
            or ErrorCode.CompactRefused or ErrorCode.CompactUnderWay or ErrorCode.CompactCancelled;

    // ---- the end ---------------------------------------------------------------------------------------

    private async Task EndAsync()
    {
        _world.Note("all clients are done");
        bool isAlive = !_database.Completion.IsCompleted;
        if (isAlive && !_mayFail && !_storeIsAway)
            await RequireArchivedAsync();
        _isOver = true;
        bool isPowerOff = !_endsInOrder && _world.Draw(100) < 40;
        if (isPowerOff)
            _disk.Inner.PowerOff();
        try
        {
            await _world.On(_database.ShutdownAsync(force: isPowerOff || (!_endsInOrder && _world.Draw(100) < 50)));
            if (_database.ArchiveLeft is null && _stage.Settings.Archives)
                Archived = _database.Engine.DurableLsn;
        }
        catch (Exception error) when (
            error is not BugException and not SimulationFailure && (_mayFail || isPowerOff || !isAlive))
        {
            _world.Note("ended", error.GetType().Name);
        }

        _disk.Inner.Faults.Clear();
        await _stage.RequireNothingLeftAsync(_disk.Inner);
        if (isAlive && !isPowerOff && !_mayFail && !_storeWasAway)
            RequireNoSetIsLeft();
        await _world.Delay(TimeSpan.FromMilliseconds(1)); // all that was said has been noted
    }

    /// <summary>The store works: what was acknowledged is in it within the longest pause between two tries.</summary>
    private async Task RequireArchivedAsync()
    {
        if (!_stage.Settings.Archives)
            return;
        Lsn must = _crashes.Acknowledged;
        string lacks = "";
        for (int second = 0; second < 70; second++)
        {
            (bool isDone, EngineStatus? status) = await TryAsync("status", () => _database.GetStatusAsync());
            if (IsOver)
                return;
            if (isDone && status!.Archive.All(static store => store.LagBytes == 0))
            {
                RequireNoHoles();
                Archived = must;
                return;
            }

            lacks = status is null ? lacks : string.Join(", ", status.Archive);
            await _world.Delay(TimeSpan.FromSeconds(1));
        }

        if (_stage.Settings.Disk.SlowPercent == 0)
            throw new SimulationFailure($"70 s after the store has come back it lacks {lacks}.");
    }

    private void RequireNoHoles()
    {
        foreach (string store in Stores)
            EngineCheck.RequireNoHole(_disk.Inner, _database.Engine.Folder, store, _stage.Settings.MayHaveGaps || store == Second);
    }

    /// <summary>Every LSN is known now: what was seen is compared with what it should have been.</summary>
    private void Settle()
    {
        foreach ((PendingCommit commit, List<ModelChange> changes) in _unanswered)
        {
            if (commit.Result.Lsn.Value > 0)
                _history.Commit(commit.Result.Lsn, changes, null);
        }

        _history.CheckTimes();
        foreach (Action observation in _observations)
            observation();
        foreach (Akka.Event.Error error in _world.Errors)
        {
            if (!IsExpected(error.Cause))
                throw new SimulationFailure($"An actor has failed: {error.Message}", error.Cause);
        }

        _world.Errors.Clear();
    }

    private bool IsExpected(Exception? cause) => cause switch
    {
        null => true,
        BugException => false,
        PitrException or SimulatedCrashException => _mayFail || _isOver,
        Akka.Actor.ActorKilledException => _hasKilled,
        AggregateException several => several.InnerExceptions.All(IsExpected),
        _ => false,
    };
}

/// <summary>A client's own chance: an object, so that it can be handed on through awaits.</summary>
internal sealed class ClientRandom(long seed)
{
    private SeededRandom _random = new(seed);

    public int Next(int below) => _random.Next(below);

    public bool Chance(int percent) => _random.Chance(percent);

    public T Of<T>(IReadOnlyList<T> list) => list[_random.Next(list.Count)];

    /// <summary>Some time, mostly short.</summary>
    public TimeSpan Time(int longestMilliseconds) =>
        TimeSpan.FromMilliseconds(_random.Next(_random.Chance(70) ? 5 : longestMilliseconds));
}
