using System.Buffers;
using System.Collections.Concurrent;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>Writes one piece of a file; so that bulk writing can go through the database's paced writer.</summary>
internal delegate void ChunkWrite(IFileHandle file, long offset, ReadOnlySpan<byte> bytes);

/// <summary>An archive store that is a folder: on this disk, or on a mounted file system.</summary>
/// <remarks>
/// LAYOUT  the object <c>a/b.zst</c> is the file <c>ROOT/a/b.zst</c>. While it is written it is
///         <c>ROOT/a/.tmp-RRRRRRRRRRRRRRRR</c>, locked by its writer; a name with a leading dot is no object.
///
/// DURABILITY  one object, in this order (H27, H39); Put renames over, TryPutIfAbsent links
///   1. folders on the way created, each one's parent synced       3. SyncData
///   2. temporary file created (O_EXCL) and locked, written        4. rename, or link(2) and unlink   5. SyncFolder
/// A crash before 4 leaves a stray, which <see cref="RemoveStrays"/> knows by its lock being free. A kill between 4 and
/// 5 leaves a name that may vanish: so the folder is synced also when the name turns out to be taken, and the folders
/// on the way are synced once by every object of this class, also those that it finds there.
///
/// Conditional creates, whole or in two steps: FolderStore.Staging.cs.
///
/// The root is never created by a write: a mount point whose file system is missing must not be filled.
///
/// SIDE BY SIDE  a deletion takes the folders that it leaves empty, also from under whoever works there: a writer makes them
/// anew, a deletion syncs the folder above, a listing has nothing from there. A temporary file keeps its folder.
///
/// FAILURE  every StorageFailedException of the file system becomes one with code StoreFailed around it. A failed sync
///          is not tried again on the same handle: the next attempt writes a new temporary file.
/// </remarks>
internal sealed partial class FolderStore : IArchiveStore
{
    private const string TemporaryPrefix = ".tmp-";
    private const int ChunkBytes = 1 << 20;
    private const int StreamChunkBytes = 256 << 10; // stays in the cache of the core that has just filled it
    private const int AttemptsMax = 16;
    private const int ErrnoNoEntry = 2;
    private const int ErrnoExists = 17;

    private readonly IFileSystem _files;
    private readonly string _root;
    private readonly Func<ulong> _random;
    private readonly ChunkWrite _write;
    private readonly ConcurrentDictionary<string, bool> _syncedFolders = new(StringComparer.Ordinal);

