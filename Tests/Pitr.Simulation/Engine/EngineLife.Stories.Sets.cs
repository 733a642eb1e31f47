using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <content>Stories of backups, of sets made outside, and of what is kept for them.</content>
internal sealed partial class EngineLife
{
    /// <summary>
    /// H24: the store of a backup stands still; some give the backup up. Commits go on, and the disk of the WAL does not
    /// fill for it.
    /// </summary>
    public async Task TellHungStoreAsync(ClientRandom random)
    {
        bool isGivenUp = IsOtherCourse;
        await PutAsync("main", 3, 200, random);
        WorldGate store = _disk.Hold(FileOp.Write, "/sets/");
        using var cancel = new CancellationTokenSource();
        Task<BackupResult> backup = _database.BackupAsync(new BackupRequest { Store = "/sets" }, cancel.Token);
        await UntilAsync(() => store.IsReached, "the backup writes into its store");
        if (isGivenUp)
        {
            cancel.Cancel();
            await _world.Delay(TimeSpan.FromSeconds(1));
        }

        await WriteBeyondTheBoundAsync(isGivenUp ? 3 : 1, random);
        RequireWalGone(
            RedoOnDisk(), isGivenUp ? "a backup that was given up keeps it" : "a backup that stands still keeps all of it");
        store.Release();
        (bool isDone, BackupResult? made) = await TryAsync("backup", () => backup);
        if (isDone && isGivenUp)
            throw new SimulationFailure($"Backup {made!.BackupId} was given up, and is there.");
    }

    /// <summary>Commits and checkpoints, until more WAL came than may be kept for anybody.</summary>
    private async Task WriteBeyondTheBoundAsync(int checkpoints, ClientRandom random)
    {
        for (Lsn end = _database.Engine.DurableLsn + _stage.Settings.FencedWalBytesMax + 60_000;
            _database.Engine.DurableLsn < end && !IsOver;)
            await PutAsync("f0", 2, 1500, random);
        for (int i = 0; i < checkpoints; i++)
        {
            await _world.Delay(TimeSpan.FromSeconds(3));
            await CheckpointAsync();
        }

        await _world.Delay(TimeSpan.FromSeconds(3));
        await CheckpointAsync();
        await _world.Delay(TimeSpan.FromSeconds(1));
    }

