using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// That a set is being made: its intent lies in every store where expire could remove what it needs (H35).
/// </summary>
/// <param name="start">What the set is of.</param>
/// <param name="stores">Its own store, if it has one, and the archives.</param>
/// <param name="setStore">Where the set is written to, as the operator wrote it.</param>
/// <remarks>THREADS  one.</remarks>
internal sealed class SetIntents(BackupStart start, IReadOnlyList<IArchiveStore> stores, string setStore)
{
    /// <summary>Where objects can be taken away again, by the backup and by expire; a store of commands keeps all.</summary>
    private readonly IReadOnlyList<IArchiveStore> _stores =
        [.. stores.Where(static store => store.Abilities == StoreAbilities.All)];

    private readonly string _name = BackupSet.PrefixOf(start.BackupId) + BackupSet.IntentName;

    // Stores where this backup's intent lies: what is there is ours.
    private readonly List<IArchiveStore> _registered = [];

    /// <summary>From here on expire keeps what the set needs.</summary>
    /// <param name="isContinued">The set was begun before: its intents are there, also in its own store.</param>
    /// <exception cref="RefusedException">BackupVoid: somebody else has the id, or a set to be continued is gone.</exception>
    public void Register(bool isContinued = false)
    {
        byte[] intent = Intent().ToBytes();
        if (isContinued && _stores[0].Stat(_name) is null)
            throw RecoveryErrors.BackupVoid(start.BackupId, $"its intent in store '{_stores[0].Name}' is gone");
        foreach (IArchiveStore store in _stores)
        {
            if (!store.TryPutIfAbsent(_name, intent) && !isContinued)
                throw RecoveryErrors.BackupVoid(start.BackupId, $"store '{store.Name}' has a set of that id already");
            _registered.Add(store);
        }
    }

    public bool IsIn(IArchiveStore store) => _registered.Contains(store);

    /// <summary>Expire has kept what the set needs up to now.</summary>
    /// <exception cref="RefusedException">BackupVoid: an intent is gone.</exception>
    public void Require()
    {
        foreach (IArchiveStore store in _stores)
        {
            if (store.Stat(_name) is null)
                throw RecoveryErrors.BackupVoid(start.BackupId, $"its intent in store '{store.Name}' is gone");
        }
    }

    /// <summary>There is no set, or none that expire could know of.</summary>
    public void Remove()
    {
        foreach (IArchiveStore store in _registered)
            store.Delete(_name);
    }

    /// <summary>The copies that are gone on with need WAL of before, also where no earlier attempt has said so.</summary>
    private Lsn HoldFromLsn => Lsn.Min(
        Lsn.Min(start.Control.RedoLsn, start.CatalogueLsn), start.Continues?.NeedsFromLsn ?? Lsn.MaxValue);

    private BackupIntent Intent() => new()
    {
        BackupId = start.BackupId,
        SystemId = start.Control.SystemId,
        Timeline = start.Control.Timeline,
        Lineage = start.Control.Lineage,
        HoldFromLsn = HoldFromLsn,
        BaseId = start.Base?.Id,
        BeganAt = start.BeganAt,
        SetStore = setStore,
    };
}
