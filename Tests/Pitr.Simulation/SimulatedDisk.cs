using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>Power is off: every operation after the chosen one ends with this, until somebody opens a copy.</summary>
internal sealed class SimulatedCrashException(string message) : Exception(message);

/// <summary>A disk in memory that loses what a real one may lose, the same way again from the same seed.</summary>
/// <remarks>
/// THE FAULT MODEL
/// What power loss (<see cref="CrashCopy"/>) may do:
/// <code>
///   content since the last SyncData  per write and per sector of 512 bytes: lost or kept, in any combination, so
///     of that file                     writes are torn and reordered; an older write may win over a newer one
///   length since then                each growth and each SetLength lost or kept on its own: zeroes where data was
///                                      lost, a short file, or old bytes behind a cut that was lost
///   names since the last SyncFolder  each creation, removal, link and symlink lost or kept on its own; a rename
///     of that folder                   inside one folder happened as a whole or not at all; one between folders is
///                                      two changes, each of which needs the sync of its own folder
///   a file or folder no name of      gone
///     which is on the disk
///   locks, handles                   gone
/// </code>
/// What it never does: change what was synced (but see damage); tear a sector of 512 bytes (drives write sectors
/// whole); lose the name or content of a thing whose sync returned; make a name durable by syncing the file behind it
/// (real file systems often do; nobody promises it); lose a symlink's target where its name stayed.
///
/// What process death (<see cref="KillCopy"/>) does: nothing but end locks and handles. The page cache lives, and stays
/// unsynced: power loss after it still takes it.
///
/// What a failed sync does (H3, H9, H11): SyncData or StartWriteback that fails leaves its pages in the cache, marked
/// clean: reads still show them, some of their sectors reached the disk and others did not, and the next SyncData
/// returns success without having written them. A failed SyncFolder leaves the names unsynced. What the kernel fails to
/// write back by itself is the same, and if the process is killed first, nobody is told (<see cref="LoseWriteback"/>).
///
/// What a full disk does: a write or SetLength past <see cref="CapacityBytes"/> writes nothing and ends with ENOSPC.
/// Room is counted by length, so overwriting in place needs none (ext4, xfs), and sparse files count as if full.
///
/// What a slow disk does: an operation under <see cref="Fault.Slow"/> is done and takes its time, which is virtual: it
/// adds to <see cref="Elapsed"/>, from which a simulated clock goes on. Nobody sleeps.
///
/// StartWriteback makes nothing durable. Damage is made on purpose, since no rule survives any amount of it: reads that
/// fail or give other bytes than were written (<see cref="Fault.Garble"/>), a write that lands elsewhere in its file
/// (<see cref="Fault.Misdirect"/>: both places are wrong then), a disk that reports success and does nothing
/// (<see cref="Fault.Lie"/>), rot (<see cref="Damage"/>). What is promised of damage is that it is told and never taken
/// for good; what it hit may be lost. So a run that damages is judged by that, and never by what must still be there.
///
/// THREADS  any; one lock protects everything, held for one operation. A gate (<see cref="Fault.Hold"/>) waits outside.
/// COST  content is sparse and shared between copies, so a copy costs about as much as there are names and unsynced
/// changes, whatever the lengths.
/// </remarks>
internal sealed class SimulatedDisk : IFileSystem
{
    private const int LinksFollowedMax = 40;

    private readonly Lock _lock = new();
    private readonly SimulatedFolder _root;
    private readonly SimulatedVolume _volume;
    private readonly List<SimulatedHandle> _handles = [];
    private ulong _lastInode;
    private SeededRandom _random;
    private long _crashAt = long.MaxValue;
    private int _locks;

    public SimulatedDisk(long seed = 0)
    {
        Seed = seed;
        _random = new SeededRandom(seed);
        _volume = new SimulatedVolume();
        _root = new SimulatedFolder(++_lastInode, _volume);
        Faults = new Faults(_lock);
    }

    /// <summary>What its own choices (which sectors a failed sync wrote) come from.</summary>
    public long Seed { get; }

    public Faults Faults { get; }

    public OperationLog Log { get; } = new();

    /// <summary>How many operations that change the disk or make it durable were begun.</summary>
    public long OperationCount { get; private set; }

    /// <summary>
    /// Called before each counted operation with its number, from 1, on the thread that does it, with the disk's lock
    /// held: a crash sweep takes its copies here.
    /// </summary>
    public Action<long>? BeforeOperation { get; set; }

