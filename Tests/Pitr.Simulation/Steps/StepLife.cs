using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <summary>
/// One life of a database between an opening and a crash: commits, flushes, checkpoints, DDL, fences and snapshots, in
/// steps that a seed interleaves.
/// </summary>
/// <remarks>
/// A step is what an actor does in one message. What takes several (a checkpoint, a creation) is an iterator that
/// yields between them, so that anything else may come in between; a crash may come in between any two operations on
/// the disk.
/// </remarks>
internal sealed class StepLife
{
    private const int ActivitiesMax = 4;

    private readonly StepEngine _engine;
    private readonly StepModel _model;
    private readonly StepSettings _settings;
    private readonly List<IEnumerator<Wait>> _activities = [];
    private readonly List<Table> _tables = [];
    private readonly List<Pinned> _snapshots = [];
    private SeededRandom _random;
    private bool _isCheckpointing;
    private bool _isOwnerBusy; // the owner of the control file has a request in hand
    private int _names;
    private long _values;

    public StepLife(StepEngine engine, StepModel model, StepSettings settings, long seed)
    {
        _engine = engine;
        _model = model;
        _settings = settings;
        _random = new SeededRandom(seed);
        _names = (int)(engine.Control.Catalogue.NextTableId.Value + engine.Control.Catalogue.NextFileId.Value) * 100;
        _values = seed * 1000;
        foreach (CatalogueTable table in engine.Control.Catalogue.Tables)
            _tables.Add(new Table(table.Name, table.Id, table.FileId));
    }

    private enum Wait
    {
        Turn,
    }

    /// <summary>Makes the files and tables that a database begins with.</summary>
    public void Begin()
    {
        for (int i = 0; i < _settings.MoreFiles; i++)
            RunToEnd(CreateDatafile());
        foreach (StepFile file in _engine.Files.ToArray())
            RunToEnd(CreateTable(file.Id));
    }

    /// <summary>Takes one step.</summary>
    public void Step()
    {
        int choice = _random.Next(100);
        if (_activities.Count > 0 && choice < 45)
        {
            int turn = _random.Next(_activities.Count);
            if (!_activities[turn].MoveNext())
                _activities.RemoveAt(turn);
            return;
        }

        if (choice < 80 || _activities.Count >= ActivitiesMax)
            Commit();
        else if (choice < 88)
            Start(_isCheckpointing ? Flush(AnyFile()) : Checkpoint());
        else if (choice < 91)
            _engine.Switch(_model);
        else if (choice < 94)
            Start(Fence(AnyFile()));
        else if (choice < 97)
            Look();
        else
            Start(Ddl());
    }

    /// <summary>An orderly shutdown.</summary>
    public void Close()
    {
        while (_activities.Count > 0)
            _activities.RemoveAll(static activity => !activity.MoveNext()); // some wait for others
        RunToEnd(Checkpoint());
        _engine.Log(new WalEvent.Shutdown(), _model);
        _engine.Note(_engine.Control with
        {
            State = EngineState.CleanShutdown,
            KnownEndOfWal = _engine.DurableLsn,
        });
    }

    /// <summary>What a snapshot shows does not change, whatever came after it (I3, H12, H41).</summary>
    public void CheckSnapshots()
    {
        while (_snapshots.Count > 0)
            CheckOldest();
    }

    /// <summary>However the life ended.</summary>
    public void LetSnapshotsGo()
    {
        foreach (Pinned snapshot in _snapshots)
            snapshot.View.Unpin();
        _snapshots.Clear();
    }

    private void Start(IEnumerable<Wait> activity) => _activities.Add(activity.GetEnumerator());

    private static void RunToEnd(IEnumerable<Wait> activity)
    {
        foreach (Wait wait in activity)
            _ = wait;
    }

    // ---- commits ---------------------------------------------------------------------------------

    private void Commit()
    {
        if (_tables.Count == 0)
            return;
        var members = new List<(WriteBatch, IReadOnlyList<ModelStep>)>();
        for (int i = 1 + _random.Next(3); i > 0; i--)
        {
            var batch = new WriteBatch();
            var steps = new List<ModelStep>();
            for (int n = 1 + _random.Next(_random.Chance(5) ? 60 : 5); n > 0; n--)
                AddChange(batch, steps);
            members.Add((batch, steps));
        }

        _engine.Commit(members, _model);
    }

    private void AddChange(WriteBatch batch, List<ModelStep> steps)
    {
        Table table = _tables[_random.Next(_tables.Count)];
        byte[] key = KeyOf(_random.Next(_settings.Keys));
        byte[]? value = _random.Chance(25) ? null : NextValue();
        if (value is null)
            batch.Delete(table, key);
        else
            batch.Put(table, key, value);
        steps.Add(new ModelStep.Change(table.Id, key, value));
    }

    private static byte[] KeyOf(int number)
    {
        byte[] key = new byte[number % 17 == 3 ? 700 : 3 + number % 9];
        for (int i = 0; i < key.Length - 2; i++)
            key[i] = (byte)(number % 3);
        key[^2] = (byte)(number >> 8);
        key[^1] = (byte)number;
        return key;
    }

