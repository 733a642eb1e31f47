using System.Text.Json;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>That an operator keeps a set whatever its age: object <c>pin.json</c> of the set.</summary>
/// <remarks>THREADS  any.</remarks>
internal static class SetPins
{
    /// <summary>From here on expire keeps the set, its bases, and the WAL from its start to its stop.</summary>
    /// <returns>False if it was pinned already.</returns>
    /// <exception cref="NotFoundException">BackupUnknown.</exception>
    /// <exception cref="RefusedException">BackupVoid: it is not complete.</exception>
    /// <exception cref="DamageException">BackupDamaged.</exception>
    public static bool Pin(IArchiveStore store, string backupId, DateTimeOffset now)
    {
        BackupSet set = BackupCatalog.Read(store).Get(backupId);
        var pin = new SetPin { BackupId = backupId, PinnedAt = now };
        bool pinned = store.TryPutIfAbsent(
            NameOf(set), JsonSerializer.SerializeToUtf8Bytes(pin, RecoveryJson.Default.SetPin));
        // Expire removes the manifest first: what it began to remove meanwhile can't be kept any more.
        if (store.Stat(set.Prefix + BackupSet.ManifestName) is not null)
            return pinned;
        store.Delete(NameOf(set));
        throw RecoveryErrors.BackupUnknown(store.Name, backupId);
    }

    /// <summary>Expire may remove the set when the promise no longer needs it.</summary>
    /// <returns>False if it was not pinned.</returns>
    /// <exception cref="PitrException">As <see cref="Pin"/>.</exception>
    public static bool Unpin(IArchiveStore store, string backupId)
    {
        BackupSet set = BackupCatalog.Read(store).Get(backupId);
        bool wasPinned = IsPinned(set);
        store.Delete(NameOf(set));
        return wasPinned;
    }

    public static bool IsPinned(BackupSet set) => set.Store.Stat(NameOf(set)) is not null;

    private static string NameOf(BackupSet set) => set.Prefix + BackupSet.PinName;
}

/// <summary>The content of a pin; that the object is there is what counts.</summary>
internal sealed record SetPin
{
    public required string BackupId { get; init; }
    public required DateTimeOffset PinnedAt { get; init; }
}