    /// <summary>Room of the root's file system.</summary>
    public long CapacityBytes
    {
        get => _volume.CapacityBytes;
        set => _volume.CapacityBytes = value;
    }

    /// <summary>Lengths of all files of the root's file system.</summary>
    public long UsedBytes => _volume.UsedBytes;

    public int OpenHandleCount => _handles.Count;

    public int HeldLockCount => _locks;

    /// <summary>The paths of the handles that are open: the leak check prints them.</summary>
    public IReadOnlyList<string> OpenHandlePaths
    {
        get
        {
            lock (_lock)
                return [.. _handles.Select(handle => handle.Path).Order(StringComparer.Ordinal)];
        }
    }

    /// <summary>True if a scratch file, which has no name any more, has content in the cache alone.</summary>
    public bool HasUnsyncedScratch
    {
        get
        {
            lock (_lock)
                return _handles.Exists(static handle => handle.File is { Links: 0, Pending.Count: > 0 }
                    && handle.Path.EndsWith(SpillFile.Suffix, StringComparison.Ordinal));
        }
    }

    /// <summary>
    /// Who wrote or synced through a handle whose sync or write-back had failed (H3, H11): what was lost with it is
    /// believed durable by whoever goes on. The path, or null if nobody did.
    /// </summary>
    public string? UsedAfterFailedSync { get; private set; }

    /// <summary>
    /// Who wrote to a datafile that was there before without its lock (H13): somebody else may own it already. The path,
    /// or null if nobody did.
    /// </summary>
    public string? WrittenWithoutLock { get; private set; }

    /// <summary>Virtual time that slow operations took, all together.</summary>
    public TimeSpan Elapsed { get; private set; }

    /// <summary>True from the operation named by <see cref="CrashAt"/>, or <see cref="PowerOff"/>.</summary>
    public bool IsOff { get; private set; }

    internal static bool ChangesTheDisk(FileOp op) => op is FileOp.Create or FileOp.Write or FileOp.SyncData
        or FileOp.SetLength or FileOp.Rename or FileOp.Link or FileOp.Symlink or FileOp.Delete or FileOp.DeleteFolder
        or FileOp.CreateFolder or FileOp.SyncFolder;

    // ---- for tests ---------------------------------------------------------------------------------

    /// <summary>
    /// Turns power off before the operation with this number of <see cref="OperationCount"/> is done.
    /// </summary>
    public void CrashAt(long operation) => _crashAt = operation;

    /// <summary>From now on every operation ends with <see cref="SimulatedCrashException"/>.</summary>
    public void PowerOff() => IsOff = true;

    /// <summary>The disk as a machine finds it after power loss; this one stays as it is.</summary>
    public SimulatedDisk CrashCopy(long seed)
    {
        lock (_lock)
            return new PowerLoss(seed).Copy(this, _root, _lastInode);
    }

    /// <summary>The disk as the next process finds it after this one was killed; this one stays as it is.</summary>
    public SimulatedDisk KillCopy()
    {
        lock (_lock)
            return ProcessDeath.Copy(this, _root, _lastInode);
    }

    /// <summary>
    /// The kernel failed to write one file back by itself, and nobody was left to be told: its pages are clean, reads
    /// show them, and the disk has some of them. For a disk that a killed process has left (H3, H10).
    /// </summary>
    public void LoseWriteback(ref SeededRandom random)
    {
        lock (_lock)
        {
            var unsynced = new List<SimulatedFile>();
            Find(_root, unsynced);
            if (unsynced.Count > 0)
                LosePending(unsynced[random.Next(unsynced.Count)]);
        }

        static void Find(SimulatedFolder folder, List<SimulatedFile> unsynced)
        {
            foreach (SimulatedNode node in folder.Cached.Values)
            {
                if (node is SimulatedFolder child)
                    Find(child, unsynced);
                else if (node is SimulatedFile { Pending.Count: > 0 } file)
                    unsynced.Add(file);
            }
        }
    }

    /// <summary>Creates a folder and those above it, durable at once: the ground that a test stands on.</summary>
    public void CreateFolders(string path)
    {
        lock (_lock)
        {
            SimulatedFolder folder = _root;
            foreach (string name in Names(path))
            {
                if (!folder.Cached.TryGetValue(name, out SimulatedNode? node))
                {
                    node = new SimulatedFolder(++_lastInode, folder.Volume);
                    folder.Change(new NameChange(name, node, null));
                    folder.Sync();
                }
                folder = (SimulatedFolder)node;
            }
        }
    }