    private byte[] NextValue()
    {
        int length = _random.Next(200) switch
        {
            < 192 => _random.Next(_settings.ValueBytes),
            < 199 => _random.Next(5000),
            _ => _random.Next(40_000),
        };
        byte[] value = new byte[length];
        long number = ++_values;
        for (int i = 0; i < length; i++)
            value[i] = (byte)(number >> (i % 4 * 8));
        return value;
    }

    // ---- flushes and checkpoints -----------------------------------------------------------------

    private StepFile AnyFile()
    {
        StepFile[] files = [.. _engine.Files];
        return files[_random.Next(files.Length)];
    }

    /// <summary>A file's own flush. It may be dropped before its meta page (H9).</summary>
    private IEnumerable<Wait> Flush(StepFile file)
    {
        if (file.IsBusy || file.IsDropped || file.Fenced is not null)
            yield break;
        if (!file.File.HasSealed && file.File.HasChanges && file.Progress.CanSeal)
            file.Progress.Seal();
        foreach (Wait wait in FlushSealed(file))
            yield return wait;
    }

    private IEnumerable<Wait> FlushSealed(StepFile file)
    {
        if (file.IsOffline)
            yield break;
        file.IsBusy = true;
        FlushJob? job = file.File.PrepareFlush(file.Progress.Lineage);
        if (job is null)
        {
            file.Progress.NoteClean(file.File.CleanUpTo);
            file.IsBusy = false;
            yield break;
        }

        yield return Wait.Turn;
        bool isWritten = Try(() => job.WritePages());
        yield return Wait.Turn;
        if (!isWritten || _random.Chance(10))
        {
            file.File.DropFlush(job);
            file.IsBusy = false;
            yield break;
        }

        if (!Try(job.WriteMeta))
        {
            file.IsBusy = false;
            yield break; // the file is offline, and the job can't be taken back (H9)
        }

        yield return Wait.Turn;
        file.File.CompleteFlush(job);
        file.Progress.NoteClean(file.File.CleanUpTo);
        file.SealIfPossible();
        file.IsBusy = false;
    }

    /// <summary>False if the disk said no: the file is offline then.</summary>
    private static bool Try(Action write)
    {
        try
        {
            write();
            return true;
        }
        catch (StorageFailedException)
        {
            return false;
        }
    }

    private IEnumerable<Wait> Checkpoint()
    {
        _isCheckpointing = true;
        Lsn at = _engine.DurableLsn;
        StepFile[] files = [.. _engine.Files.Where(file => file.Fenced is null && !file.IsOffline)];
        foreach (StepFile file in files)
            file.TakeSeal(at);
        var clean = new List<FileClean>();
        foreach (StepFile file in files)
        {
            for (int tries = 0; tries < 20 && !IsSettled(file, at); tries++)
            {
                if (file.IsBusy)
                {
                    yield return Wait.Turn;
                    continue;
                }

                file.SealIfPossible();
                foreach (Wait wait in FlushSealed(file))
                    yield return wait;
            }

            if (!file.IsDropped && file.Progress.CleanUpTo >= at)
                clean.Add(file.Clean);
        }

        yield return Wait.Turn;
        while (_isOwnerBusy)
            yield return Wait.Turn;
        _engine.RecordCheckpoint(at, clean, _model);
        yield return Wait.Turn;
        _engine.Recycle();
        _isCheckpointing = false;
    }

    private static bool IsSettled(StepFile file, Lsn at) =>
        file.IsDropped || file.IsOffline || file.Fenced is not null || file.Progress.CleanUpTo >= at;

    // ---- fences ----------------------------------------------------------------------------------

    private IEnumerable<Wait> Fence(StepFile file)
    {
        if (file.IsBusy || file.IsDropped || file.IsOffline || file.Fenced is not null)
            yield break;
        file.IsBusy = true;
        file.Progress.TakeSkipped();
        if (file.File.CleanUpTo > file.File.CheckpointLsn)
        {
            FlushJob job = file.File.PrepareMetaFlush(file.Progress.Lineage, file.File.CleanUpTo);
            yield return Wait.Turn;
            job.WritePages();
            if (!Try(job.WriteMeta))
            {
                file.IsBusy = false;
                yield break;
            }

            yield return Wait.Turn;
            file.File.CompleteFlush(job);
        }

        ControlFile next = _engine.Control.WithFile(file.Clean);
        if (next != _engine.Control)
            _engine.Note(next with { KnownEndOfWal = _engine.DurableLsn });
        yield return Wait.Turn;
        var disk = (SimulatedDisk)_engine.Context.FileSystem;
        file.File.IsStill = true;
        file.IsBusy = false;
        file.Fenced = disk.ReadAll(file.File.Path);
        for (int i = 2 + _random.Next(8); i > 0; i--)
            yield return Wait.Turn;
        if (!file.Fenced.AsSpan().SequenceEqual(disk.ReadAll(file.File.Path)))
            throw new SimulationFailure($"Datafile {file.Name} changed while it was fenced (D3).");
        file.Fenced = null;
        file.File.IsStill = false;
    }

