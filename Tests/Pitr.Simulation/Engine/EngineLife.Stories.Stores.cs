using Pitr.Storage;

namespace Pitr.Simulation;

/// <content>Stories of archive stores that are away, come and go.</content>
internal sealed partial class EngineLife
{
    private void TakeStoreAway(string store)
    {
        _storeWasAway = _storeIsAway = true;
        _world.Note("is away", store);
        foreach (FileOp op in (FileOp[])[FileOp.Create, FileOp.SyncData, FileOp.Open])
            _disk.Inner.Faults.On(op).Of(store + "/").Always().Fail(Errno.EIO);
    }

    private bool _storeIsAway;

    private void BringStoresBack()
    {
        _storeIsAway = false;
        _disk.Inner.Faults.Clear();
    }

    /// <summary>
    /// H36: a store is away for so long that WAL is given up for it; sometimes until after a restart, which finds the WAL
    /// begin above what the store has, and sometimes gives up more before the store answers. The gap is noted there, and
    /// nothing is restored over it.
    /// </summary>
    public async Task TellGapAsync(ClientRandom random)
    {
        bool isAwayAgain = _seed % 4 == 0;
        if (_number == 2 && !isAwayAgain)
        {
            await PutAsync("f0", 4, 800, random);
            await BackUpToAsync(Store);
            await PutAsync("f0", 2, 800, random);
            return;
        }

        if (_number == 1)
        {
            await PutAsync("f0", 4, 800, random);
            await BackUpToAsync(Store);
            await PutAsync("f0", 4, 800, random);
            await _world.Delay(TimeSpan.FromSeconds(5));
        }

        TakeStoreAway(Store);
        for (int i = 0; i < 5; i++)
        {
            await PutAsync("f0", 12, 1400, random);
            await CheckpointAsync();
            await _world.Delay(TimeSpan.FromSeconds(2));
        }

        if (IsOtherCourse && _number == 1)
            return; // it is still away when the engine ends
        _crashes.IsCritical = true;
        BringStoresBack();
        await _world.Delay(TimeSpan.FromSeconds(70));
        await PutAsync("f0", 3, 800, random);
        await BackUpToAsync(Store);
        await PutAsync("f0", 3, 800, random);
    }

    /// <summary>
    /// H39: a store that has just been added is away. WAL waits for it, as for the others; removed again it holds nothing up.
    /// </summary>
    public async Task TellNewStoreAsync(ClientRandom random)
    {
        await PutAsync("f0", 10, 1400, random);
        await AddStoreAsync();
        TakeStoreAway(Second);
        for (int i = 0; i < 3; i++)
        {
            await PutAsync("f0", 12, 1400, random);
            await CheckpointAsync();
            await _world.Delay(TimeSpan.FromSeconds(2));
        }

        if (IsOtherCourse)
        {
            await RemoveStoreAsync();
            BringStoresBack();
            await _world.Delay(TimeSpan.FromSeconds(5));
            await CheckpointAsync();
            await _world.Delay(TimeSpan.FromSeconds(5));
            RequireWalGone(RedoOnDisk(), "a store that was removed keeps it");
            return;
        }

        BringStoresBack();
        await RequireArchivedAsync();
        EngineCheck.RequireNoHole(_disk.Inner, _database.Engine.Folder, Second, mayGiveUp: false);
    }

    /// <summary>
    /// H7: the database's folder is put back as it was before a store was added, which has gone on since. To add it again is
    /// refused, and it stays as it is.
    /// </summary>
    public async Task TellPutBackAsync(ClientRandom random)
    {
        if (_number == 1)
        {
            await PutAsync("f0", 6, 1400, random);
            PutsBack = _disk.Inner.KillCopy();
            await AddStoreAsync();
            await PutAsync("f0", 20, 1400, random);
            await _world.Delay(TimeSpan.FromSeconds(5));
            return;
        }

        await PutAsync("f0", 3, 1400, random);
        _isChangingStores = true;
        try
        {
            await _world.On(_database.AddStoreAsync(Second));
        }
        catch (RefusedException refused) when (refused.Code == ErrorCode.WalTooShort)
        {
            _world.Note("refused", "add store");
        }

        _isChangingStores = false;
        if (NamesSecond(_disk.Inner))
            throw new SimulationFailure($"{Second} is ahead of the database, and was taken for its archive (H7).");
    }

    /// <summary>A1: commits wait for two stores, of which one goes away for a while, or is removed.</summary>
    public async Task TellWaitForStoresAsync(ClientRandom random)
    {
        await PutAsync("f0", 3, 400, random);
        await BackUpToAsync(Store);
        await AddStoreAsync();
        await PutAsync("f0", 5, 400, random);
        TakeStoreAway(random.Chance(50) ? Second : Store);
        Task waiting = PutAsync("f0", 1, 400, random);
        await _world.Delay(random.Time(20_000));
        bool wasAnswered = waiting.IsCompleted;
        BringStoresBack();
        await UntilAsync(() => waiting.IsCompleted, "who waits for the store is answered");
        _world.Note(wasAnswered ? "was answered" : "has waited");
        _crashes.IsCritical = true;
        await PutAsync("f0", 3, 400, random);
        await RemoveStoreAsync();
        await PutAsync("f0", 3, 400, random);
    }
}
