using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>A tar as a store that is only read: a backup set that pgtar wrote restores from it as it is.</summary>
/// <remarks>
/// What it holds is found when it is opened; each object is read at its place then. If the file changes afterwards, the
/// digests of the set tell. THREADS  as any store.
/// </remarks>
internal sealed class TarStore : IArchiveStore
{
    private readonly IFileSystem _disk;
    private readonly string _path;
    private readonly SortedDictionary<string, TarPlace> _places;

    /// <param name="disk">Where it lies.</param>
    /// <param name="path">The file.</param>
    /// <param name="name">The address as the operator wrote it.</param>
    /// <exception cref="DamageException">BackupDamaged: it is no tar.</exception>
    public TarStore(IFileSystem disk, string path, string name)
    {
        (_disk, _path, Name) = (disk, path, name);
        using IFileHandle file = disk.Open(path, FileOpen.Read);
        _places = TarIndex.Read(file);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public string Place => _path;

    /// <inheritdoc/>
    public void CreateRoot() => throw IsReadOnly("");

    /// <summary>True if a path is that of a file: then it can only be a tar.</summary>
    public static bool IsOne(IFileSystem disk, string path) => disk.Stat(path) is { IsFolder: false };

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Get(string name) => TryGet(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public ReadOnlyMemory<byte>? TryGet(string name)
    {
        if (!_places.TryGetValue(name, out TarPlace place))
            return null;
        if (place.LengthBytes > Array.MaxLength)
            throw ArchiveErrors.StoreFailed(Name, name, $"it has {place.LengthBytes} bytes, too many to be read at once");
        using IFileHandle file = _disk.Open(_path, FileOpen.Read);
        byte[] content = GC.AllocateUninitializedArray<byte>((int)place.LengthBytes);
        int read = file.Read(place.FromBytes, content);
        return content.AsMemory(0, read);
    }

    /// <inheritdoc/>
    public Stream OpenRead(string name) => _places.TryGetValue(name, out TarPlace place)
        ? new HandleStream(_disk.Open(_path, FileOpen.Read), place.FromBytes, place.LengthBytes, ownsFile: true)
        : throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public IReadOnlyList<string> List(string prefix) =>
        [.. _places.Keys.Where(name => name.StartsWith(prefix, StringComparison.Ordinal))];

    /// <inheritdoc/>
    public StoredObject? Stat(string name) =>
        _places.TryGetValue(name, out TarPlace place) ? new StoredObject(name, place.LengthBytes) : null;

    /// <inheritdoc/>
    public void Put(string name, ReadOnlyMemory<byte> content) => throw IsReadOnly(name);

    /// <inheritdoc/>
    public void Put(string name, Stream content) => throw IsReadOnly(name);

    /// <inheritdoc/>
    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) => throw IsReadOnly(name);

    /// <inheritdoc/>
    public void Delete(string name) => throw IsReadOnly(name);

    /// <inheritdoc/>
    public int RemoveStrays() => 0;

    private StorageFailedException IsReadOnly(string name) =>
        ArchiveErrors.StoreFailed(Name, name, "it is a tar, which is only read");
}