    /// <param name="files">The disk.</param>
    /// <param name="folder">The root; absolute.</param>
    /// <param name="random">For names of temporary files.</param>
    /// <param name="name">The address as the operator wrote it; the folder if null.</param>
    /// <param name="write">How pieces are written; plain positional writes if null.</param>
    public FolderStore(
        IFileSystem files, string folder, Func<ulong> random, string? name = null, ChunkWrite? write = null)
    {
        _files = files;
        _root = folder;
        _random = random;
        Name = name ?? folder;
        _write = write ?? (static (file, offset, bytes) => file.Write(offset, bytes));
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public string Place => _root;

    /// <inheritdoc/>
    public void CreateRoot() => Guard("create", "", () =>
    {
        if (_files.Stat(_root) is null)
            _files.CreateFolder(_root);
        _files.SyncFolder(ParentOf(_root));
    });

    /// <inheritdoc/>
    public void Put(string name, ReadOnlyMemory<byte> content) => Guard("write", name, () =>
    {
        string path = PrepareFolder(name);
        WithTemporary(path, file => WriteAll(file, content.Span), temporary => _files.Rename(temporary, path));
        SyncFolderOrAbove(ParentOf(path));
    });

    /// <inheritdoc/>
    public void Put(string name, Stream content) => Guard("write", name, () =>
    {
        string path = PrepareFolder(name);
        WithTemporary(path, file => WriteAll(file, content), temporary => _files.Rename(temporary, path));
        SyncFolderOrAbove(ParentOf(path));
    });

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Get(string name) =>
        TryGet(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Get(string name, Memory<byte> into) =>
        TryGet(name, into) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public ReadOnlyMemory<byte>? TryGet(string name) => TryGet(name, default);

    private ReadOnlyMemory<byte>? TryGet(string name, Memory<byte> into) => Guard<ReadOnlyMemory<byte>?>("read", name, () =>
    {
        if (OpenObject(name) is not { } file)
            return null;
        using (file)
        {
            long lengthBytes = file.LengthBytes;
            if (lengthBytes > Array.MaxLength)
                throw ArchiveErrors.StoreFailed(Name, name, $"it has {lengthBytes} bytes, too many to be read at once");
            Memory<byte> content = lengthBytes <= into.Length
                ? into[..(int)lengthBytes]
                : GC.AllocateUninitializedArray<byte>((int)lengthBytes);
            int read = file.Read(0, content.Span);
            return content[..read];
        }
    });

    /// <inheritdoc/>
    public Stream OpenRead(string name) => Guard<Stream>("read", name, () =>
        new ObjectStream(this, name, OpenObject(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name)));

    /// <inheritdoc/>
    public IReadOnlyList<string> List(string prefix) => Guard<IReadOnlyList<string>>("list", prefix, () =>
    {
        int slash = prefix.LastIndexOf('/');
        string folder = slash < 0 ? "" : prefix[..slash];
        if (folder.Length > 0 && !ObjectName.IsValid(folder))
            throw ArchiveErrors.NameInvalid(prefix);
        RequireRoot();
        var names = new List<string>();
        if (FolderIsThere(folder))
            Walk(folder, prefix, names);
        names.Sort(StringComparer.Ordinal);
        return names;
    });

    /// <inheritdoc/>
    public void Delete(string name) => Guard("delete", name, () =>
    {
        string path = PathOf(name);
        if (FolderIsThere(FolderOf(name)) && _files.Stat(path) is not null)
        {
            try
            {
                _files.Delete(path);
            }
            catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry)
            {
                // Somebody else removed it: what was wanted is so.
            }
        }
        SyncFolderOrAbove(ParentOf(path), isTopToo: true); // S4: also for what an attempt that was killed has removed, with its folder
        RemoveFoldersLeftEmpty(FolderOf(name));
    });

    /// <inheritdoc/>
    public StoredObject? Stat(string name) => Guard("look at", name, () =>
    {
        string path = PathOf(name);
        RequireRoot();
        return FolderIsThere(FolderOf(name)) && _files.Stat(path) is { IsFolder: false, IsSymlink: false } entry
            ? new StoredObject(name, entry.LengthBytes)
            : null;
    });

    /// <inheritdoc/>
    public int RemoveStrays() => Guard("clean up", "", () =>
    {
        RequireRoot();
        return RemoveStraysBelow(_root);
    });

    /// <summary>
    /// What a set had for itself goes with its last object. The folders of the root stay: whoever else writes here needs
    /// them.
    /// </summary>
    private void RemoveFoldersLeftEmpty(string folder)
    {
        for (; folder.Contains('/', StringComparison.Ordinal); folder = FolderOf(folder))
        {
            try
            {
                _files.DeleteFolder($"{_root}/{folder}");
            }
            catch (StorageFailedException)
            {
                return; // not empty; or it can't be done, and an empty folder is nothing
            }
            _syncedFolders.TryRemove($"{_root}/{folder}", out _);
        }
    }

    /// <summary>Somebody else's deletion may have taken the folder: that is durable when the one above is synced.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="isTopToo">
    /// Also where one of the root is gone. No deletion takes those, so what was put there is not in the store.
    /// </param>
    private void SyncFolderOrAbove(string folder, bool isTopToo = false)
    {
        for (; ; folder = ParentOf(folder))
        {
            try
            {
                _files.SyncFolder(folder);
                return;
            }
            catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry
                && folder != _root && (isTopToo || ParentOf(folder) != _root))
            {
                // The one above, then.
            }
        }
    }

    private int RemoveStraysBelow(string folder)
    {
        int removed = 0;
        foreach (string entry in ListOrNone(folder))
        {
            string path = $"{folder}/{entry}";
            if (entry.StartsWith(TemporaryPrefix, StringComparison.Ordinal))
            {
                // A living writer holds the lock of its temporary file, on whatever machine it runs.
                using IDisposable? dead = LockIfStillThere(path);
                if (dead is not null)
                {
                    _files.Delete(path);
                    removed++;
                }
            }
            else if (_files.Stat(path) is { IsFolder: true, IsSymlink: false })
            {
                removed += RemoveStraysBelow(path);
            }
        }
        return removed;
    }

    private void Walk(string folder, string prefix, List<string> names)
    {
        string path = folder.Length == 0 ? _root : $"{_root}/{folder}";
        foreach (string entry in ListOrNone(path))
        {
            string name = folder.Length == 0 ? entry : $"{folder}/{entry}";
            bool mayMatch = name.StartsWith(prefix, StringComparison.Ordinal)
                || prefix.StartsWith(name + "/", StringComparison.Ordinal);
            if (!mayMatch || !ObjectName.IsValid(name))
                continue;
            switch (_files.Stat($"{path}/{entry}"))
            {
                case { IsSymlink: true } or null:
                    break; // what a link leads to is not in this folder
                case { IsFolder: true }:
                    Walk(name, prefix, names);
                    break;
                default:
                    names.Add(name);
                    break;
            }
        }
    }