    /// <summary>H24: a datafile is offline for so long that too much WAL is kept for it: commits are refused.</summary>
    public async Task TellOfflineForLongAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 200, random);
        await TakeOfflineAsync("f0", random);
        _mayFail = true; // who writes beyond the bound is refused
        await KeepTooMuchAsync(random);
        for (int i = 0; i < 20 && !_isTooMuchKept; i++)
        {
            await PutAsync("main", 2, 1500, random);
            LookAtKeptWal();
        }

        await CheckpointAsync();
        LookAtKeptWal();
        if (!_isTooMuchKept)
            throw new SimulationFailure("The story has not come to its point: the bound was not passed.");
        _refusesFrom = _world.Clock.Now + s_looksAtKeptWal;
        await CommitLateAsync(random);
        await RecoverAsync("f0", random);
        _mayFail = false;
        await _world.Delay(s_looksAtKeptWal);
        await CheckpointAsync();
        await _world.Delay(s_looksAtKeptWal);
        await PutAsync("f0", 1, 100, random);
        await LookAsync(random);
    }

    /// <summary>
    /// H24: the program that makes a set renews it, and does nothing else: its reader has gone to lunch. Too much WAL is not
    /// kept for it, and of a fence that was broken it does not profit for ever.
    /// </summary>
    public async Task TellSetStandsStillAsync(ClientRandom random)
    {
        bool isFenced = IsOtherCourse;
        await PutAsync("f0", 3, 200, random);
        IKeptSet set = await _world.On(_database.KeepSetAsync("a tar", CancellationToken.None));
        FileId file = _database.Datafiles.First(one => one.Name == "f0").Id;
        if (isFenced)
        {
            await _world.On(set.FenceAsync(file, CancellationToken.None));
            _database.Actors.Supervisor.Tell(
                new BreakFencesOf(file, Problem.From(EngineErrors.FenceWal("f0", 1))), Akka.Actor.ActorRefs.NoSender);
        }
        else
        {
            await WriteBeyondTheBoundAsync(1, random);
            RequireWalGone(RedoOnDisk(), "a set that stands still keeps all of it");
        }

        bool isOver = false;
        for (int i = 0; i < 20 && !isOver; i++)
        {
            (bool isRenewed, _) = await TryAsync("renew", () => Done(set.RenewAsync(CancellationToken.None)));
            isOver = !isRenewed && SetsInStore().Count == 0;
            await _world.Delay(TimeSpan.FromSeconds(15));
        }

        if (!isOver)
            throw new SimulationFailure("A set of which nothing came for 5 minutes holds back what expire may remove (H24).");
        await _world.On(set.DisposeAsync().AsTask());
    }

    private IReadOnlyList<string> SetsInStore() =>
        _disk.Inner.Stat(Store + "/backups") is null ? [] : _disk.Inner.List(Store + "/backups");

    /// <summary>H39: whoever makes a tar is slow to begin; the WAL that it needs stays in the folder, whatever comes.</summary>
    public async Task TellTarKeepsWalAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 200, random);
        IKeptSet set = await _world.On(_database.KeepSetAsync("a tar", CancellationToken.None));
        await using (set.ConfigureAwait(false))
        {
            var output = new MemoryStream();
            var tar = new TarBackup(
                set, new TarBackupRequest(), output, _stage.EnvironmentOn(_disk), _database.Engine.Options);
            for (int i = 0; i < 3; i++)
            {
                await PutAsync("f0", 10, 1200, random);
                await CheckpointAsync();
                await _world.Delay(random.Time(2000));
            }

            TarBackupResult made = await _world.On(tar.RunAsync(CancellationToken.None));
            Tars.Add(new MadeTar(made.Label.StopLsn, output.ToArray()));
        }
    }

    /// <summary>
    /// H13: whoever reads a tar stops reading in the middle of a datafile; the fence is broken, and the file is flushed again
    /// and again before he goes on. That copy is void, and is made once more.
    /// </summary>
    public async Task TellSlowReaderOfTarAsync(ClientRandom random)
    {
        await PutAsync("f0", 50, 9000, random); // more than is read at a time
        await CheckpointAsync();
        await PutAsync("f0", 10, 9000, random);
        IKeptSet set = await _world.On(_database.KeepSetAsync("a tar", CancellationToken.None));
        await using (set.ConfigureAwait(false))
        {
            FileId file = _database.Datafiles.First(one => one.Name == "f0").Id;
            using var output = new SlowReader(
                _world, () => SlotOf("f0")?.State == DatafileState.Fenced, 9000 + random.Next(30_000));
            Task<TarBackupResult> tar = new TarBackup(
                set, new TarBackupRequest(), output, _stage.EnvironmentOn(_disk), _database.Engine.Options)
                .RunAsync(CancellationToken.None);
            await UntilAsync(() => output.IsReached, "the reader stands in the middle of f0");
            _database.Actors.Supervisor.Tell(
                new BreakFencesOf(file, Problem.From(EngineErrors.FenceWal("f0", 1))), Akka.Actor.ActorRefs.NoSender);
            for (int i = 0; i < 4; i++)
            {
                await PutAsync("f0", 25, 9000, random);
                await CheckpointAsync();
            }

            output.GoOn();
            TarBackupResult made = await RequireAsync(tar, "the tar is made");
            Tars.Add(new MadeTar(made.Label.StopLsn, output.ToArray()));
        }
    }

    /// <summary>
    /// H35: the engine is ended while a backup writes into a slow store, and while a set is open. Neither leaves an intent,
    /// or a piece of itself.
    /// </summary>
    public async Task TellEndUnderWayAsync(ClientRandom random)
    {
        _endsInOrder = true;
        await PutAsync("f0", 4, 400, random);
        IKeptSet? set = IsOtherCourse
            ? await _world.On(_database.KeepSetAsync("a tar", CancellationToken.None)) : null;
        WorldGate store = _disk.Hold(FileOp.Write, random.Chance(50) ? "/datafiles/.tmp" : Store + "/backups");
        Task backup = TryAsync("backup", () => _database.BackupAsync(new BackupRequest { Store = Store }));
        await UntilAsync(() => store.IsReached, "the backup writes into its store");
        _ = _world.Start("slow store", async () =>
        {
            await UntilEndBeginsAsync();
            await _world.Delay(TimeSpan.FromSeconds(2));
            store.Release();
            await _world.On(backup);
            if (set is not null)
                await _world.On(set.DisposeAsync().AsTask());
        });
    }

    private async Task UntilEndBeginsAsync()
    {
        while (!_isOver)
            await _world.Delay(TimeSpan.FromMilliseconds(1));
    }

    /// <summary>A destination that takes no byte for a while, once, in the middle of what is written under a condition.</summary>
    private sealed class SlowReader(World world, Func<bool> isThere, int afterBytes) : MemoryStream
    {
        private readonly ManualResetEventSlim _goesOn = new();
        private int _taken;

        public bool IsReached { get; private set; }

        public void GoOn() => _goesOn.Set();

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            base.Write(buffer);
            Stand(buffer.Length);
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            base.Write(buffer, offset, count);
            Stand(count);
        }

        protected override void Dispose(bool disposing)
        {
            _goesOn.Dispose();
            base.Dispose(disposing);
        }

        private void Stand(int bytes)
        {
            if (IsReached || !isThere() || (_taken += bytes) < afterBytes)
                return;
            IsReached = true;
            world.Wait(_goesOn);
        }
    }
}
