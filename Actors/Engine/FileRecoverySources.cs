using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>Where the recovery of one datafile looks: what was named, and the stores of the database.</summary>
internal static class FileRecoverySources
{
    /// <summary>On a worker.</summary>
    /// <exception cref="PitrException">A store that was named can't be read, or is another database's.</exception>
    public static FileRecoveryRequest Of(
        EngineContext engine, IReadOnlyList<IArchiveStore> own, WalFolder wal, ControlFile control, FileId file, Lsn end,
        DatafileRecoveryRequest asked)
    {
        IArchiveStore? sets = Named(engine, control, asked.Store);
        IArchiveStore? archive = Named(engine, control, asked.Archive);
        var findings = new List<string>();
        IArchiveStore[] reachable = [.. own.Where(store => IsReachable(store, control.SystemId, findings))];
        return new FileRecoveryRequest
        {
            Folder = engine.Folder,
            Environment = engine.Environment,
            Outside = engine.Outside,
            Control = control,
            File = file,
            End = end,
            OnlyOfSet = sets is not null,
            SetStores = sets is not null ? [sets] : reachable,
            Archives = [.. new[] { archive, sets }.OfType<IArchiveStore>().Concat(reachable)
                .DistinctBy(store => store.Name)],
            Local = () => new FolderWalSource(wal, wal.Folder, engine.DurableLsn),
            Findings = findings,
            Random = engine.Draw,
        };
    }

    private static IArchiveStore? Named(EngineContext engine, ControlFile control, string? address)
    {
        if (address is null)
            return null;
        IArchiveStore store = engine.Stores.OpenToRead(StoreAddress.Parse(address, engine.Folder));
        return ArchiveIdentity.Read(store) is { } identity && identity.System != control.SystemId
            ? throw RecoveryErrors.ForeignSystem($"Archive '{store.Name}'", control.SystemId, identity.System)
            : store;
    }

    /// <summary>One that is away, or does not tell what it has, keeps nothing back that the others have.</summary>
    private static bool IsReachable(IArchiveStore store, SystemIdentifier system, List<string> findings)
    {
        if (!store.Lists())
        {
            findings.Add(StoreListing.LeftOut(store));
            return false;
        }
        try
        {
            ArchiveIdentity.Check(store, system);
            return true;
        }
        catch (PitrException error) when (error is StorageFailedException or RefusedException or DamageException)
        {
            findings.Add($"Archive store '{store.Name}' is not used: {error.Message}");
            return false;
        }
    }
}
