using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <content>The client that brings datafiles back while the others serve (H15, H40, H41).</content>
internal sealed partial class EngineLife
{
    private readonly Dictionary<string, byte[]> _copies = []; // certified under a fence, the newest of each datafile
    private bool _isMending;
    private bool _hasKilled;

    /// <summary>Datafiles that were brought back.</summary>
    public int Recoveries { get; private set; }

    /// <summary>
    /// Looks for a datafile that is offline or needs recovery, and recovers it; sometimes it makes one itself, takes away
    /// what the file could be brought up from, or changes its mind. What the file then shows is compared as everything
    /// that is read; what a crash of it leaves is opened and compared as any other.
    /// </summary>
    private async Task MendAsync(ClientRandom random)
    {
        bool makesOne = random.Chance(25);
        if (!makesOne && random.Chance(40))
            return; // nobody mends: what is offline stays so, and its WAL is kept (H24)
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(800));
            if (IsOver)
                return;
            if (makesOne && random.Chance(30))
            {
                _mayFail = true;
                await BreakAsync(random.Of(_database.Datafiles).Name, random);
            }

            FileSlot? down = _database.Engine.Slots.All.FirstOrDefault(
                static slot => slot.State is DatafileState.Offline or DatafileState.NeedsRecovery);
            if (down is null || IsOver)
                continue;
            Incarnation? had = random.Chance(50) ? Lose(down.Name, random) : null;
            await RecoverAsync(down.Name, had, random);
        }
    }

    /// <summary>Its disk says no, or its actor dies by a bug while a group of its changes may be under way.</summary>
    private async Task BreakAsync(string file, ClientRandom random)
    {
        if (random.Chance(60))
        {
            _disk.Inner.Faults.On(random.Chance(50) ? FileOp.SyncData : FileOp.Write).Of($"{file}.pitr")
                .Nth(1 + random.Next(3)).Fail(Errno.EIO);
            await TryAsync("checkpoint", () => _database.CheckpointAsync());
            return;
        }

        _hasKilled = true;
        _world.Note("kills", file);
        string owner = $"{_database.Actors.Supervisor.Path}/datafile-{file}";
        foreach (string path in (string[])[owner, owner + "-*"]) // one that came later has a number behind its name
            _database.System.ActorSelection(path).Tell(Kill.Instance, ActorRefs.NoSender);
        await _world.Delay(TimeSpan.FromMicroseconds(random.Next(500)));
    }

    /// <summary>
    /// Its disk loses a datafile that is down, or somebody puts an older copy into its place. From here on a crash leaves
    /// a database in which it needs recovery. Answers the incarnation that must not come back (H15); null if nothing was
    /// done, or the copy is what the control file names.
    /// </summary>
    private Incarnation? Lose(string file, ClientRandom random)
    {
        SimulatedDisk disk = _disk.Inner;
        if (_stage.Settings.MayHaveGaps) // what it is to be brought up from may have been given up
            return null;
        if (Backups.Count == 0 || _crashes.Lost is not null || !disk.Faults.IsEmpty || disk.CapacityBytes != long.MaxValue)
            return null;
        ControlFile control = EngineCheck.ControlOf(disk, _database.Engine.Folder);
        if (control.Catalogue.File(file) is not { } noted || control.MoveOf(noted.Id) is not null)
            return null;
        string path = LinkedName.Resolve(disk, Catalogue.FullPath(_database.Engine.Folder, noted.Path));
        if (disk.Stat(path) is null)
            return null;
        _world.Note("loses", file);
        _crashes.Lost = file;
        disk.Delete(path);
        bool isKnown = false;
        if (random.Chance(50) && _copies.TryGetValue(file, out byte[]? copy))
        {
            using IFileHandle older = disk.Open(path, FileOpen.CreateNew);
            older.Write(0, copy);
            MetaPage meta = Datafile.Inspect(disk, path);
            isKnown = meta.Incarnation == noted.Incarnation && meta.Generation >= noted.Generation;
        }

        disk.SyncFolder(DurableReplace.FolderOf(path));
        return isKnown ? null : noted.Incarnation;
    }

    private async Task RecoverAsync(string file, Incarnation? had, ClientRandom random, bool mayChangeItsMind = true)
    {
        _isMending = true;
        _refusesFrom = TimeSpan.MaxValue;
        using var changed = new CancellationTokenSource();
        Task<DatafileRecoveryResult> recovery = _database.RecoverDatafileAsync(
            new DatafileRecoveryRequest { Datafile = file }, changed.Token);
        if (mayChangeItsMind && random.Chance(15))
        {
            await _world.Delay(random.Time(20));
            changed.Cancel(); // at once: its async form goes on outside of the world
        }

        (bool isDone, DatafileRecoveryResult? result) = await TryAsync($"recover {file}", () => recovery);
        _isMending = false;
        if (!isDone || IsOver)
            return;
        Recoveries++;
        if (_crashes.Lost == file)
            _crashes.Lost = null;
        if (result!.Lsn > _database.Engine.DurableLsn)
            throw new SimulationFailure($"Datafile {file} was recovered to {result.Lsn}, beyond what is durable (H40).");
        if (had is not null && _database.Engine.Slots.All.FirstOrDefault(slot => slot.Name == file)?.File is { } serves
            && serves.Incarnation == had)
            throw new SimulationFailure($"Datafile {file} was brought back as incarnation {had}, which it was (H15).");
        _crashes.Acknowledge(result.Lsn);
    }
}
