using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// One life of a database between an opening and a crash: activities in turns that a seed interleaves, and mailboxes
/// that it delivers when it likes.
/// </summary>
/// <remarks>
/// A turn is what an actor or worker does at once. A crash may come between any two operations on the disk, so also
/// within a turn.
/// </remarks>
internal sealed class StepLife
{
    private const int ActivitiesMax = 6;
    private const int TurnsMax = 20_000; // many times what the longest activity takes

    private readonly StepScene _scene;
    private readonly List<(StepActivity Activity, IEnumerator<Turn> Turns)> _running = [];
    private readonly (int Weight, Func<StepActivity?> Make)[] _kinds;
    private readonly int _weights;

    public StepLife(StepScene scene)
    {
        _scene = scene;
        StepSettings settings = scene.Settings;
        _kinds =
        [
            (40, () => new StepCommit(scene)),
            (8, () => scene.IsCheckpointing ? new StepFlush(scene, scene.AnyFile()) : new StepCheckpoint(scene)),
            (3, () => new StepSwitch(scene)),
            (3, () => new StepFence(scene, scene.AnyFile(), lasts: 2 + scene.Next(8))),
            (4, () => new StepSnapshot(scene)),
            (4, () => new StepTransaction(scene)),
            (3, () => StepDdl.Any(scene)),
            (settings.HasArchive ? 12 : 0, () => new StepShip(scene)),
            (settings.HasArchive ? 1 : 0, () => new StepStoreOutage(scene)),
            (settings.HasArchive && !scene.IsBackingUp ? settings.BackupWeight : 0, () => scene.IsBackingUp ? null : new StepBackup(scene)),
            (settings.HasArchive ? settings.RestoreWeight : 0, () => scene.IsRestoring ? null : new StepRestore(scene)),
            (settings.HasArchive ? settings.RestoreWeight : 0, () => new StepCopy(scene)),
            (1, () => new StepFullDisk(scene)),
            (3, () => new StepReader(scene)),
            (settings.FlushWeight, () => new StepFlush(scene, scene.AnyFile())),
            (3, () => new StepMove(scene, scene.AnyFile())),
            (4, () => scene.FencedFile() is { } fenced ? new StepSpill(scene, fenced) : null),
            (settings.TarWeight, () => new StepTar(scene)),
            (settings.HasArchive && settings.BackupWeight > 0 ? 1 : 0, () => new StepExpire(scene)),
            (3, () => new StepCompact(scene, scene.AnyFile())),
        ];
        if (settings.Without.Length > 0)
        {
            for (int i = 1; i < _kinds.Length; i++)
                _kinds[i].Weight = settings.Without.Contains(i) ? 0 : _kinds[i].Weight;
        }

        _weights = _kinds.Sum(static kind => kind.Weight);
    }

    /// <summary>Makes the files and tables that a database begins with.</summary>
    public void Begin()
    {
        for (int i = 0; i < _scene.Settings.MoreFiles; i++)
            RunToEnd(new StepCreateDatafile(_scene));
        foreach (StepFile file in _scene.Engine.Files.ToArray())
            RunToEnd(new StepCreateTable(_scene, file.Id));
        if (_scene.Settings is { HasArchive: true, BackupWeight: > 0 })
            RunToEnd(new StepBackup(_scene));
    }

    /// <summary>Takes one step.</summary>
    public void Step()
    {
        int choice = _scene.Next(100);
        if (_scene.Engine.ReturnRoom() || (choice < 30 && _scene.Deliver()))
            return;
        if (_running.Count > 0 && choice < 65)
        {
            int turn = _scene.Next(_running.Count);
            if (!_running[turn].Turns.MoveNext())
                _running.RemoveAt(turn);
            return;
        }

        int weight = _running.Count >= ActivitiesMax ? 0 : _scene.Next(_weights);
        int kind = 0;
        while (weight >= _kinds[kind].Weight)
            weight -= _kinds[kind++].Weight;
        if (_kinds[kind].Make() is { } activity)
            Start(activity);
    }

    /// <summary>Begins an activity with its first turn.</summary>
    public void Start(StepActivity activity)
    {
        _running.Add((activity, activity.Run().GetEnumerator()));
        if (!_running[^1].Turns.MoveNext())
            _running.RemoveAt(_running.Count - 1);
    }

    /// <summary>An activity, and whatever waits in mailboxes meanwhile.</summary>
    public void RunToEnd(StepActivity activity)
    {
        _running.Add((activity, activity.Run().GetEnumerator()));
        for (int turns = 1; _running[^1].Turns.MoveNext(); turns++)
        {
            if (turns > TurnsMax)
                throw NoEndOf(_running[^1..]);
            _scene.DeliverAll();
        }

        _running.RemoveAt(_running.Count - 1);
        _scene.DeliverAll();
        while (_scene.Engine.ReturnRoom())
        {
            // one after the other
        }
    }

    /// <summary>All activities to their ends.</summary>
    public void Settle()
    {
        for (int turns = 1; _running.Count > 0; turns++)
        {
            if (turns > TurnsMax)
                throw NoEndOf(_running);
            _scene.DeliverAll();
            _scene.Engine.ReturnRoom();
            _running.RemoveAll(static running => !running.Turns.MoveNext()); // some wait for others
        }

        _scene.DeliverAll();
    }

    /// <summary>Nobody is left who could end what these wait for.</summary>
    private static SimulationFailure NoEndOf(List<(StepActivity Activity, IEnumerator<Turn> Turns)> running) => new(
        $"After {TurnsMax} turns there is still no end of "
        + $"{string.Join(", ", running.Select(static one => one.Activity.GetType().Name))}: it waits for ever.");

    /// <summary>An orderly shutdown.</summary>
    public void Close()
    {
        Settle();
        RunToEnd(new StepCheckpoint(_scene));
        StepEngine engine = _scene.Engine;
        engine.Log(new WalEvent.Shutdown(), _scene.Model);
        foreach (StoreShipper shipper in engine.Shippers)
            Drain(shipper);
        engine.Note(engine.Control with { State = EngineState.CleanShutdown, KnownEndOfWal = engine.DurableLsn });
    }

    /// <summary>However the life ended: nobody looks at anything any more.</summary>
    public void LetGo()
    {
        if (_scene.Flushes > 0)
            _scene.Hazards.Note(13);
        foreach ((StepActivity activity, IEnumerator<Turn> turns) in _running)
        {
            activity.LetGo();
            turns.Dispose();
        }

        _running.Clear();
    }

    private void Drain(StoreShipper shipper)
    {
        shipper.Retry.TryNow();
        ShipStep step;
        do
            step = _scene.Engine.Ship(shipper, _scene.Model);
        while (step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail);
        if (step == ShipStep.Nothing)
            StepScene.Try(shipper.Release);
    }
}
