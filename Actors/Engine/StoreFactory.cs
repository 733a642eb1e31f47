using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// Opens archive stores by their addresses: folders and commands by itself, other kinds by what the program was given
/// (<see cref="PitrOptions.ArchiveStoreKinds"/>).
/// </summary>
/// <remarks>THREADS  any; what is opened is for one.</remarks>
internal sealed class StoreFactory(IFileSystem files, PitrOptions options, string? folder = null)
{
    private readonly Func<ulong> _draw = EngineFactory.DrawOf(options);

    /// <param name="options">Kinds and commands.</param>
    /// <param name="folder">Of a database whose pitr.json may name commands, too; null: of none.</param>
    public static StoreFactory Of(PitrOptions options, string? folder = null) =>
        new(EngineFactory.FileSystemOf(options), options, folder);

    /// <summary>A store that is written to, too.</summary>
    /// <param name="address">Where it is.</param>
    /// <param name="write">How the pieces of a folder's objects are written; at once if null.</param>
    /// <exception cref="RefusedException">StoreKindUnavailable, StoreAddressInvalid, KeyFileInvalid.</exception>
    public IArchiveStore Open(StoreAddress address, ChunkWrite? write = null)
    {
        IArchiveStore store = OpenPlain(address, write);
        return KeyFile is { } path ? new EncryptedStore(store, ArchiveKey.Read(files, path), _draw) : store;
    }

    /// <summary>The file of the key, in full; null: nothing is encrypted.</summary>
    public string? KeyFile =>
        (options.ArchiveKeyFile ?? (folder is null ? null : DatabaseSettings.Read(files, folder).ArchiveKeyFile)) is { } path
            ? Path.GetFullPath(path, folder ?? Environment.CurrentDirectory) : null;

    private IArchiveStore OpenPlain(StoreAddress address, ChunkWrite? write)
    {
        if (address.IsFolder)
            return new FolderStore(files, address.Folder, _draw, address.Text, write);
        if (address.Scheme == StoreAddress.CommandScheme)
        {
            ArchiveCommand command = CommandOf(address.Path) ?? throw ArchiveErrors.CommandUnknown(address.Text, address.Path);
            return new CommandStore(address, command, files, _draw, options.Clock);
        }
        ArchiveStoreKind kind = options.ArchiveStoreKinds.FirstOrDefault(kind => kind.Scheme == address.Scheme)
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

    /// <summary>The commands of a name; null if there are none. What the options say wins.</summary>
    public ArchiveCommand? CommandOf(string name) => options.ArchiveCommands.TryGetValue(name, out ArchiveCommand? command)
        ? command
        : folder is not null
            && DatabaseSettings.Read(files, folder).Commands?.GetValueOrDefault(name) is { } said ? said.ToCommand() : null;

    /// <summary>Stores of several sources; one that is named twice, however it is written, is one.</summary>
    public IReadOnlyList<IArchiveStore> OpenAll(IEnumerable<string> addresses, string baseFolder) =>
        [.. addresses.Select(text => StoreAddress.Parse(text, baseFolder))
            .DistinctBy(static address => address.Place)
            .Select(address => Open(address))];
}
