using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <content>The client that brings datafiles back while the others serve (H40, H41).</content>
internal sealed partial class EngineLife
{
    /// <summary>
    /// Looks for a datafile that is offline or needs recovery, and recovers it; sometimes its own disk makes one, and
    /// sometimes it changes its mind. What the file then shows is compared as everything that is read; what a crash of it
    /// leaves is opened and compared as any other.
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
                string failing = random.Of(_database.Datafiles).Name;
                _disk.Inner.Faults.On(random.Chance(50) ? FileOp.SyncData : FileOp.Write).Of($"{failing}.pitr")
                    .Nth(1 + random.Next(3)).Fail(Errno.EIO);
                await TryAsync("checkpoint", () => _database.CheckpointAsync());
            }

            FileSlot? down = _database.Engine.Slots.All.FirstOrDefault(
                static slot => slot.State is DatafileState.Offline or DatafileState.NeedsRecovery);
            if (down is null || IsOver)
                continue;
            await RecoverAsync(down.Name, random);
        }
    }

    private async Task RecoverAsync(string file, ClientRandom random)
    {
        _isMending = true;
        _refusesFrom = TimeSpan.MaxValue;
        using var changed = new CancellationTokenSource();
        Task<DatafileRecoveryResult> recovery = _database.RecoverDatafileAsync(
            new DatafileRecoveryRequest { Datafile = file }, changed.Token);
        if (random.Chance(15))
        {
            await _world.Delay(random.Time(20));
            changed.Cancel(); // at once: its async form goes on outside of the world
        }

        (bool isDone, DatafileRecoveryResult? result) = await TryAsync($"recover {file}", () => recovery);
        _isMending = false;
        if (!isDone || IsOver)
            return;
        Recoveries++;
        if (result!.Lsn > _database.Engine.DurableLsn)
            throw new SimulationFailure($"Datafile {file} was recovered to {result.Lsn}, beyond what is durable (H40).");
        _crashes.Acknowledge(result.Lsn);
    }

    private bool _isMending;

    /// <summary>Datafiles that were brought back.</summary>
    public int Recoveries { get; private set; }
}