    /// <summary>Takes a folder and all below away, durably and at once, as if it had never been.</summary>
    public void Vanish(string path)
    {
        lock (_lock)
        {
            SimulatedFolder parent = FolderAt(FileOp.DeleteFolder, ParentOf(path));
            GiveRoomBack(FolderAt(FileOp.DeleteFolder, path));
            parent.Pending.RemoveAll(change => change.Name == NameOf(path));
            parent.Cached.Remove(NameOf(path));
            parent.Durable.Remove(NameOf(path));
        }
    }

    private static void GiveRoomBack(SimulatedFolder folder)
    {
        foreach (SimulatedNode node in folder.Cached.Values)
        {
            if (node is SimulatedFolder child)
                GiveRoomBack(child);
            else
                DropLink(node);
        }
    }

    /// <summary>Puts another file system at a new folder: renames and links across give EXDEV.</summary>
    public SimulatedVolume Mount(string path, long capacityBytes = long.MaxValue)
    {
        lock (_lock)
        {
            CreateFolders(ParentOf(path));
            SimulatedFolder parent = FolderAt(FileOp.CreateFolder, ParentOf(path));
            var volume = new SimulatedVolume { CapacityBytes = capacityBytes, Device = _lastInode };
            parent.Change(new NameChange(NameOf(path), new SimulatedFolder(++_lastInode, volume), null));
            parent.Sync();
            return volume;
        }
    }

    /// <summary>The whole content as reads see it; for assertions.</summary>
    public byte[] ReadAll(string path)
    {
        lock (_lock)
        {
            SimulatedFile file = FileAt(FileOp.Read, path);
            var bytes = new byte[file.Cached.LengthBytes];
            file.Cached.Read(0, bytes);
            return bytes;
        }
    }

    /// <summary>Turns over the bits of a range, in the cache and on the disk: rot, or somebody's editor.</summary>
    public void Damage(string path, long offset, int lengthBytes = 1, byte mask = 0xFF)
    {
        lock (_lock)
        {
            SimulatedFile file = FileAt(FileOp.Write, path);
            foreach (SparseContent content in (SparseContent[])[file.Cached, file.Durable])
            {
                var bytes = new byte[lengthBytes];
                int length = content.Read(offset, bytes);
                for (int i = 0; i < length; i++)
                    bytes[i] ^= mask;
                content.Write(offset, bytes.AsSpan(0, length));
            }
        }
    }

    /// <summary>
    /// True if something whose path contains this is in the cache alone: names of a folder, or content of a file.
    /// </summary>
    public bool HasUnsynced(string pathPart, bool names)
    {
        lock (_lock)
            return HasUnsynced(_root, "", pathPart, names);
    }