    private IReadOnlyList<string> ListOrNone(string path)
    {
        try
        {
            return _files.List(path);
        }
        catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry && path != _root)
        {
            return []; // its last object was deleted meanwhile
        }
    }

    private void WithTemporary(string path, Action<IFileHandle> write, Action<string> publish)
    {
        using TemporaryFile temporary = WriteTemporary(ParentOf(path), write);
        publish(temporary.File.Path);
        temporary.IsGone = true;
    }

    private TemporaryFile WriteTemporary(string folder, Action<IFileHandle> write)
    {
        (IFileHandle file, IDisposable alive) = CreateTemporary(folder);
        var temporary = new TemporaryFile(this, file, alive);
        try
        {
            write(file);
            file.SyncData();
            return temporary;
        }
        catch // also what the content's stream throws: a cancelled or damaged copy leaves nothing
        {
            temporary.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A temporary file of a new name and its lock. Whoever removes strays can meet the file before it is locked: then
    /// that one has it, and another is made.
    /// </summary>
    private (IFileHandle File, IDisposable Alive) CreateTemporary(string folder)
    {
        for (int attempt = 1; ; attempt++)
        {
            string path = $"{folder}/{TemporaryPrefix}{_random():X16}";
            IFileHandle file;
            try
            {
                file = _files.Open(path, FileOpen.CreateNew);
            }
            catch (StorageFailedException taken) when (taken.Errno == ErrnoExists && attempt < AttemptsMax)
            {
                continue; // a stray of a run that drew the same number (the same seed, or a cloned machine)
            }
            catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry && attempt < AttemptsMax)
            {
                MakeFolders(folder); // a deletion has left it empty meanwhile
                continue;
            }
            try
            {
                if (LockIfStillThere(path) is { } alive)
                    return (file, alive);
            }
            catch
            {
                file.Dispose();
                throw;
            }
            file.Dispose();
            if (attempt >= AttemptsMax)
                throw ArchiveErrors.StoreFailed(
                    Name, path, $"each of {attempt} temporary files was removed before it could be locked");
        }
    }

    /// <summary>
    /// The lock of a temporary file, if it is free and the name still stands under it: a remover may have opened the
    /// file before it was locked here, or have removed it before. No name is used twice, so the name tells the file.
    /// </summary>
    private IDisposable? LockIfStillThere(string path)
    {
        IDisposable? taken;
        try
        {
            taken = _files.TryLock(path);
        }
        catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry)
        {
            return null;
        }
        if (taken is null)
            return null;
        try
        {
            if (_files.Stat(path) is not null)
                return taken;
        }
        catch
        {
            taken.Dispose();
            throw;
        }
        taken.Dispose();
        return null;
    }

    private void DeleteQuietly(string temporary)
    {
        try
        {
            if (_files.Stat(temporary) is not null)
                _files.Delete(temporary);
        }
        catch (StorageFailedException)
        {
            // Best effort: it stays a stray, and the first failure is the one to tell.
        }
    }

    private void WriteAll(IFileHandle file, ReadOnlySpan<byte> content)
    {
        for (int at = 0; at < content.Length; at += ChunkBytes)
            _write(file, at, content.Slice(at, Math.Min(ChunkBytes, content.Length - at)));
    }

    private void WriteAll(IFileHandle file, Stream content)
    {
        byte[] chunk = ArrayPool<byte>.Shared.Rent(StreamChunkBytes);
        try
        {
            long at = 0;
            Span<byte> part = chunk.AsSpan(0, StreamChunkBytes);
            while (content.ReadAtLeast(part, StreamChunkBytes, throwOnEndOfStream: false) is var read and > 0)
            {
                _write(file, at, part[..read]);
                at += read;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }

    private IFileHandle? OpenObject(string name)
    {
        RequireRoot();
        string path = PathOf(name);
        if (!FolderIsThere(FolderOf(name)) || _files.Stat(path) is not { } entry)
            return null;
        if (entry.IsSymlink || entry.IsFolder)
            throw ArchiveErrors.StoreFailed(Name, name, "it is a symbolic link or a folder, not an object");
        try
        {
            return _files.Open(path, FileOpen.Read);
        }
        catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry)
        {
            return null;
        }
    }

    /// <summary>
    /// True if the folder is there; a symbolic link on the way is refused, since it leads out of the store.
    /// </summary>
    private bool FolderIsThere(string folder)
    {
        string path = _root;
        foreach (string part in folder.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            path = $"{path}/{part}";
            if (_files.Stat(path) is not { } entry)
                return false;
            RequireFolder(path, entry);
        }
        return true;
    }

    /// <summary>Creates the folders on the way to an object, durably, and returns the object's path.</summary>
    private string PrepareFolder(string name)
    {
        string path = PathOf(name);
        MakeFolders(ParentOf(path));
        return path;
    }

    private void MakeFolders(string path, int attempt = 1)
    {
        RequireRoot();
        try
        {
            string folder = _root;
            foreach (string part in path[_root.Length..].Split('/', StringSplitOptions.RemoveEmptyEntries))
            {
                MakeFolder(folder, $"{folder}/{part}");
                folder = $"{folder}/{part}";
            }
        }
        catch (StorageFailedException gone) when (gone.Errno == ErrnoNoEntry && attempt < AttemptsMax)
        {
            MakeFolders(path, attempt + 1); // a deletion has left one on the way empty
        }
    }

    private void MakeFolder(string folder, string child)
    {
        FileEntry? there = _files.Stat(child);
        if (there is not null)
            RequireFolder(child, there);
        else
            CreateFolder(child);
        if (there is null || !_syncedFolders.ContainsKey(child))
        {
            _files.SyncFolder(folder);
            _syncedFolders[child] = true;
        }
    }

    private void CreateFolder(string path)
    {
        _syncedFolders.TryRemove(path, out _);
        try
        {
            _files.CreateFolder(path);
        }
        catch (StorageFailedException taken) when (taken.Errno == ErrnoExists)
        {
            // Another writer was faster.
        }
    }

    private void RequireRoot()
    {
        if (_files.Stat(_root) is not { IsFolder: true })
            throw ArchiveErrors.StoreFailed(Name, _root, "the folder is not there");
    }

    private void RequireFolder(string path, FileEntry entry)
    {
        if (entry.IsSymlink || !entry.IsFolder)
            throw ArchiveErrors.StoreFailed(Name, path, "it is not a folder of the store");
    }

    private string PathOf(string name) =>
        ObjectName.IsValid(name) ? $"{_root}/{name}" : throw ArchiveErrors.NameInvalid(name);

    private static string FolderOf(string name) => name.LastIndexOf('/') is var at and > 0 ? name[..at] : "";

    private static string ParentOf(string path) => path.LastIndexOf('/') is var at and > 0 ? path[..at] : "/";

    private void Guard(string operation, string name, Action body) => Guard(operation, name, () =>
    {
        body();
        return true;
    });

    private T Guard<T>(string operation, string name, Func<T> body)
    {
        try
        {
            return body();
        }
        catch (StorageFailedException failed) when (failed.Code != ErrorCode.StoreFailed)
        {
            throw ArchiveErrors.StoreFailed(Name, operation, name, failed);
        }
    }

    /// <summary>Its lock says that its writer lives; what did not get a name goes with it.</summary>
    private sealed class TemporaryFile(FolderStore store, IFileHandle file, IDisposable alive) : IDisposable
    {
        public IFileHandle File => file;

        /// <summary>The temporary name was renamed, or unlinked.</summary>
        public bool IsGone { get; set; }

        public void Dispose()
        {
            try
            {
                if (!IsGone)
                    store.DeleteQuietly(file.Path);
            }
            finally
            {
                alive.Dispose();
                file.Dispose();
            }
        }
    }

    /// <summary>One object, read forward.</summary>
    private sealed class ObjectStream(FolderStore store, string name, IFileHandle file) : Stream
    {
        private readonly long _lengthBytes = file.LengthBytes;
        private long _at;

        public override bool CanRead => true;
        public override bool CanSeek => true;
        public override bool CanWrite => false;
        public override long Length => _lengthBytes;

        public override long Position
        {
            get => _at;
            set => Seek(value, SeekOrigin.Begin);
        }

        public override int Read(Span<byte> buffer)
        {
            try
            {
                int read = file.Read(_at, buffer);
                _at += read;
                return read;
            }
            catch (StorageFailedException failed)
            {
                throw ArchiveErrors.StoreFailed(store.Name, "read", name, failed);
            }
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override long Seek(long offset, SeekOrigin origin)
        {
            long target = origin switch
            {
                SeekOrigin.Begin => offset,
                SeekOrigin.Current => _at + offset,
                _ => _lengthBytes + offset,
            };
            ArgumentOutOfRangeException.ThrowIfNegative(target, nameof(offset));
            return _at = target;
        }

        public override void Flush()
        {
        }

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                file.Dispose();
            base.Dispose(disposing);
        }
    }
}
