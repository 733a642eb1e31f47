using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <content>Stories of single datafiles: fences, owners that die, recoveries.</content>
internal sealed partial class EngineLife
{
    /// <summary>
    /// H9: the flush of the last one out finds no room, and others wait for the fence. He is answered all the same: they
    /// may hold it for hours.
    /// </summary>
    public async Task TellLastOutAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 300, random);
        FenceGrant first = await _world.On(_database.FenceAsync("f0", TimeSpan.FromMinutes(10)));
        await PutAsync("f0", 4, 300, random);
        WorldGate flush = _disk.Hold(FileOp.Write, "f0.pitr");
        _disk.Inner.Faults.On(FileOp.Write).Of("f0.pitr").Full();
        Task leaving = _database.UnfenceAsync(first.FenceId);
        await UntilAsync(() => flush.IsReached, "the flush begins");
        Task<FenceGrant> asked = _database.FenceAsync("f0", TimeSpan.FromHours(2));
        await _world.Delay(random.Time(20));
        flush.Release();
        FenceGrant second = await RequireAsync(asked, "the next fence is granted");
        await RequireAsync(leaving, "who has left a fence is answered (H9)");
        await PutAsync("f0", 2, 300, random);
        await RequireAsync(_database.UnfenceAsync(second.FenceId), "the second one has left");
    }

    /// <summary>
    /// H13: the datafile's actor dies while its worker hangs in the disk. Who brings the file back waits until that one has
    /// let it go.
    /// </summary>
    public async Task TellFormerOwnerAsync(ClientRandom random)
    {
        await PutAsync("f0", 5, 300, random);
        WorldGate flush = _disk.Hold(random.Chance(50) ? FileOp.Write : FileOp.SyncData, "f0.pitr");
        Task checkpoint = _database.CheckpointAsync();
        await UntilAsync(() => flush.IsReached, "the flush begins");
        KillOwnerOf("f0");
        await UntilAsync(() => IsDown("f0"), "its end is seen");
        await PutAsync("main", 2, 100, random);
        _crashes.IsCritical = true;
        Task recovery = RecoverAsync("f0", random);
        await _world.Delay(random.Time(3000));
        if (recovery.IsCompleted)
            throw new SimulationFailure("f0 was brought back while its former worker stands in a write of it (H13).");
        flush.Release();
        await RequireAsync(recovery, "f0 is brought back");
        await RequireAsync(checkpoint, "the checkpoint ends");
        await PutAsync("f0", 2, 300, random);
        await CheckpointAsync();
        await LookAsync(random);
    }

    /// <summary>H13: fences are given back just when the datafile's actor dies: each is answered, well or not.</summary>
    public async Task TellLeavingAsync(ClientRandom random)
    {
        for (int i = 0; i < 6; i++)
        {
            await PutAsync("f0", 2, 200, random);
            FenceGrant grant = await _world.On(_database.FenceAsync("f0", TimeSpan.FromMinutes(10)));
            await PutAsync("f0", 2, 200, random);
            KillOwnerOf("f0");
            if (i > 0)
                await _world.Delay(TimeSpan.FromMicroseconds(random.Next(60)));
            Task<(bool, UnfenceResult?)> leaving =
                TryAsync("unfence f0", () => _database.UnfenceAsync(grant.FenceId));
            await RequireAsync(leaving, "who gives a fence back is answered, though the actor has died (H13)");
            await UntilAsync(() => IsDown("f0"), "its end is seen");
            await RecoverAsync("f0", random);
        }

        await LookAsync(random);
    }

    /// <summary>
    /// H15, H16: somebody puts an older copy into the place of a datafile; now and then one of which the second half is
    /// missing.
    /// </summary>
    public async Task TellOlderCopyAsync(ClientRandom random)
    {
        bool isCutOff = IsOtherCourse;
        await PutAsync("f0", 12, 1500, random);
        await BackUpToAsync(Store);
        byte[] copy = await CopyUnderFenceAsync("f0");
        if (isCutOff) // whoever copied it had made room for all of it before
            copy.AsSpan(copy.Length / 2).Clear();
        await PutAsync("f0", 6, 400, random);
        await CheckpointAsync();
        await PutAsync("f0", 3, 400, random);
        await TakeOfflineAsync("f0", random);
        _crashes.IsCritical = true;
        Incarnation had = Replace("f0", copy);
        await RecoverAsync("f0", random, had);
        _crashes.IsCritical = false;
        await LookAsync(random);
        await PutAsync("f0", 3, 400, random);
        await CheckpointAsync();
        await LookAsync(random);
        await BackUpToAsync(Store, isIncremental: true);
    }

    /// <summary>
    /// H14: a branch was left, and sets of its abandoned future lie in the store. A datafile that is lost then comes from a
    /// set of the branch that is lived on.
    /// </summary>
    public async Task TellBranchesAsync(ClientRandom random)
    {
        if (_number == 1)
        {
            await PutAsync("f0", 4, 200, random);
            await BackUpToAsync(Store);
            await PutAsync("f0", 3, 200, random);
            GoesBackTo = _history.Commits[^1];
            await PutAsync("f0", 6, 200, random);
            await BackUpToAsync(Store);
            return;
        }

        await PutAsync("f0", 25, 600, random); // beyond the LSNs of the abandoned sets
        await TakeOfflineAsync("f0", random);
        Incarnation had = Replace("f0", null);
        await RecoverAsync("f0", random, had);
        await LookAsync(random);
    }

    /// <summary>
    /// H40: the datafile's actor dies while a group that changes it is being synced, and the sync takes long: its recovery
    /// begins before that group is durable. What is acknowledged then is in the recovered file.
    /// </summary>
    public async Task TellCommitUnderWayAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 200, random);
        WorldGate sync = _disk.Hold(FileOp.SyncData, "/wal/");
        Task[] commits = [.. Enumerable.Range(0, 1 + random.Next(3)).Select(_ => CommitOneAsync(TableIn("f0"), 200, random))];
        await UntilAsync(() => sync.IsReached, "the group is being synced");
        KillOwnerOf("f0");
        await UntilAsync(() => IsDown("f0"), "its end is seen");
        Task recovery = RecoverAsync("f0", random);
        await _world.Delay(TimeSpan.FromMilliseconds(random.Next(100)));
        _crashes.IsCritical = true;
        sync.Release();
        await RequireAsync(recovery, "f0 is brought back");
        foreach (Task commit in commits)
            await RequireAsync(commit, "a commit ends");
        await LookAsync(random);
        await PutAsync("f0", 2, 200, random);
        await LookAsync(random);
    }

    /// <summary>
    /// H40: the WAL that an offline datafile needs was given up; its recovery reads the archive, and checkpoints of the
    /// others overtake it.
    /// </summary>
    public async Task TellOvertakenAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 200, random);
        await BackUpToAsync(Store);
        await TakeOfflineAsync("f0", random);
        _crashes.Lost = "f0";
        for (int i = 0; i < 40 && !IsGivenUp("f0"); i++)
        {
            await PutAsync("main", 2, 1500, random);
            await CheckpointAsync();
            await _world.Delay(TimeSpan.FromSeconds(1.1));
        }

        await UntilAsync(() => IsGivenUp("f0"), "the WAL of f0 is given up");
        await CheckpointAsync();
        WorldGate flush = _disk.Hold(FileOp.SyncData, "f0.pitr");
        Task recovery = RecoverAsync("f0", random);
        await UntilAsync(() => flush.IsReached, "what was replayed is made durable");
        await PutAsync("main", 3, 1500, random);
        await CheckpointAsync();
        _crashes.IsCritical = true;
        flush.Release();
        await RequireAsync(recovery, "f0 is brought back");
        EngineCheck.RequireRedoPoint(_disk.Inner, _database.Engine.Folder);
        await PutAsync("f0", 2, 200, random);
        await LookAsync(random);
    }

    private bool IsGivenUp(string file) =>
        EngineCheck.ControlOf(_disk.Inner, _database.Engine.Folder).Catalogue.File(file)?.NeedsRecovery is not null;

    /// <summary>
    /// H40: without an archive the WAL since a set is in the database's folder alone: it stays there from the moment on in
    /// which a recovery begins, whatever checkpoints come.
    /// </summary>
    public async Task TellHeldWalAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 200, random);
        await BackUpToAsync("/sets");
        await PutAsync("f0", 30, 1000, random);
        for (int i = 0; i < 2; i++) // flushed when the first has left, noted before the second comes; the redo point stays
            await CopyUnderFenceAsync("f0");
        await PutAsync("f0", 2, 200, random);
        _crashes.IsPaused = true; // what a crash would leave had to be mended out of another store
        KillOwnerOf("f0");
        await UntilAsync(() => IsDown("f0"), "its end is seen");
        Replace("f0", null);
        WorldGate plan = _disk.Hold(FileOp.Stat, "f0.pitr");
        Task<DatafileRecoveryResult> recovery = _database.RecoverDatafileAsync(
            new DatafileRecoveryRequest { Datafile = "f0", Store = "/sets" });
        await UntilAsync(() => plan.IsReached, "the recovery is planned");
        await CheckpointAsync();
        await _world.Delay(random.Time(2000));
        plan.Release();
        await RequireAsync(recovery, "f0 is brought back");
        (_crashes.Lost, _crashes.IsPaused) = (null, false);
        await LookAsync(random);
    }

    /// <summary>
    /// H41: a reader stands in the middle of a datafile when its actor dies and the file is brought back. He reads what his
    /// snapshot has, or is told that it has ended.
    /// </summary>
    public async Task TellFormerReaderAsync(ClientRandom random)
    {
        await PutAsync("f0", 100, 1500, random); // more pages than a reader has at a time
        await CheckpointAsync();
        Table table = TableIn("f0");
        using Snapshot snapshot = _database.OpenSnapshot();
        using IEnumerator<KeyValue> reader = snapshot.Scan(table, ScanRange.All).GetEnumerator();
        List<KeyValue> rows = [];
        for (int i = 0; i < 2 && reader.MoveNext(); i++)
            rows.Add(reader.Current);
        byte[] kept = ValueOf(random);
        var batch = new WriteBatch(); // it is in the owner's buffers alone
        batch.Put(table, Bytes(KeptKey), kept);
        await CommitAsync(batch, [new ModelChange(table.Id, KeptKey, kept)], random);
        using Snapshot other = _database.OpenSnapshot();
        KillOwnerOf("f0");
        await UntilAsync(() => IsDown("f0"), "its end is seen");
        await RecoverAsync("f0", random);
        if (!IsDown("f0"))
            RequireEnded(other, table);
        for (int i = 0; i < 3; i++)
        {
            await PutAsync("f0", 25, 1500, random);
            await CheckpointAsync();
        }

        try
        {
            while (reader.MoveNext())
                rows.Add(reader.Current);
            Lsn at = snapshot.Lsn;
            _observations.Add(() => EngineCheck.Compare(table, rows, _history, at));
        }
        catch (PitrException ended) when (ended.Code is ErrorCode.SnapshotTooOld or ErrorCode.DatafileNeedsRecovery)
        {
            _world.Note("ended", "snapshot");
        }
    }

    private const string KeptKey = "kept";

    /// <summary>Its view is a former owner's: what it names ends with him (H41).</summary>
    private static void RequireEnded(Snapshot snapshot, Table table)
    {
        try
        {
            _ = snapshot.Get(table, Bytes(KeptKey));
        }
        catch (RefusedException ended) when (ended.Code == ErrorCode.SnapshotTooOld)
        {
            return;
        }

        throw new SimulationFailure("A snapshot reads by a view of the datafile's former owner (H41).");
    }

    /// <summary>
    /// H48: a datafile that is lost comes back out of a set, and somebody lets that set go between the plan and the note of it:
    /// the recovery is refused before it has touched anything, and can be begun anew when there is a set.
    /// </summary>
    public async Task TellSetOfPlanGoneAsync(ClientRandom random)
    {
        await PutAsync("f0", 5, 300, random);
        await BackUpToAsync(Store);
        await PutAsync("f0", 3, 300, random);
        await TakeOfflineAsync("f0", random);
        _crashes.IsPaused = true; // without the set nobody could mend what one would leave
        Incarnation had = Replace("f0", null);
        WorldGate noted = _disk.Hold(FileOp.Create, $"{Store}/{ObjectName.RestorePrefix}");
        Task<DatafileRecoveryResult> recovery =
            _database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "f0" });
        await UntilAsync(() => noted.IsReached, "the recovery is planned");
        string set = $"{Store}/{BackupSet.PrefixOf(Backups[^1].BackupId)}{BackupSet.ManifestName}";
        byte[] manifest = _disk.Inner.ReadAll(set);
        _disk.Inner.Delete(set);
        _disk.Inner.SyncFolder(DurableReplace.FolderOf(set));
        noted.Release();
        await RequireRefusedAsync(recovery, ErrorCode.BackupUnknown, "the set of its plan has gone (H48)");
        using (IFileHandle again = _disk.Inner.Open(set, FileOpen.CreateNew))
        {
            again.Write(0, manifest);
            again.SyncData();
        }

        _disk.Inner.SyncFolder(DurableReplace.FolderOf(set));
        await RecoverAsync("f0", random, had);
        _crashes.IsPaused = false;
        await LookAsync(random);
    }

    private async Task RequireRefusedAsync(Task asked, ErrorCode code, string since)
    {
        try
        {
            await RequireAsync(asked, $"it is refused, since {since}");
        }
        catch (PitrException refused) when (refused.Code == code)
        {
            return;
        }

        throw new SimulationFailure($"It was done, and {since}.");
    }

    /// <summary>H43: a table is dropped while its datafile has no owner: the next one cuts its rows out.</summary>
    public async Task TellDroppedMeanwhileAsync(ClientRandom random)
    {
        await CreateTableAsync("gone", "f0");
        Table gone = _tables[^1];
        for (int i = 0; i < 6; i++)
            await CommitOneAsync(gone, 300, random);
        await PutAsync("f0", 3, 200, random);
        KillOwnerOf("f0");
        await UntilAsync(() => IsDown("f0"), "its end is seen");
        WorldGate replay = _disk.Hold(FileOp.SyncData, "f0.pitr"); // it is opened anew: commits are closed to it
        Task recovery = RecoverAsync("f0", random);
        await UntilAsync(() => replay.IsReached, "the recovery is under way");
        await DropTableAsync(gone);
        await PutAsync("main", 1, 100, random);
        replay.Release();
        await RequireAsync(recovery, "f0 is brought back");
        await CheckpointAsync();
        EngineCheck.RequireNoRowsOf(gone, _stage.EnvironmentOn(_disk.Inner), await CopyUnderFenceAsync("f0"));
        await LookAsync(random);
    }

    /// <summary>
    /// H43: a datafile comes back out of a set that still has a table which was dropped since; the WAL has rows of it, and
    /// its drop.
    /// </summary>
    public async Task TellTableOfSetAsync(ClientRandom random)
    {
        await CreateTableAsync("gone", "f0");
        Table gone = _tables[^1];
        for (int i = 0; i < 3; i++)
            await CommitOneAsync(gone, 300, random);
        await BackUpToAsync(Store);
        for (int i = 0; i < 3; i++)
            await CommitOneAsync(gone, 300, random);
        await PutAsync("f0", 2, 200, random);
        await DropTableAsync(gone);
        await PutAsync("f0", 2, 200, random);
        await TakeOfflineAsync("f0", random);
        Incarnation had = Replace("f0", null);
        _crashes.IsCritical = true;
        await RecoverAsync("f0", random, had);
        await LookAsync(random);
        EngineCheck.RequireNoRowsOf(gone, _stage.EnvironmentOn(_disk.Inner), await CopyUnderFenceAsync("f0"));
    }

    /// <summary>H19: a move of which the control file finds no room to name the winner, or for any other of its changes.</summary>
    public async Task TellMoveWithoutRoomAsync(ClientRandom random)
    {
        for (int nth = 0; nth <= 4 && !IsOver; nth++)
        {
            await PutAsync("f0", 3, 300, random);
            FillForControlFile(isWanted: nth > 0, nth);
            await TryAsync("move f0", () => _database.MoveAsync(
                new MoveRequest { Datafile = "f0", Path = $"{_database.Engine.Folder}/f0-{nth}{MoveCheck.Ending}" }));
            EndFullControlFile();
            _mayFail = false;
            await _world.Delay(TimeSpan.FromSeconds(1));
            EngineCheck.RequireSoundMoves(_disk.Inner, _database.Engine.Folder, () => _stage.EnvironmentOn(_disk.Inner));
        }

        await LookAsync(random);
    }
}
