using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// Opens archive stores by their addresses: folders by itself, other kinds by what the program was given
/// (<see cref="PitrOptions.ArchiveStoreKinds"/>).
/// </summary>
/// <remarks>THREADS  any; what is opened is for one.</remarks>
internal sealed class StoreFactory(IFileSystem files, Func<ulong> draw, IReadOnlyList<ArchiveStoreKind> kinds)
{
    public static StoreFactory Of(PitrOptions options) =>
        new(EngineFactory.FileSystemOf(options), EngineFactory.DrawOf(options), options.ArchiveStoreKinds);

    /// <summary>A store that is written to, too.</summary>
    /// <param name="address">Where it is.</param>
    /// <param name="write">How the pieces of a folder's objects are written; at once if null.</param>
    /// <exception cref="RefusedException">StoreKindUnavailable, StoreAddressInvalid.</exception>
    public IArchiveStore Open(StoreAddress address, ChunkWrite? write = null)
    {
        if (address.IsFolder)
            return new FolderStore(files, address.Folder, draw, address.Text, write);
        ArchiveStoreKind kind = kinds.FirstOrDefault(kind => kind.Scheme == address.Scheme)
            ?? throw ArchiveErrors.KindUnavailable(address.Text, address.Scheme);
        return kind.Open(address);
    }

    /// <summary>A store that is only read: also a tar of a backup set.</summary>
    /// <exception cref="PitrException">As <see cref="Open"/>; DamageException BackupDamaged: it is no tar.</exception>
    public IArchiveStore OpenToRead(StoreAddress address) => address.IsFolder && TarStore.IsOne(files, address.Folder)
        ? new TarStore(files, address.Folder, address.Text)
        : Open(address);

    /// <summary>A store by the name that an intent gives it; null if this program can't reach such a store.</summary>
    public IArchiveStore? TryOpen(string name, string baseFolder)
    {
        try
        {
            return Open(StoreAddress.Parse(name, baseFolder));
        }
        catch (RefusedException)
        {
            return null;
        }
    }

    /// <summary>Stores of several sources; one that is named twice, however it is written, is one.</summary>
    public IReadOnlyList<IArchiveStore> OpenAll(IEnumerable<string> addresses, string baseFolder) =>
        [.. addresses.Select(text => StoreAddress.Parse(text, baseFolder))
            .DistinctBy(static address => address.Place)
            .Select(address => Open(address))];
}
