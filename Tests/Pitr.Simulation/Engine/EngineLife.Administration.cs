using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <content>The clients that administer: catalogue, fences, checkpoints, backups; and the trouble that comes.</content>
internal sealed partial class EngineLife
{
    private int _names;

    // ---- the catalogue -----------------------------------------------------------------------------------

    private async Task ChangeCatalogueAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(1500));
            if (IsOver || random.Chance(30))
                continue;
            string name = $"{_prefix}x{++_names}";
            switch (random.Next(5))
            {
                case 0 when _database.Datafiles.Count < 5:
                    if (random.Chance(25))
                        await CreateFileInTheWayAsync(name);
                    else
                        await CreateFileAsync(name);
                    break;
                case 1 when _tables.Count > 2:
                    await DropTableAsync(random.Of(_tables));
                    break;
                case 2:
                    await DropFileAsync(random);
                    break;
                default:
                    if (_tables.Count < 6)
                        await CreateTableAsync(name, random.Of(_database.Datafiles).Name);
                    break;
            }
        }
    }

    private async Task CreateFileAsync(string name)
    {
        ModelName made = _history.Add(name, isFile: true);
        (bool isDone, _) = await TryAsync($"create file {name}", () => _database.CreateDatafileAsync(name));
        if (isDone)
            Acknowledge(made.Made = Changed);
    }

    /// <summary>Somebody's file has the name of the new datafile: it stays, and is what it was (H23).</summary>
    private async Task CreateFileInTheWayAsync(string name)
    {
        string path = $"{_database.Engine.Folder}/{name}.pitr";
        byte[] somebodys = Bytes($"Notes of somebody's about {name}.");
        try
        {
            using IFileHandle file = _disk.Inner.Open(path, FileOpen.CreateNew);
            file.Write(0, somebodys);
        }
        catch (StorageFailedException) when (_mayFail)
        {
            return; // the disk that was to fail has failed him
        }

        _isInTheWay = true;
        await CreateFileAsync(name);
        _isInTheWay = false;
        if (_disk.Inner.Stat(path) is null || !_disk.Inner.ReadAll(path).AsSpan().SequenceEqual(somebodys))
            throw new SimulationFailure($"{path} was somebody's, and is gone (H23).");
    }

    private bool _isInTheWay;

    private async Task CreateTableAsync(string name, string file)
    {
        ModelName made = _history.Add(name, isFile: false);
        (bool isDone, Table? table) =
            await TryAsync($"create table {name}", () => _database.CreateTableAsync(name, file));
        if (!isDone)
            return;
        made.Id = table!.Id;
        Acknowledge(made.Made = Changed);
        _tables.Add(table);
        _everyTable.Add(table);
    }

    private async Task DropTableAsync(Table table)
    {
        ModelName name = _history.Names.Single(name => !name.IsFile && name.Name == table.Name);
        name.MayBeDropped = true;
        _tables.Remove(table);
        (bool isDone, _) = await TryAsync($"drop table {table.Name}", () => Done(_database.DropTableAsync(table.Name)));
        if (isDone)
            Acknowledge(name.Dropped = Changed);
    }

    private async Task DropFileAsync(ClientRandom random)
    {
        DatafileInfo[] empty = [.. _database.Datafiles.Where(
            file => file.Name != "main" && _database.Tables.All(table => table.DatafileId != file.Id))];
        if (empty.Length == 0 || _history.Names.All(found => found.Name != empty[0].Name))
            return;
        DatafileInfo file = random.Of(empty);
        ModelName name = _history.Names.Single(name => name.IsFile && name.Name == file.Name);
        name.MayBeDropped = true;
        int trouble = random.Next(100); // of the control file, which cannot be written when the file is dropped
        bool isFull = trouble >= 15 && FillForControlFile(trouble < 45, nth: 1);
        if (trouble < 15)
        {
            _mayFail = true;
            _disk.Inner.Faults.On(FileOp.Rename).Of("control").Fail(Errno.EIO);
        }

        (bool isDone, _) = await TryAsync($"drop file {file.Name}", () => Done(_database.DropDatafileAsync(file.Name)));
        if (isFull)
            EndFullControlFile();
        EngineCheck.RequireListedFiles(_disk.Inner, _database.Engine.Folder, _crashes.Lost);
        if (isDone)
            Acknowledge(name.Dropped = Changed);
    }

    /// <summary>The LSN of the last change of the catalogue: one client makes them, one after the other.</summary>
    private Lsn Changed => _database.Engine.Catalogue.Catalogue.Lsn;

    private void Acknowledge(Lsn? at) => _crashes.Acknowledge(at!.Value);

    private static async Task<bool> Done(Task task)
    {
        await task.ConfigureAwait(false);
        return true;
    }

    // ---- fences ------------------------------------------------------------------------------------------

    /// <summary>
    /// Holders that copy in time, that dawdle until their lease ends, that are never heard of again, or are seen to die
    /// (promise 6).
    /// </summary>
    private async Task FenceAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(3000));
            if (IsOver)
                return;
            TimeSpan lease = TimeSpan.FromMilliseconds(20 + random.Next(2000));
            string file = _moving is { } moving && random.Chance(60) ? moving : random.Of(_database.Datafiles).Name;
            using FenceHolder? holder = random.Chance(30) ? new FenceHolder(_database, "a client") : null;
            (bool isFenced, FenceGrant? grant) = await TryAsync(
                $"fence {file}",
                () => holder?.FenceAsync(file, lease, "", CancellationToken.None) ?? _database.FenceAsync(file, lease));
            if (!isFenced)
                continue;
            if (await IsGoneAsync(grant!))
                continue;
            byte[] before = _disk.Inner.ReadAll(grant!.Path);
            await _world.Delay(TimeSpan.FromMilliseconds(random.Next((int)(lease.TotalMilliseconds * 1.3))));
            if (random.Chance(20))
            {
                if (holder is not null)
                    await RequireBrokenAsync(holder, grant);
                continue; // it dies: the fence must end all the same
            }

            if (IsOver)
                return;
            if (await IsGoneAsync(grant))
                continue;
            byte[] after = _disk.Inner.ReadAll(grant.Path);
            Lsn redo = RedoOnDisk();
            (bool isGood, _) = await TryAsync($"unfence {file}", () => _database.UnfenceAsync(grant.FenceId));
            if (!isGood)
                continue;
            if (!before.AsSpan().SequenceEqual(after))
                throw new SimulationFailure($"{grant.Path} has changed while it was fenced (I6).");
            if (grant.CheckpointLsn < redo && Datafile.Inspect(_disk.Inner, grant.Path).Generation > 1)
            {
                throw new SimulationFailure(
                    $"{grant.Path} was fenced at {grant.CheckpointLsn}, below the redo point {redo}: its copy asks for "
                    + "WAL that may be gone (H22).");
            }

            _observations.Add(() => RequireGoodCopy(grant, before));
            _copies[grant.Datafile] = before;
        }
    }

    /// <summary>F4: once its holder is dead, a token certifies nothing.</summary>
    private async Task RequireBrokenAsync(FenceHolder holder, FenceGrant grant)
    {
        holder.Dispose();
        await _world.Delay(TimeSpan.FromSeconds(1)); // the engine has seen it
        (bool isGood, _) = await TryAsync($"unfence {grant.Datafile}", () => _database.UnfenceAsync(grant.FenceId));
        if (isGood && _stage.Settings.Disk.SlowPercent == 0) // a slow disk lets all others wait: then it has not been seen yet
            throw new SimulationFailure($"A copy of {grant.Path} was certified after its holder had died (F4).");
    }

    /// <summary>A datafile is made anew in its place, while whoever has a snapshot of it reads on; some change their mind.</summary>
    private async Task CompactAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(5000));
            if (IsOver)
                return;
            string file = random.Of(_database.Datafiles).Name;
            using var changed = new CancellationTokenSource();
            Task<CompactResult> compact = _database.CompactAsync(new CompactRequest { Datafile = file }, changed.Token);
            if (random.Chance(15))
            {
                await _world.Delay(random.Time(20));
                changed.Cancel(); // at once: its async form goes on outside of the world
            }

            await TryAsync($"compact {file}", () => compact);
        }
    }

    /// <summary>A file that was dropped: then the fence has ended before, and its token proves nothing.</summary>
    private async Task<bool> IsGoneAsync(FenceGrant grant)
    {
        if (_disk.Inner.Stat(grant.Path) is not null)
            return false;
        (bool isHeld, _) = await TryAsync($"unfence {grant.Datafile}", () => _database.UnfenceAsync(grant.FenceId));
        return isHeld ? throw new SimulationFailure($"{grant.Path} is gone while it is fenced (I6).") : true;
    }

    /// <summary>I7: a copy that was certified is a valid file and holds the oracle's state at its LSN.</summary>
    private void RequireGoodCopy(FenceGrant grant, byte[] copy)
    {
        var scratch = new SimulatedDisk();
        using (IFileHandle file = scratch.Open("/copy", FileOpen.CreateNew))
            file.Write(0, copy);
        DatafileEnvironment environment = _stage.EnvironmentOn(scratch);
        EngineCheck.CheckPages(environment, "/copy");
        MetaPage meta = Datafile.Inspect(scratch, "/copy");
        if (meta.CheckpointLsn != grant.CheckpointLsn)
        {
            throw new SimulationFailure(
                $"The copy of {grant.Datafile} is of {meta.CheckpointLsn}, not {grant.CheckpointLsn}.");
        }

        using Datafile opened = Datafile.Open(
            environment, "/copy", grant.Datafile, new DatafileExpectation(meta.SystemId, meta.FileId));
        foreach (ModelName name in _history.Names)
        {
            Table? table = name.IsFile || name.IsThereAt(grant.CheckpointLsn) is not true
                ? null
                : _everyTable.Find(found => found.Id == name.Id && found.DatafileId == meta.FileId);
            if (table is null)
                continue;
            var cursor = new RangeCursor(
                environment.Epochs, static () => { }, opened.View, grant.CheckpointLsn, table.Id, ScanRange.All);
            EngineCheck.Compare(table, RowsOf(cursor), _history, grant.CheckpointLsn);
        }
    }

    private static IEnumerable<KeyValue> RowsOf(RangeCursor cursor)
    {
        while (cursor.TryNext(out KeyValue row))
            yield return row;
    }

    // ---- checkpoints and backups -------------------------------------------------------------------------

    private async Task MaintainAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(1000));
            if (IsOver)
                return;
            switch (random.Next(4))
            {
                case 0:
                    await TryAsync("switch", () => _database.SwitchWalAsync());
                    break;
                case 1:
                    string name = $"{_prefix}p{++_names}";
                    (bool isDone, RestorePoint? point) =
                        await TryAsync($"restore point {name}", () => _database.CreateRestorePointAsync(name));
                    if (isDone)
                        Acknowledge(point!.Lsn);
                    break;
                default:
                    if (random.Chance(50))
                        await KeepTooMuchAsync(random);
                    LookAtKeptWal();
                    bool wasTooMuch = _isTooMuchKept;
                    (isDone, _) = await TryAsync("checkpoint", () => _database.CheckpointAsync());
                    LookAtKeptWal();
                    if (isDone && wasTooMuch && _isTooMuchKept && _refusesFrom == TimeSpan.MaxValue)
                    {
                        _refusesFrom = _world.Clock.Now + s_looksAtKeptWal;
                        await CommitLateAsync(random);
                    }

                    break;
            }
        }
    }

    private Lsn RedoOnDisk()
    {
        string path = $"{_database.Engine.Folder}/{ControlFileStore.FileName}";
        return ControlFileStore.Decode(path, _disk.Inner.ReadAll(path)).RedoLsn;
    }

    private static readonly TimeSpan s_looksAtKeptWal = TimeSpan.FromSeconds(2.5);
    private bool _isTooMuchKept;
    private TimeSpan _refusesFrom = TimeSpan.MaxValue;

    /// <summary>
    /// More WAL than may be is kept for a file that cannot be flushed: soon after the next checkpoint has found that,
    /// commits are refused, until it is different (H24).
    /// </summary>
    private void LookAtKeptWal()
    {
        FileSlot[] slots = [.. _database.Engine.Slots.All];
        _isTooMuchKept = !_isMending && slots.Any(static slot => slot.State == DatafileState.Offline)
            && slots.All(static slot => slot.State is not (DatafileState.Fenced or DatafileState.NeedsRecovery))
            && _database.Engine.DurableLsn - RedoOnDisk()
                > _stage.Settings.FencedWalBytesMax;
        if (!_isTooMuchKept)
            _refusesFrom = TimeSpan.MaxValue;
    }

    /// <summary>Commits until the bound on kept WAL is passed, if a file is offline and the bound is near.</summary>
    private async Task KeepTooMuchAsync(ClientRandom random)
    {
        for (int i = 0; i < 12 && !IsOver && !_isTooMuchKept && _tables.Count > 0; i++)
        {
            if (_isMending || _stage.Settings.FencedWalBytesMax > 1 << 20
                || _database.Engine.Slots.All.All(static slot => slot.State != DatafileState.Offline))
                return;
            await CommitOneAsync(9000, random);
        }
    }

    /// <summary>When the engine has seen that too much is kept; the commit itself looks whether it must be refused.</summary>
    private async Task CommitLateAsync(ClientRandom random)
    {
        await _world.Delay(s_looksAtKeptWal + TimeSpan.FromMilliseconds(1));
        if (!IsOver && _tables.Count > 0)
            await CommitOneAsync(20, random);
    }

    private Task CommitOneAsync(int valueBytes, ClientRandom random) =>
        CommitOneAsync(random.Of(_tables), valueBytes, random);

    private Task CommitOneAsync(Table table, int valueBytes, ClientRandom random)
    {
        var batch = new WriteBatch();
        byte[] own = ValueOf(random); // no other one equals it
        (string key, byte[] value) = (KeyOf(random), new byte[Math.Max(own.Length, valueBytes)]);
        own.CopyTo(value, 0);
        batch.Put(table, Bytes(key), value);
        return CommitAsync(batch, [new ModelChange(table.Id, key, value)], random);
    }

    private async Task BackUpAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(2500));
            if (IsOver)
                return;
            (bool isDone, BackupResult? made) =
                await TryAsync("backup", () => _database.BackupAsync(
                    new BackupRequest { Store = Store, Incremental = random.Chance(60), Jobs = 1 + random.Next(3) }));
            if (isDone && !IsPartial(made!.BackupId))
                Backups.Add(made);
        }
    }

    /// <summary>A datafile that was down is missing in it: it does not count (H29).</summary>
    private bool IsPartial(string backupId)
    {
        try
        {
            return BackupCatalog.Read(new FolderStore(_disk.Inner, Store, static () => 0)).Get(backupId).Label.IsPartial;
        }
        catch (StorageFailedException)
        {
            return true; // the store is away again: that set is left to others
        }
    }

    /// <summary>H35: an intent that nobody takes away any more holds back what expire would remove, for ever.</summary>
    private void RequireNoSetIsLeft()
    {
        if (UnfinishedSets().Except(_unfinishedBefore).FirstOrDefault() is { } left)
            throw new SimulationFailure($"The engine has ended and has left {left}, which is no set (H35).");
    }

    /// <summary>
    /// What lies in the store and has no manifest; that of an earlier life was left by its crash. What has copies that are
    /// whole is not left: the next backup goes on with it.
    /// </summary>
    private IReadOnlyList<string> UnfinishedSets()
    {
        const string folder = Store + "/backups";
        return _disk.Inner.Stat(folder) is null
            ? []
            : [.. _disk.Inner.List(folder).Select(name => $"{folder}/{name}")
                .Where(set => _disk.Inner.Stat(set + "/manifest.json") is null && _disk.Inner.Stat(set + "/copied") is null)];
    }

    private IReadOnlyList<string> _unfinishedBefore = [];

    // ---- trouble -----------------------------------------------------------------------------------------

    private static readonly FileOp[] s_failing =
    [
        FileOp.SyncData, FileOp.SyncData, FileOp.Write, FileOp.StartWriteback, FileOp.Create, FileOp.Rename,
        FileOp.Delete, FileOp.SyncFolder, FileOp.SetLength, FileOp.Read,
    ];

    private async Task MakeTroubleAsync(ClientRandom random)
    {
        if (random.Chance(30)) // a store that is away for a while; the next write to it finds it back
        {
            await _world.Delay(random.Time(500));
            foreach (FileOp op in (FileOp[])[FileOp.Create, FileOp.SyncData, FileOp.Open])
                _disk.Inner.Faults.On(op).Of(Store).Always().Fail(Errno.EIO);
            _storeWasAway = true;
            await _world.Delay(random.Time(20_000));
            _disk.Inner.Faults.Clear();
        }

        if (random.Chance(30))
            _world.Clock.SetBy += TimeSpan.FromSeconds(random.Next(7200) - 3600); // H8
        if (random.Chance(30))
        {
            _mayFail = true;
            await _world.Delay(random.Time(600));
            string of = ((string[])["", ".pitr", ".pitr", ".pitr", "/wal/", "control"])[random.Next(6)];
            _world.Note("the disk will fail", of);
            FileOp failing = s_failing[random.Next(s_failing.Length)];
            _disk.Inner.Faults.On(failing).Of(of).Nth(1 + random.Next(20)).Fail(Errno.EIO);
        }
        else if (random.Chance(15))
        {
            _mayFail = true;
            await _world.Delay(random.Time(600));
            _disk.Inner.CapacityBytes = _disk.Inner.UsedBytes + random.Next(200_000);
            await _world.Delay(random.Time(3000));
            _disk.Inner.CapacityBytes = long.MaxValue;
        }
    }

    private bool _storeWasAway;
}
