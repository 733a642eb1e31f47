using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <content>What the stories are told with (<see cref="EngineStory"/>).</content>
internal sealed partial class EngineLife
{
    /// <summary>Longer than anything takes here, but for what waits for somebody.</summary>
    private static readonly TimeSpan s_aWhile = TimeSpan.FromSeconds(30);

    /// <summary>A story has one of two courses in every second seed, so that each is told.</summary>
    private bool IsOtherCourse => _seed % 2 == 0;

    private Table TableIn(string file) =>
        _tables.First(table => table.DatafileId == _database.Datafiles.First(one => one.Name == file).Id);

    /// <summary>Commits that are awaited, one after the other, of this many bytes each.</summary>
    private async Task PutAsync(string file, int commits, int valueBytes, ClientRandom random)
    {
        for (int i = 0; i < commits && !IsOver; i++)
            await CommitOneAsync(TableIn(file), valueBytes, random);
    }

    private async Task CheckpointAsync() => await TryAsync("checkpoint", () => _database.CheckpointAsync());

    private async Task UntilAsync(Func<bool> isSo, string what)
    {
        for (TimeSpan end = _world.Clock.Now + s_aWhile; !isSo(); await _world.Delay(TimeSpan.FromMilliseconds(1)))
        {
            if (IsOver)
                throw new SimulationFailure($"The engine has ended before {what}.", _database.Completion.Exception);
            if (_world.Clock.Now > end)
                throw new SimulationFailure($"After {s_aWhile} it is still waited for that {what}.");
        }
    }

    private async Task<T> RequireAsync<T>(Task<T> task, string what)
    {
        await UntilAsync(() => task.IsCompleted, what);
        return await _world.On(task);
    }

    private async Task RequireAsync(Task task, string what)
    {
        await UntilAsync(() => task.IsCompleted, what);
        await _world.On(task);
    }

    private FileSlot? SlotOf(string file) => _database.Engine.Slots.All.FirstOrDefault(slot => slot.Name == file);

    private bool IsDown(string file) =>
        SlotOf(file)?.State is DatafileState.Offline or DatafileState.NeedsRecovery;

    /// <summary>The datafile's actor dies of a bug.</summary>
    private void KillOwnerOf(string file)
    {
        _hasKilled = true;
        _world.Note("kills", file);
        string owner = $"{_database.Actors.Supervisor.Path}/datafile-{file}";
        foreach (string path in (string[])[owner, owner + "-*"]) // one that came later has a number behind its name
            _database.System.ActorSelection(path).Tell(Kill.Instance, ActorRefs.NoSender);
    }

    /// <summary>A sync of it fails once: from then on it serves reads, and takes commits, from what it has.</summary>
    private async Task TakeOfflineAsync(string file, ClientRandom random)
    {
        _mayFail = true;
        await PutAsync(file, 1, 50, random);
        _disk.Inner.Faults.On(FileOp.SyncData).Of($"{file}.pitr").Fail(Errno.EIO);
        await CheckpointAsync();
        await UntilAsync(() => IsDown(file), $"{file} is offline");
        _mayFail = false;
    }

    /// <summary>
    /// Brought back; of what was replaced or lost it has another incarnation then (H15). What a crash leaves right behind it
    /// opens with the datafile (H40).
    /// </summary>
    private async Task RecoverAsync(string file, ClientRandom random, Incarnation? had = null)
    {
        await RecoverAsync(file, had, random, mayChangeItsMind: false);
        _crashes.Take($"life {_number}, {file} is recovered");
    }

    /// <summary>What a reader of each table sees now; compared when all LSNs are known.</summary>
    private Task LookAsync(ClientRandom random) => ScanAsync(random);

    private async Task<byte[]> CopyUnderFenceAsync(string file)
    {
        (_, FenceGrant? grant) = await TryAsync($"fence {file}", () => _database.FenceAsync(file, TimeSpan.FromMinutes(1)));
        byte[] copy = _disk.Inner.ReadAll(grant!.Path);
        await TryAsync($"unfence {file}", () => _database.UnfenceAsync(grant.FenceId));
        return copy;
    }

    private string PathOf(string file) => LinkedName.Resolve(
        _disk.Inner, _database.Datafiles.First(one => one.Name == file).Path);

    /// <summary>
    /// Somebody puts other bytes into a datafile's place; null: its disk has lost it. Answers the incarnation that it had.
    /// </summary>
    private Incarnation Replace(string file, byte[]? content)
    {
        Incarnation had = EngineCheck.ControlOf(_disk.Inner, _database.Engine.Folder).Catalogue.File(file)!.Incarnation;
        string path = PathOf(file);
        _world.Note(content is null ? "loses" : "is replaced", file);
        _crashes.Lost = file;
        _disk.Inner.Delete(path);
        if (content is not null)
        {
            using IFileHandle older = _disk.Inner.Open(path, FileOpen.CreateNew);
            older.Write(0, content);
            older.SyncData();
        }

        _disk.Inner.SyncFolder(DurableReplace.FolderOf(path));
        return had;
    }

    private async Task<BackupResult> BackUpToAsync(string store, bool isIncremental = false)
    {
        BackupResult made = await _world.On(
            _database.BackupAsync(new BackupRequest { Store = store, Incremental = isIncremental }));
        if (store == Store)
            Backups.Add(made);
        return made;
    }

    /// <summary>Nothing of the WAL is kept longer than somebody may need it: the disk is bounded (promise 9, H24).</summary>
    private void RequireWalGone(Lsn below, string why)
    {
        string folder = $"{_database.Engine.Folder}/wal";
        var geometry = new Wal.WalGeometry(_stage.Settings.Sizes.WalSegmentBytes);
        Lsn redo = RedoOnDisk();
        ulong first = _disk.Inner.List(folder)
            .Min(static name => Wal.SegmentName.TryParse(name, out Wal.SegmentName parsed) ? parsed.Number : ulong.MaxValue);
        ulong least = geometry.NumberOf(Lsn.Min(redo, below));
        if (first < least)
        {
            throw new SimulationFailure(
                $"The WAL folder still has segment {first}, and the redo point is {redo}: {why} (H24).");
        }
    }
}
