using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <content>
/// The client that adds and removes a store while the engine runs, and what is promised of stores: a commit that waited for
/// them is in them (A1), one that was added has all that came since (H39), one that was removed is named no longer, and
/// nothing is missing in any of them but what is noted as a gap (H36, O3).
/// </content>
internal sealed partial class EngineLife
{
    /// <summary>The store that comes and goes; pitr.json names it.</summary>
    public const string Second = "/second";

    private bool _isChangingStores;
    private bool _isSecondOnlyNamed; // its addition failed at pitr.json: the next start archives into it, if that names it

    /// <summary>Stores that the database archives into now, but for one that is just coming or going.</summary>
    private IEnumerable<string> Stores
    {
        get
        {
            if (_stage.Settings.Archives)
                yield return Store;
            if (!_isChangingStores && !_isSecondOnlyNamed && NamesSecond(_disk.Inner))
                yield return Second;
        }
    }

    private bool NamesSecond(SimulatedDisk disk) =>
        DatabaseSettings.Read(disk, _database.Engine.Folder).Stores?.Contains(Second) is true;

    private async Task ChangeStoresAsync(ClientRandom random)
    {
        bool changes = random.Chance(50); // the other seeds are the runs that they were without it
        while (changes && !IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(6000));
            if (IsOver)
                return;
            if (NamesSecond(_disk.Inner))
                await RemoveStoreAsync();
            else
                await AddStoreAsync();
        }
    }

    private async Task AddStoreAsync()
    {
        _isChangingStores = true;
        (bool isAdded, _) = await TryAsync("add store", () => _database.AddStoreAsync(Second));
        (_isChangingStores, _isSecondOnlyNamed) = (false, !isAdded);
        if (isAdded && !NamesSecond(_disk.Inner.CrashCopy(_world.Draw(int.MaxValue))))
            throw new SimulationFailure($"{Second} was added, and pitr.json does not name it durably (H39).");
    }

    private async Task RemoveStoreAsync()
    {
        _isChangingStores = true;
        (bool isRemoved, _) = await TryAsync("remove store", () => _database.RemoveStoreAsync(Second));
        (_isChangingStores, _isSecondOnlyNamed) = (false, _isSecondOnlyNamed && !isRemoved);
        if (isRemoved && NamesSecond(_disk.Inner.CrashCopy(_world.Draw(int.MaxValue))))
            throw new SimulationFailure($"{Second} was removed, and pitr.json still names it (H39).");
    }

    /// <summary>
    /// A1: a commit was acknowledged that waits for the archive: were the machine lost now, the stores would have it.
    /// </summary>
    private void RequireInStores(Lsn at)
    {
        if (_stage.Settings.ArchiveCommitWait is null)
            return;
        if (_stage.Settings.Archives && at > Archived)
            Archived = at;
        if (_world.Draw(100) >= 15)
            return;
        SimulatedDisk left = _disk.Inner.CrashCopy(_world.Draw(int.MaxValue));
        foreach (string store in Stores)
        {
            Lsn end = EngineCheck.EndOfArchive(left, _database.Engine.Folder, store);
            if (end < at)
                throw new SimulationFailure($"A commit waited for {store} and was acknowledged at {at}: there the WAL ends at {end} (A1).");
        }
    }
}