    // ---- DDL -------------------------------------------------------------------------------------

    private IEnumerable<Wait> Ddl() => _random.Next(4) switch
    {
        0 => CreateDatafile(),
        1 => DropDatafile(),
        2 => CreateTable(AnyFile().Id),
        _ => DropTable(),
    };

    private IEnumerable<Wait> CreateTable(FileId file)
    {
        while (_isOwnerBusy)
            yield return Wait.Turn;
        if (_engine.Control.Catalogue.File(file) is null)
            yield break;
        _isOwnerBusy = true;
        TableId id = _engine.Control.Catalogue.NextTableId;
        string name = $"t{_names++}";
        Lsn lsn = _engine.Log(
            new WalEvent.CreateTable(id, file, name), _model, _ => new ModelStep.Created(id, name));
        yield return Wait.Turn;
        Apply(_engine.Control.Catalogue.CreateTable(id, name, file, lsn));
        _isOwnerBusy = false;
        _tables.Add(new Table(name, id, file));
    }

    private IEnumerable<Wait> DropTable()
    {
        while (_isOwnerBusy)
            yield return Wait.Turn;
        if (_tables.Count < 2)
            yield break;
        _isOwnerBusy = true;
        Table table = _tables[_random.Next(_tables.Count)];
        _tables.Remove(table);
        Lsn lsn = _engine.Log(
            new WalEvent.DropTable(table.Id, table.DatafileId, table.Name), _model,
            _ => new ModelStep.Dropped(table.Id));
        yield return Wait.Turn;
        Apply(_engine.Control.Catalogue.DropTable(table.Id, lsn));
        _isOwnerBusy = false;
    }

    private IEnumerable<Wait> CreateDatafile()
    {
        while (_isOwnerBusy)
            yield return Wait.Turn;
        _isOwnerBusy = true;
        FileId id = _engine.Control.Catalogue.NextFileId;
        string name = $"f{_names++}";
        string path = $"{StepEngine.Folder}/{name}.pitr";
        var incarnation = new Incarnation(_engine.Context.Draw());
        Lsn born = _engine.DurableLsn;
        Datafile made = _engine.Make(id, name, path, incarnation);
        yield return Wait.Turn;
        string stored = Catalogue.StoredPath(StepEngine.Folder, path);
        Lsn lsn = _engine.Log(new WalEvent.CreateDatafile(id, name, stored, incarnation), _model);
        yield return Wait.Turn;
        Apply(_engine.Control.Catalogue.CreateFile(
            new CatalogueFile(id, name, stored, incarnation, made.Generation, born, lsn), lsn));
        _engine.Add(id, name, made, lsn, isRecovering: false);
        _isOwnerBusy = false;
    }

    private IEnumerable<Wait> DropDatafile()
    {
        while (_isOwnerBusy)
            yield return Wait.Turn;
        StepFile file = AnyFile();
        if (file.Id == FileId.Main || file.IsBusy || file.IsOffline || file.Fenced is not null
            || _tables.Exists(t => t.DatafileId == file.Id))
            yield break;
        _isOwnerBusy = true;
        file.IsBusy = true;
        string path = file.File.Path;
        Lsn lsn = _engine.Log(new WalEvent.DropDatafile(file.Id, file.Name), _model);
        yield return Wait.Turn;
        Apply(_engine.Control.Catalogue.DropFile(file.Id, lsn));
        yield return Wait.Turn;
        _engine.Close(file.Id);
        yield return Wait.Turn;
        _engine.Unlink(path);
        _isOwnerBusy = false;
    }

    private void Apply(Catalogue catalogue) => _engine.Note(_engine.Control with
    {
        Catalogue = catalogue,
        KnownEndOfWal = _engine.DurableLsn,
    });

    // ---- snapshots -------------------------------------------------------------------------------

    private void Look()
    {
        if (_snapshots.Count >= 3)
        {
            CheckOldest();
            return;
        }

        if (_tables.Count == 0)
            return;
        Table table = _tables[_random.Next(_tables.Count)];
        ReadView view = _engine.File(table.DatafileId)!.File.View;
        if (view.TryPin())
            _snapshots.Add(new Pinned(table, view, _engine.DurableLsn));
    }

    private void CheckOldest()
    {
        Pinned snapshot = _snapshots[0];
        var table = new CatalogueTable(
            snapshot.Table.Id, snapshot.Table.Name, snapshot.Table.DatafileId, Lsn.Zero);
        if (_engine.File(snapshot.Table.DatafileId) is not null) // else its pages give a typed error (H41)
            StepCheck.Compare(_engine, snapshot.View, table, _model.At(snapshot.At)[snapshot.Table.Name], snapshot.At);
        _snapshots.RemoveAt(0);
        snapshot.View.Unpin();
    }

    private sealed record Pinned(Table Table, ReadView View, Lsn At);
}