    private static bool HasUnsynced(SimulatedFolder folder, string path, string pathPart, bool names)
    {
        if (names && folder.Pending.Count > 0 && path.Contains(pathPart, StringComparison.Ordinal))
            return true;
        foreach ((string name, SimulatedNode node) in folder.Cached)
        {
            if (node is SimulatedFolder child)
            {
                if (HasUnsynced(child, $"{path}/{name}", pathPart, names))
                    return true;
            }
            else if (!names && node is SimulatedFile { Pending.Count: > 0 }
                && $"{path}/{name}".Contains(pathPart, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// One number for all that an opening can find: names and content, what is seen and what is on the disk. Two disks
    /// with the same number are the same state for whoever opens them.
    /// </summary>
    public ulong Fingerprint()
    {
        lock (_lock)
            return new DiskFingerprint().Of(_root);
    }

    /// <summary>The same, but that the files in one folder count by their lengths.</summary>
    public ulong FingerprintBut(string folder)
    {
        lock (_lock)
        {
            var fingerprint = new DiskFingerprint();
            if (Find(folder, followLast: true, out _) is SimulatedFolder found)
                fingerprint.CountByLength(found);
            return fingerprint.Of(_root);
        }
    }

    /// <summary>One number for what reads of a file see.</summary>
    public ulong Fingerprint(string path)
    {
        lock (_lock)
            return FileAt(FileOp.Read, path).Cached.Fingerprint();
    }

    /// <summary>Makes all content and names durable: the state from which a test starts.</summary>
    public void SyncAll()
    {
        lock (_lock)
            SyncAll(_root);
    }

    private static void SyncAll(SimulatedFolder folder)
    {
        folder.Sync();
        foreach (SimulatedNode node in folder.Cached.Values)
        {
            if (node is SimulatedFolder child)
                SyncAll(child);
            else if (node is SimulatedFile file)
                MakeDurable(file);
        }
    }

    /// <summary>Does something in the middle of the next counted operation, before it is done.</summary>
    public void BeforeNext(Action action)
    {
        Action<long>? others = BeforeOperation;
        BeforeOperation = operation =>
        {
            BeforeOperation = others;
            others?.Invoke(operation);
            action();
        };
    }

    /// <summary>Looks before each counted operation of something.</summary>
    public void DuringNext(Action look, Action something)
    {
        Action<long>? others = BeforeOperation;
        BeforeOperation = operation =>
        {
            look();
            others?.Invoke(operation);
        };
        try
        {
            something();
        }
        finally
        {
            BeforeOperation = others;
        }
    }

    // ---- IFileSystem -------------------------------------------------------------------------------

    public IFileHandle Open(string path, FileOpen mode)
    {
        FileOp op = mode == FileOpen.CreateNew ? FileOp.Create : FileOp.Open;
        Begin(op, path);
        lock (_lock)
        {
            SimulatedFile file;
            if (mode == FileOpen.CreateNew)
            {
                SimulatedFolder folder = FolderAt(op, ParentOf(path), path);
                string name = NameOf(path);
                if (folder.Cached.ContainsKey(name))
                    throw Failed(op, path, Errno.EEXIST);
                file = new SimulatedFile(++_lastInode, folder.Volume) { Links = 1 };
                folder.Change(new NameChange(name, file, null));
            }
            else
            {
                file = FileAt(op, path);
            }
            file.Handles++;
            var handle = new SimulatedHandle(this, file, path, isWritable: mode != FileOpen.Read)
            {
                IsOfCreator = mode == FileOpen.CreateNew,
            };
            _handles.Add(handle);
            return handle;
        }
    }

    public FileEntry? Stat(string path)
    {
        Begin(FileOp.Stat, path);
        lock (_lock)
        {
            SimulatedNode? named = Find(path, followLast: false, out int errno);
            if (named is null)
                return errno is 0 or Errno.ENOENT or Errno.ENOTDIR ? null : throw Failed(FileOp.Stat, path, errno);
            SimulatedNode? node = named is SimulatedSymlink ? Find(path, followLast: true, out _) : named;
            return new FileEntry(node is SimulatedFolder, named is SimulatedSymlink,
                (node as SimulatedFile)?.Cached.LengthBytes ?? 0, node?.Inode ?? 0,
                (uint)((node as SimulatedFile)?.Links ?? 1))
            {
                Device = node?.Volume.Device ?? 0,
            };
        }
    }

    public IReadOnlyList<string> List(string folder)
    {
        Begin(FileOp.List, folder);
        lock (_lock)
            return [.. FolderAt(FileOp.List, folder).Cached.Keys.Order(StringComparer.Ordinal)];
    }

    public void Rename(string from, string to)
    {
        if (!Begin(FileOp.Rename, from, to))
            return;
        lock (_lock)
        {
            SimulatedFolder source = FolderAt(FileOp.Rename, ParentOf(from), from);
            SimulatedFolder target = FolderAt(FileOp.Rename, ParentOf(to), to);
            if (!source.Cached.TryGetValue(NameOf(from), out SimulatedNode? node))
                throw Failed(FileOp.Rename, from, Errno.ENOENT);
            if (source.Volume != target.Volume)
                throw Failed(FileOp.Rename, from, Errno.EXDEV);
            target.Cached.TryGetValue(NameOf(to), out SimulatedNode? replaced);
            if (replaced == node)
                return;
            CheckReplaceable(node, replaced, to);
            if (source == target)
            {
                source.Change(new NameChange(NameOf(to), node, RemovedName: NameOf(from)));
            }
            else
            {
                target.Change(new NameChange(NameOf(to), node, null));
                source.Change(new NameChange(NameOf(from), null, null));
            }
            DropLink(replaced);
        }
    }

    public void Link(string existing, string newName)
    {
        if (!Begin(FileOp.Link, existing, newName))
            return;
        lock (_lock)
        {
            if (Find(existing, followLast: false, out int errno) is not SimulatedFile file)
                throw Failed(FileOp.Link, existing, errno == 0 ? Errno.EPERM : errno);
            SimulatedFolder folder = FolderAt(FileOp.Link, ParentOf(newName), newName);
            if (folder.Cached.ContainsKey(NameOf(newName)))
                throw Failed(FileOp.Link, newName, Errno.EEXIST);
            if (folder.Volume != file.Volume)
                throw Failed(FileOp.Link, newName, Errno.EXDEV);
            file.Links++;
            folder.Change(new NameChange(NameOf(newName), file, null));
        }
    }

    public void Symlink(string target, string linkName)
    {
        if (!Begin(FileOp.Symlink, linkName, target))
            return;
        lock (_lock)
        {
            SimulatedFolder folder = FolderAt(FileOp.Symlink, ParentOf(linkName), linkName);
            if (folder.Cached.ContainsKey(NameOf(linkName)))
                throw Failed(FileOp.Symlink, linkName, Errno.EEXIST);
            var link = new SimulatedSymlink(++_lastInode, folder.Volume, target);
            folder.Change(new NameChange(NameOf(linkName), link, null));
        }
    }

    public string? ReadLink(string path)
    {
        Begin(FileOp.ReadLink, path);
        lock (_lock)
        {
            SimulatedNode? node = Find(path, followLast: false, out int errno);
            return node is null ? throw Failed(FileOp.ReadLink, path, errno) : (node as SimulatedSymlink)?.Target;
        }
    }

    public void Delete(string path)
    {
        if (!Begin(FileOp.Delete, path))
            return;
        lock (_lock)
        {
            SimulatedFolder folder = FolderAt(FileOp.Delete, ParentOf(path), path);
            if (!folder.Cached.TryGetValue(NameOf(path), out SimulatedNode? node))
                throw Failed(FileOp.Delete, path, Errno.ENOENT);
            if (node is SimulatedFolder)
                throw Failed(FileOp.Delete, path, Errno.EISDIR);
            folder.Change(new NameChange(NameOf(path), null, null));
            DropLink(node);
        }
    }

    public void DeleteFolder(string path)
    {
        if (!Begin(FileOp.DeleteFolder, path))
            return;
        lock (_lock)
        {
            SimulatedFolder parent = FolderAt(FileOp.DeleteFolder, ParentOf(path), path);
            if (!parent.Cached.TryGetValue(NameOf(path), out SimulatedNode? node))
                throw Failed(FileOp.DeleteFolder, path, Errno.ENOENT);
            if (node is not SimulatedFolder folder)
                throw Failed(FileOp.DeleteFolder, path, Errno.ENOTDIR);
            if (folder.Cached.Count > 0)
                throw Failed(FileOp.DeleteFolder, path, Errno.ENOTEMPTY);
            parent.Change(new NameChange(NameOf(path), null, null));
        }
    }

    public void CreateFolder(string path)
    {
        if (!Begin(FileOp.CreateFolder, path))
            return;
        lock (_lock)
        {
            SimulatedFolder parent = FolderAt(FileOp.CreateFolder, ParentOf(path), path);
            string name = NameOf(path);
            if (name.Length == 0 || parent.Cached.ContainsKey(name))
                throw Failed(FileOp.CreateFolder, path, Errno.EEXIST);
            parent.Change(new NameChange(name, new SimulatedFolder(++_lastInode, parent.Volume), null));
        }
    }

    public void SyncFolder(string folder)
    {
        if (!Begin(FileOp.SyncFolder, folder))
            return;
        lock (_lock)
            FolderAt(FileOp.SyncFolder, folder).Sync();
    }

    public long FreeBytes(string folder)
    {
        Begin(FileOp.FreeBytes, folder);
        lock (_lock)
        {
            SimulatedVolume volume = FolderAt(FileOp.FreeBytes, folder).Volume;
            return Math.Max(0, volume.CapacityBytes - volume.UsedBytes);
        }
    }

    public IDisposable? TryLock(string path)
    {
        Begin(FileOp.Lock, path);
        lock (_lock)
        {
            SimulatedFile file = FileAt(FileOp.Lock, path);
            if (file.IsLocked)
                return null;
            file.IsLocked = true;
            _locks++;
            return new SimulatedLock(this, file);
        }
    }

    // ---- one operation -------------------------------------------------------------------------------

    /// <summary>
    /// Counts, logs, crashes, waits and fails as was asked; true if the operation is to be done, false if the disk
    /// lies.
    /// </summary>
    private bool Begin(FileOp op, string path, string? other = null)
    {
        Fault? fault = BeginWithFault(new LoggedOperation(op, path, other, 0, 0));
        if (fault?.Kind == FaultKind.Fail)
            throw Failed(op, path, fault.Error);
        return fault?.Kind != FaultKind.Lie;
    }

    private Fault? BeginWithFault(in LoggedOperation operation)
    {
        Fault? fault;
        lock (_lock)
        {
            ThrowIfOff(operation);
            if (ChangesTheDisk(operation.Op))
            {
                OperationCount++;
                BeforeOperation?.Invoke(OperationCount);
                if (OperationCount >= _crashAt)
                    IsOff = true;
                ThrowIfOff(operation);
            }
            Log.Add(operation);
            fault = Faults.IsEmpty ? null : Faults.Take(operation.Op, operation.Path);
            if (fault?.Kind == FaultKind.Slow)
                Elapsed += fault.Takes;
        }
        if (fault?.Gate is { } gate)
        {
            gate.Pass();
            lock (_lock)
                ThrowIfOff(operation);
        }
        return fault;
    }

    private void ThrowIfOff(in LoggedOperation operation)
    {
        if (IsOff)
        {
            throw new SimulatedCrashException(
                $"Power is off at operation {OperationCount}: {operation.Op} '{operation.Path}'.");
        }
    }

    private static StorageFailedException Failed(FileOp op, string path, int errno) =>
        StorageErrors.FileOperation(Words(op), path, errno);

    private static string Words(FileOp op) => op switch
    {
        FileOp.SyncData => "sync",
        FileOp.StartWriteback => "start writing back",
        FileOp.SetLength => "set the length of",
        FileOp.ReadLink => "read the link",
        FileOp.DeleteFolder => "delete folder",
        FileOp.CreateFolder => "create folder",
        FileOp.SyncFolder => "sync folder",
        FileOp.FreeBytes => "tell the room at",
        _ => op.ToString().ToLowerInvariant(),
    };

    // ---- content -------------------------------------------------------------------------------------

    private int Read(SimulatedHandle handle, long offset, Span<byte> buffer)
    {
        Fault? fault = BeginWithFault(new LoggedOperation(FileOp.Read, handle.Path, null, offset, buffer.Length));
        if (fault?.Kind == FaultKind.Fail)
            throw Failed(FileOp.Read, handle.Path, fault.Error);
        lock (_lock)
        {
            handle.ThrowIfClosed();
            int read = handle.File.Cached.Read(offset, buffer);
            if (fault?.Kind == FaultKind.Garble && read > 0)
                buffer[0] ^= 0xFF;
            return read;
        }
    }

    private void Write(SimulatedHandle handle, long offset, ReadOnlySpan<byte> bytes)
    {
        Fault? fault = BeginWithFault(new LoggedOperation(FileOp.Write, handle.Path, null, offset, bytes.Length));
        if (fault?.Kind == FaultKind.Fail)
            throw Failed(FileOp.Write, handle.Path, fault.Error);
        if (fault?.Kind == FaultKind.Lie)
            return;
        lock (_lock)
        {
            handle.ThrowIfClosed();
            handle.ThrowIfReadOnly(FileOp.Write);
            NoteUse(handle);
            if (!handle.IsOfCreator && !handle.File.IsLocked && handle.Path.EndsWith(".pitr", StringComparison.Ordinal))
                WrittenWithoutLock ??= handle.Path;
            if (fault?.Kind == FaultKind.Tear)
                bytes = bytes[..Math.Min(bytes.Length, fault.AtBytes)];
            if (fault?.Kind == FaultKind.Misdirect)
                offset = fault.ToOffset;
            if (bytes.Length > 0)
            {
                Grow(handle, FileOp.Write, Math.Max(handle.File.Cached.LengthBytes, offset + bytes.Length));
                handle.File.Cached.Write(offset, bytes);
                handle.File.Pending.Add(ContentChange.Of(offset, bytes));
            }
            if (fault?.Kind == FaultKind.Tear)
                throw Failed(FileOp.Write, handle.Path, fault.Error);
        }
    }

    private void SetLength(SimulatedHandle handle, long lengthBytes)
    {
        if (!Begin(FileOp.SetLength, handle, lengthBytes))
            return;
        lock (_lock)
        {
            handle.ThrowIfClosed();
            handle.ThrowIfReadOnly(FileOp.SetLength);
            Grow(handle, FileOp.SetLength, lengthBytes);
            handle.File.Cached.SetLength(lengthBytes);
            handle.File.Pending.Add(ContentChange.OfLength(lengthBytes));
        }
    }

    private bool Begin(FileOp op, SimulatedHandle handle, long offset)
    {
        Fault? fault = BeginWithFault(new LoggedOperation(op, handle.Path, null, offset, 0));
        return fault?.Kind == FaultKind.Fail ? throw Failed(op, handle.Path, fault.Error)
            : fault?.Kind != FaultKind.Lie;
    }

    private void Sync(SimulatedHandle handle, FileOp op, long offset, long lengthBytes)
    {
        Fault? fault = BeginWithFault(new LoggedOperation(op, handle.Path, null, offset, lengthBytes));
        lock (_lock)
        {
            handle.ThrowIfClosed();
            NoteUse(handle);
            if (fault?.Kind == FaultKind.Fail)
            {
                handle.HasFailedSync = true;
                LosePending(handle.File);
                throw Failed(op, handle.Path, fault.Error);
            }
            if (op == FileOp.SyncData && fault?.Kind != FaultKind.Lie)
                MakeDurable(handle.File);
        }
    }

    private void NoteUse(SimulatedHandle handle)
    {
        if (handle.HasFailedSync)
            UsedAfterFailedSync ??= handle.Path;
    }

    private static void MakeDurable(SimulatedFile file)
    {
        foreach (ContentChange change in file.Pending)
            SimulatedFile.Apply(file.Durable, change);
        file.Pending.Clear();
    }

    /// <summary>The pages are clean now, whatever reached the disk: a later sync has nothing to write.</summary>
    private void LosePending(SimulatedFile file)
    {
        PowerLoss.KeepSome(file.Durable, file.Pending, ref _random);
        file.Pending.Clear();
    }

    private static void Grow(SimulatedHandle handle, FileOp op, long lengthBytes)
    {
        SimulatedVolume volume = handle.File.Volume;
        long more = lengthBytes - handle.File.Cached.LengthBytes;
        if (more > 0 && more > volume.CapacityBytes - volume.UsedBytes)
            throw Failed(op, handle.Path, Errno.ENOSPC);
        volume.UsedBytes += more;
    }

    // ---- names ---------------------------------------------------------------------------------------

    private static string[] Names(string path) => path.Split('/', StringSplitOptions.RemoveEmptyEntries);

    private static string ParentOf(string path)
    {
        string trimmed = path.TrimEnd('/');
        int slash = trimmed.LastIndexOf('/');
        return slash <= 0 ? "/" : trimmed[..slash];
    }

    private static string NameOf(string path)
    {
        string trimmed = path.TrimEnd('/');
        return trimmed[(trimmed.LastIndexOf('/') + 1)..];
    }

    private SimulatedFile FileAt(FileOp op, string path)
    {
        SimulatedNode? node = Find(path, followLast: true, out int errno);
        return node as SimulatedFile ?? throw Failed(op, path, node is null ? errno : Errno.EISDIR);
    }

    private SimulatedFolder FolderAt(FileOp op, string folder, string? inMessage = null)
    {
        SimulatedNode? node = Find(folder, followLast: true, out int errno);
        return node as SimulatedFolder ?? throw Failed(op, inMessage ?? folder, node is null ? errno : Errno.ENOTDIR);
    }

    private SimulatedNode? Find(string path, bool followLast, out int errno)
    {
        errno = 0;
        return FindPlain(path) ?? FindInSteps(path, followLast, out errno);
    }

    /// <summary>The node of a path without links, dots and mistakes, which nearly all are; null for any other.</summary>
    private SimulatedNode? FindPlain(ReadOnlySpan<char> path)
    {
        SimulatedNode node = _root;
        foreach (Range part in path.Split('/'))
        {
            ReadOnlySpan<char> name = path[part];
            if (name.IsEmpty)
                continue;
            if (name is "." or ".." || node is not SimulatedFolder folder || !folder.TryGet(name, out SimulatedNode? child)
                || child is SimulatedSymlink)
                return null;
            node = child;
        }

        return node;
    }

    private SimulatedNode? FindInSteps(string path, bool followLast, out int errno)
    {
        var left = new Stack<string>(Names(path).AsEnumerable().Reverse());
        var folders = new Stack<SimulatedFolder>([_root]);
        int followed = 0;
        errno = 0;
        while (left.TryPop(out string? name))
        {
            if (name == ".")
                continue;
            if (name == "..")
            {
                if (folders.Count > 1)
                    folders.Pop();
                continue;
            }
            if (!folders.Peek().Cached.TryGetValue(name, out SimulatedNode? node))
            {
                errno = Errno.ENOENT;
                return null;
            }
            switch (node)
            {
                case SimulatedSymlink link when left.Count > 0 || followLast:
                    if (++followed > LinksFollowedMax)
                    {
                        errno = Errno.ELOOP;
                        return null;
                    }
                    if (link.Target.StartsWith('/'))
                        folders = new Stack<SimulatedFolder>([_root]);
                    foreach (string part in Names(link.Target).AsEnumerable().Reverse())
                        left.Push(part);
                    break;
                case SimulatedFolder folder:
                    folders.Push(folder);
                    break;
                default:
                    if (left.Count == 0)
                        return node;
                    errno = Errno.ENOTDIR;
                    return null;
            }
        }
        return folders.Peek();
    }

    private static void CheckReplaceable(SimulatedNode node, SimulatedNode? replaced, string to)
    {
        if (replaced is SimulatedFolder folder)
        {
            if (node is not SimulatedFolder)
                throw Failed(FileOp.Rename, to, Errno.EISDIR);
            if (folder.Cached.Count > 0)
                throw Failed(FileOp.Rename, to, Errno.ENOTEMPTY);
        }
        else if (replaced is not null && node is SimulatedFolder)
        {
            throw Failed(FileOp.Rename, to, Errno.ENOTDIR);
        }
    }

    private static void DropLink(SimulatedNode? node)
    {
        if (node is not SimulatedFile file)
            return;
        file.Links--;
        GiveRoomBack(file);
    }

    private static void GiveRoomBack(SimulatedFile file)
    {
        if (file is { Links: 0, Handles: 0 })
            file.Volume.UsedBytes -= file.Cached.LengthBytes;
    }

    private void Close(SimulatedHandle handle)
    {
        lock (_lock)
        {
            if (!_handles.Remove(handle))
                return;
            handle.File.Handles--;
            GiveRoomBack(handle.File);
        }
    }

    // ---- copies ----------------------------------------------------------------------------------------

    /// <summary>A disk around a tree of nodes that a copy made.</summary>
    internal SimulatedDisk(long seed, ulong lastInode, SimulatedFolder root)
    {
        Seed = seed;
        _random = new SeededRandom(seed);
        _lastInode = lastInode;
        _root = root;
        _volume = root.Volume;
        Faults = new Faults(_lock);
    }

    // ---- handles ---------------------------------------------------------------------------------------

    private sealed class SimulatedHandle(SimulatedDisk disk, SimulatedFile file, string path, bool isWritable)
        : IFileHandle
    {
        private bool _isClosed;

        public SimulatedFile File { get; } = file;

        public string Path { get; } = path;

        public bool HasFailedSync { get; set; }

        public bool IsOfCreator { get; init; }

        public long LengthBytes
        {
            get
            {
                lock (disk._lock)
                {
                    ThrowIfClosed();
                    return File.Cached.LengthBytes;
                }
            }
        }

        public uint Links
        {
            get
            {
                lock (disk._lock)
                {
                    ThrowIfClosed();
                    return (uint)File.Links;
                }
            }
        }

        public int Read(long offset, Span<byte> buffer) => disk.Read(this, offset, buffer);

        public void StartRead(long offset, long lengthBytes)
        {
            // a hint, which changes nothing
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => disk.Write(this, offset, bytes);

        public void SyncData() => disk.Sync(this, FileOp.SyncData, 0, 0);

        public void StartWriteback(long offset, long lengthBytes) =>
            disk.Sync(this, FileOp.StartWriteback, offset, lengthBytes);

        /// <summary>What fails has failed when it was started.</summary>
        public void AwaitWriteback(long offset, long lengthBytes) => ThrowIfClosed();

        public void SetLength(long lengthBytes) => disk.SetLength(this, lengthBytes);

        public void Dispose()
        {
            disk.Close(this);
            _isClosed = true;
        }

        public void ThrowIfClosed() => ObjectDisposedException.ThrowIf(_isClosed, this);

        public void ThrowIfReadOnly(FileOp op)
        {
            if (!isWritable)
                throw Failed(op, Path, Errno.EBADF);
        }
    }

    private sealed class SimulatedLock(SimulatedDisk disk, SimulatedFile file) : IDisposable
    {
        private bool _isReleased;

        public void Dispose()
        {
            lock (disk._lock)
            {
                if (_isReleased)
                    return;
                (_isReleased, file.IsLocked) = (true, false);
                disk._locks--;
            }
        }
    }
}
