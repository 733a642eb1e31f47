namespace Pitr.Storage;

/// <summary>How <see cref="IFileSystem.Open"/> opens a file.</summary>
internal enum FileOpen
{
    /// <summary>It must exist; reading only.</summary>
    Read,
    /// <summary>It must exist; reading and writing.</summary>
    ReadWrite,
    /// <summary>It must not exist (O_EXCL); mode 0600.</summary>
    CreateNew,
}

/// <summary>What a name stands for.</summary>
/// <param name="IsFolder">True if it is a folder (links followed).</param>
/// <param name="IsSymlink">True if the name itself is a symbolic link.</param>
/// <param name="LengthBytes">Length of the file (links followed).</param>
/// <param name="Inode">Inode (links followed).</param>
/// <param name="Links">How many names the file has (links followed).</param>
internal sealed record FileEntry(bool IsFolder, bool IsSymlink, long LengthBytes, ulong Inode, uint Links = 1)
{
    /// <summary>Who may read, write and run it, as chmod counts (links followed).</summary>
    public int Permissions { get; init; } = 0x180; // 0600

    /// <summary>The number of the file system that it lies on (links followed).</summary>
    public ulong Device { get; init; }
}

/// <summary>
/// The only door to the disk: names, folders and their durability. Everything below Host goes through it, so that a
/// test can crash it.
/// </summary>
/// <remarks>
/// FAILURE  every member throws <see cref="StorageFailedException"/> (code DiskFull for ENOSPC/EDQUOT) and nothing
/// else, except that <see cref="Open"/> and <see cref="Stat"/> document what "not there" gives.
/// DURABILITY  a name (create, rename, link, symlink, delete) is durable only after <see cref="SyncFolder"/> of the
/// folder that holds it; content only after <see cref="IFileHandle.SyncData"/> of a handle to it.
/// </remarks>
internal interface IFileSystem
{
    /// <summary>
    /// Opens a file. A missing one (or an existing one with CreateNew) is a StorageFailedException with Errno ENOENT
    /// (EEXIST).
    /// </summary>
    IFileHandle Open(string path, FileOpen mode);

    /// <summary>What the name stands for; null if there is nothing.</summary>
    FileEntry? Stat(string path);

    /// <summary>Names (not paths) in a folder, sorted ordinally.</summary>
    IReadOnlyList<string> List(string folder);

    /// <summary>Renames over whatever is there, atomically.</summary>
    void Rename(string from, string to);

    /// <summary>link(2): gives an existing file a second name; EEXIST if the name is taken.</summary>
    void Link(string existing, string newName);

    /// <summary>symlink(2).</summary>
    void Symlink(string target, string linkName);

    /// <summary>The target of a symbolic link as it is written; null if it is not one.</summary>
    string? ReadLink(string path);

    /// <summary>Removes a file's name (not a folder's).</summary>
    void Delete(string path);

    /// <summary>Removes an empty folder.</summary>
    void DeleteFolder(string path);

    /// <summary>Creates one folder, 0700; parents must exist; EEXIST if there is something.</summary>
    void CreateFolder(string path);

    /// <summary>Makes the names in a folder durable (fsync of the folder).</summary>
    void SyncFolder(string folder);

    /// <summary>Bytes that an ordinary user can still write on the folder's file system.</summary>
    long FreeBytes(string folder);

    /// <summary>
    /// Takes an exclusive lock on an existing file, which dies with the process (F_OFD_SETLK; flock on macOS).
    /// Null if somebody else, also in this process, holds it.
    /// </summary>
    IDisposable? TryLock(string path);
}

/// <summary>One open file: positional I/O and its durability. Any thread may use it; Dispose closes it once.</summary>
internal interface IFileHandle : IDisposable
{
    /// <summary>The path it was opened by.</summary>
    string Path { get; }

    /// <summary>The present length.</summary>
    long LengthBytes { get; }

    /// <summary>
    /// fstat: how many names the file has now. One without a name gets none again, and is gone when it is closed.
    /// </summary>
    uint Links { get; }

    /// <summary>Reads from an offset until the buffer is full or the file ends; returns the bytes read.</summary>
    int Read(long offset, Span<byte> buffer);

    /// <summary>
    /// posix_fadvise(WILLNEED) where the platform has it, else nothing: the disk begins to read what <see cref="Read"/>
    /// will ask for, and nobody waits for it. A hint: it never fails.
    /// </summary>
    void StartRead(long offset, long lengthBytes);

    /// <summary>Writes all of it at an offset (pwrite until done).</summary>
    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>
    /// Copies a range of another file to the same place in this one: copy_file_range where both are of the real disk
    /// and it can, else by reading and writing.
    /// </summary>
    /// <returns>The bytes copied: fewer than asked for only if the other file ends before.</returns>
    long CopyFrom(IFileHandle origin, long offset, long lengthBytes) =>
        RangeCopy.ByHand(origin, this, offset, lengthBytes);

    /// <summary>
    /// fdatasync: content and length are durable when it returns. Never call it again after it threw.
    /// </summary>
    void SyncData();

    /// <summary>
    /// sync_file_range(WRITE) where the platform has it, else nothing: the disk begins to write a range, and nobody waits
    /// for it. Makes nothing durable. An error from it is a failed sync (H11).
    /// </summary>
    void StartWriteback(long offset, long lengthBytes);

    /// <summary>
    /// sync_file_range(WAIT_BEFORE|WRITE|WAIT_AFTER) where the platform has it, else nothing: nothing of a range is dirty
    /// or on its way to the disk when it returns. Makes nothing durable. An error from it is a failed sync (H11).
    /// </summary>
    void AwaitWriteback(long offset, long lengthBytes);

    /// <summary>ftruncate.</summary>
    void SetLength(long lengthBytes);
}
