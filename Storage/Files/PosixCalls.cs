using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Pitr.Storage;

/// <summary>A file descriptor that is closed once, and not while a call uses it.</summary>
/// <remarks>
/// The runtime counts the calls that hold the handle, so a Dispose beside a running pwrite closes after it: its number
/// cannot become another file's under the call. (Whoever needs the write to have ended waits for it: H13.)
/// </remarks>
internal sealed class DescriptorHandle : SafeHandle
{
    public DescriptorHandle(int descriptor) : base(invalidHandleValue: -1, ownsHandle: true) => SetHandle(descriptor);

    public override bool IsInvalid => handle == -1;

    // Never repeated, also not after EINTR: the number is free by then and may be somebody else's.
    protected override bool ReleaseHandle() => PosixCalls.Close((int)handle) == 0;
}

/// <summary>The system calls that .NET does not have, or not with the promises that Pitr needs.</summary>
/// <remarks>
/// SYSTEMS  Linux on x64 and arm64, glibc and musl (the runtime maps "libc" to either); macOS for development. Structs
/// that differ between them are avoided: lengths come from lseek; <c>statx</c> has one layout on every Linux;
/// of <c>statvfs</c>, <c>statfs</c> and <c>dirent</c> only leading fields are read, whose places are noted where they
/// are read. <c>open</c> takes variable arguments: Apple's arm64 passes those on the stack, see OpenOnApple.
/// ERRORS  a call that fails returns −1 (null) and leaves its number in <see cref="LastErrno"/>, in Linux's numbering.
/// EINTR  open, pread, pwrite, flock and ftruncate are repeated by their callers here; a sync is not: see
/// PosixFileHandle.
/// </remarks>
internal static unsafe partial class PosixCalls
{
    private const int SetDescriptionLock = 37; // F_OFD_SETLK
    private const short WriteLock = 1; // F_WRLCK
    public const int ReadOnly = 0;
    public const int ReadWrite = 2;
    public const uint OwnerFile = 0x180; // 0600
    public const uint OwnerFolder = 0x1C0; // 0700

    private const string Libc = "libc";
    private const int SeekEnd = 2;
    private const int LockExclusive = 2;
    private const int LockDoNotWait = 4;
    private const int FullSync = 51; // F_FULLFSYNC
    private const int WillNeed = 3; // POSIX_FADV_WILLNEED

    // SYNC_FILE_RANGE_WRITE; WAIT_BEFORE | WRITE | WAIT_AFTER
    private const uint Writeback = 2;
    private const uint WritebackAndWait = 1 | 2 | 4;

    private const int StatusBytes = 256;
    private const uint StatusAsked = 0x1 | 0x2 | 0x4 | 0x100 | 0x200; // STATX_TYPE | MODE | NLINK | INO | SIZE

    private static readonly bool IsApple = OperatingSystem.IsMacOS();
    private static readonly bool IsArm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    private static int Create => IsApple ? 0x200 : 0x40;
    private static int Exclusive => IsApple ? 0x800 : 0x80;
    private static int CloseOnExec => IsApple ? 0x1000000 : 0x80000;

    // O_DIRECTORY differs even between the architectures of Linux.
    private static int FolderOnly => IsApple ? 0x100000 : IsArm ? 0x4000 : 0x10000;

    /// <summary>What the name stands for, as far as Pitr asks.</summary>
    internal readonly record struct NameStatus(uint Mode, ulong Inode, long LengthBytes, uint Links, ulong Device)
    {
        public bool IsFolder => (Mode & 0xF000) == 0x4000;
        public bool IsSymlink => (Mode & 0xF000) == 0xA000;
        public bool IsRegular => (Mode & 0xF000) == 0x8000;
    }

    /// <summary>The number of the last call that failed on this thread, in Linux's numbering.</summary>
    public static int LastErrno()
    {
        int errno = Marshal.GetLastPInvokeError();
        return !IsApple ? errno : errno switch
        {
            35 => Errno.EAGAIN,
            45 or 102 => Errno.EOPNOTSUPP,
            62 => Errno.ELOOP,
            63 => Errno.ENAMETOOLONG,
            66 => Errno.ENOTEMPTY,
            69 => Errno.EDQUOT,
            70 => Errno.ESTALE,
            77 => Errno.ENOLCK,
            78 => Errno.ENOSYS,
            _ => errno,
        };
    }

    public static DescriptorHandle? OpenFile(string path, int access, bool createNew)
    {
        int flags = access | CloseOnExec | (createNew ? Create | Exclusive : 0);
        int descriptor = Open(path, flags);
        return descriptor < 0 ? null : new DescriptorHandle(descriptor);
    }

    public static DescriptorHandle? OpenFolder(string path)
    {
        int descriptor = Open(path, ReadOnly | CloseOnExec | FolderOnly);
        return descriptor < 0 ? null : new DescriptorHandle(descriptor);
    }

    public static long Length(DescriptorHandle file) => Seek(file, 0, SeekEnd);

    /// <summary>
    /// Content and length on stable storage: fdatasync, on Apple F_FULLFSYNC (its fsync stops at the drive's cache).
    /// </summary>
    public static int SyncContent(DescriptorHandle file) =>
        !IsApple ? DataSync(file) : FileControl(file, FullSync) != -1 ? 0 : SyncFile(file);

    /// <summary>Names of a folder, or of a file whose handle it is, on stable storage.</summary>
    public static int SyncNames(DescriptorHandle folder) =>
        !IsApple ? SyncFile(folder) : FileControl(folder, FullSync) != -1 ? 0 : SyncFile(folder);

    /// <summary>
    /// Copies at most so many bytes to the same place in another file; the number copied, 0 at the end, -1 if it can't.
    /// </summary>
    public static nint CopyRange(DescriptorHandle from, DescriptorHandle to, long offset, long lengthBytes)
    {
        if (IsApple)
            return -1;
        long at = offset;
        return CopyFileRange(from, ref offset, to, ref at, (nuint)lengthBytes, 0);
    }

    /// <summary>
    /// Begins to write a range back, and waits for it if asked to; 0 where the system has no such call.
    /// </summary>
    public static int WriteBack(DescriptorHandle file, long offset, long lengthBytes, bool waits)
    {
        if (IsApple)
            return 0;
        int result = SyncFileRange(file, offset, lengthBytes, waits ? WritebackAndWait : Writeback);
        return result != 0 && LastErrno() is Errno.ENOSYS or Errno.EOPNOTSUPP ? 0 : result;
    }

    /// <summary>Lets the system begin to read a range; what it answers is nobody's business.</summary>
    public static void ReadAhead(DescriptorHandle file, long offset, long lengthBytes)
    {
        if (!IsApple)
            _ = Advise(file, offset, lengthBytes, WillNeed);
    }

    /// <summary>An exclusive lock on the open file description; fails with EAGAIN if another one holds it.</summary>
    /// <remarks>
    /// On Linux a record lock of the description (F_OFD_SETLK), not flock: .NET's own file streams flock what they
    /// open, so that a program in .NET could not copy a fenced datafile.
    /// </remarks>
    public static int LockNow(DescriptorHandle file)
    {
        var whole = new RecordLock { Kind = WriteLock };
        int result;
        do
            result = IsApple ? LockFile(file, LockExclusive | LockDoNotWait)
                : FileControl(file, SetDescriptionLock, &whole);
        while (result != 0 && LastErrno() == Errno.EINTR);
        return result;
    }

    public static int Status(string path, bool followLink, out NameStatus status)
    {
        const int atCurrentFolder = -100;
        const int doNotFollow = 0x100;
        byte* raw = stackalloc byte[StatusBytes];
        int result = (IsApple, followLink, IsArm) switch
        {
            (false, _, _) => ExtendedStatus(atCurrentFolder, path, followLink ? 0 : doNotFollow, StatusAsked, raw),
            (true, true, true) => AppleStat(path, raw),
            (true, false, true) => AppleLstat(path, raw),
            (true, true, false) => AppleStatOnX64(path, raw),
            _ => AppleLstatOnX64(path, raw),
        };
        status = result == 0 ? StatusOf(raw) : default;
        return result;
    }

    /// <summary>The same of an open file, whatever has become of its name.</summary>
    public static int Status(DescriptorHandle file, out NameStatus status)
    {
        const int emptyPath = 0x1000; // AT_EMPTY_PATH
        byte* raw = stackalloc byte[StatusBytes];
        int result = !IsApple ? ExtendedStatus(file, "", emptyPath, StatusAsked, raw)
            : IsArm ? AppleFstat(file, raw)
            : AppleFstatOnX64(file, raw);
        status = result == 0 ? StatusOf(raw) : default;
        return result;
    }

    private static NameStatus StatusOf(byte* raw) => IsApple
        // struct stat with 64-bit inodes: dev at 0, mode 4, nlink u16 6, ino 8, size 96
        ? new NameStatus(*(ushort*)(raw + 4), *(ulong*)(raw + 8), *(long*)(raw + 96), *(ushort*)(raw + 6), *(uint*)raw)
        // struct statx: nlink u32 at 16, mode u16 28, ino u64 32, size u64 40, dev major u32 136, dev minor u32 140
        : new NameStatus(
            *(ushort*)(raw + 28), *(ulong*)(raw + 32), *(long*)(raw + 40), *(uint*)(raw + 16), *(ulong*)(raw + 136));

    /// <summary>The target of a link, null on failure; EINVAL means that the name is no link.</summary>
    public static string? LinkTarget(string path)
    {
        const int longest = 4096; // PATH_MAX
        byte* buffer = stackalloc byte[longest];
        nint length = ReadLink(path, buffer, longest);
        return length < 0 ? null : System.Text.Encoding.UTF8.GetString(buffer, (int)length);
    }

    /// <summary>All names but "." and "..", unsorted; null on failure.</summary>
    public static List<string>? Names(string folder)
    {
        nint stream = IsApple && !IsArm ? AppleOpenFolderStreamOnX64(folder) : OpenFolderStream(folder);
        if (stream == 0)
            return null;
        int nameAt = IsApple ? 21 : 19; // d_name: behind ino, off, reclen, [namlen,] type
        var names = new List<string>();
        try
        {
            while (true)
            {
                byte* entry = IsApple && !IsArm ? AppleReadFolderOnX64(stream) : ReadFolder(stream);
                if (entry == null)
                    return Marshal.GetLastPInvokeError() == 0 ? names : null;
                string name = Utf8StringMarshaller.ConvertToManaged(entry + nameAt)!;
                if (name is not ("." or ".."))
                    names.Add(name);
            }
        }
        finally
        {
            int errno = Marshal.GetLastPInvokeError();
            _ = CloseFolderStream(stream);
            Marshal.SetLastPInvokeError(errno); // of the read that failed, for the caller
        }
    }

    /// <summary>Bytes that an ordinary user can still write; −1 on failure.</summary>
    public static long FreeBytes(string folder)
    {
        byte* raw = stackalloc byte[512];
        if (FileSystemStatus(folder, raw) != 0)
            return -1;
        // struct statvfs: bsize u64, frsize u64, blocks, bfree, bavail: three u64 on Linux, three u32 on Apple
        ulong unit = *(ulong*)(raw + 8);
        ulong available = IsApple ? *(uint*)(raw + 24) : *(ulong*)(raw + 32);
        return (long)UInt128.Min(unit * (UInt128)available, long.MaxValue);
    }

    /// <summary>The magic number of the folder's file system (Linux); 0 if it is not known.</summary>
    public static uint FileSystemMagic(string folder)
    {
        if (!OperatingSystem.IsLinux())
            return 0;
        byte* raw = stackalloc byte[512]; // struct statfs: type is its first word, 64 bits on both architectures
        return FileSystemKind(folder, raw) == 0 ? (uint)*(ulong*)raw : 0;
    }

    private static int Open(string path, int flags)
    {
        int descriptor;
        do
        {
            descriptor = IsApple && IsArm
                ? OpenOnApple(path, flags, 0, 0, 0, 0, 0, 0, (nint)OwnerFile)
                : OpenPlain(path, flags, OwnerFile);
        }
        while (descriptor < 0 && LastErrno() == Errno.EINTR);
        return descriptor;
    }

    /// <summary>Memory of the process's own, in pages of the system; null if there is none.</summary>
    public static byte* MapMemory(long lengthBytes)
    {
        const int ReadWriteAccess = 3; // PROT_READ | PROT_WRITE
        int flags = 2 | (IsApple ? 0x1000 : 0x20); // MAP_PRIVATE | MAP_ANONYMOUS
        nint memory = Map(0, (nuint)lengthBytes, ReadWriteAccess, flags, -1, 0);
        return memory == -1 ? null : (byte*)memory;
    }

    [LibraryImport(Libc, EntryPoint = "munmap", SetLastError = true)]
    public static partial int UnmapMemory(byte* memory, nint lengthBytes);

    [LibraryImport(Libc, EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint at, nuint lengthBytes, int access, int flags, int descriptor, long offset);

    [LibraryImport(Libc, EntryPoint = "pread", SetLastError = true)]
    public static partial nint ReadAt(DescriptorHandle file, byte* buffer, nint lengthBytes, long offset);

    [LibraryImport(Libc, EntryPoint = "pwrite", SetLastError = true)]
    public static partial nint WriteAt(DescriptorHandle file, byte* buffer, nint lengthBytes, long offset);

    [LibraryImport(Libc, EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Truncate(DescriptorHandle file, long lengthBytes);

    [LibraryImport(Libc, EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Rename(string from, string to);

    [LibraryImport(Libc, EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Link(string existing, string newName);

    [LibraryImport(Libc, EntryPoint = "symlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Symlink(string target, string linkName);

    [LibraryImport(Libc, EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unlink(string path);

    [LibraryImport(Libc, EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int RemoveFolder(string path);

    [LibraryImport(Libc, EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int MakeFolder(string path, uint mode);

    [LibraryImport(Libc, EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(int descriptor);

    [LibraryImport(Libc, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenPlain(string path, int flags, uint mode);

    // Six fillers take the registers that are left, so that the mode lies on the stack, where Apple's arm64 looks.
    [LibraryImport(Libc, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenOnApple(
        string path, int flags, nint a, nint b, nint c, nint d, nint e, nint f, nint mode);

    [LibraryImport(Libc, EntryPoint = "lseek", SetLastError = true)]
    private static partial long Seek(DescriptorHandle file, long offset, int whence);

    [LibraryImport(Libc, EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int DataSync(DescriptorHandle file);

    [LibraryImport(Libc, EntryPoint = "fsync", SetLastError = true)]
    private static partial int SyncFile(DescriptorHandle file);

    [LibraryImport(Libc, EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FileControl(DescriptorHandle file, int command);

    [LibraryImport(Libc, EntryPoint = "posix_fadvise")]
    private static partial int Advise(DescriptorHandle file, long offset, long lengthBytes, int advice);

    [LibraryImport(Libc, EntryPoint = "copy_file_range", SetLastError = true)]
    private static partial nint CopyFileRange(
        DescriptorHandle from, ref long fromOffset, DescriptorHandle to, ref long toOffset, nuint lengthBytes, uint flags);

    [LibraryImport(Libc, EntryPoint = "sync_file_range", SetLastError = true)]
    private static partial int SyncFileRange(DescriptorHandle file, long offset, long lengthBytes, uint flags);

    /// <summary>Variable arguments lie where fixed ones do on Linux, x64 and arm64.</summary>
    [LibraryImport(Libc, EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FileControl(DescriptorHandle file, int command, RecordLock* what);

    /// <summary>
    /// struct flock of 64-bit Linux; start and length 0 are the whole file, the process must be 0 (F_OFD_SETLK).
    /// </summary>
    private struct RecordLock
    {
        public short Kind;
        public short Whence;
        public long Start;
        public long LengthBytes;
        public int Process;
    }

    [LibraryImport(Libc, EntryPoint = "flock", SetLastError = true)]
    private static partial int LockFile(DescriptorHandle file, int operation);

    [LibraryImport(Libc, EntryPoint = "readlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint ReadLink(string path, byte* buffer, nint lengthBytes);

    [LibraryImport(Libc, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ExtendedStatus(int folder, string path, int flags, uint mask, byte* status);

    [LibraryImport(Libc, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ExtendedStatus(
        DescriptorHandle file, string path, int flags, uint mask, byte* status);

    [LibraryImport(Libc, EntryPoint = "stat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AppleStat(string path, byte* status);

    [LibraryImport(Libc, EntryPoint = "lstat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AppleLstat(string path, byte* status);

    [LibraryImport(Libc, EntryPoint = "fstat", SetLastError = true)]
    private static partial int AppleFstat(DescriptorHandle file, byte* status);

    [LibraryImport(Libc, EntryPoint = "fstat$INODE64", SetLastError = true)]
    private static partial int AppleFstatOnX64(DescriptorHandle file, byte* status);

    [LibraryImport(Libc, EntryPoint = "stat$INODE64", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AppleStatOnX64(string path, byte* status);

    [LibraryImport(Libc, EntryPoint = "lstat$INODE64", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AppleLstatOnX64(string path, byte* status);

    [LibraryImport(Libc, EntryPoint = "opendir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint OpenFolderStream(string path);

    [LibraryImport(
        Libc, EntryPoint = "opendir$INODE64", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint AppleOpenFolderStreamOnX64(string path);

    [LibraryImport(Libc, EntryPoint = "readdir", SetLastError = true)]
    private static partial byte* ReadFolder(nint stream);

    [LibraryImport(Libc, EntryPoint = "readdir$INODE64", SetLastError = true)]
    private static partial byte* AppleReadFolderOnX64(nint stream);

    [LibraryImport(Libc, EntryPoint = "closedir", SetLastError = true)]
    private static partial int CloseFolderStream(nint stream);

    [LibraryImport(Libc, EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int FileSystemStatus(string path, byte* status);

    [LibraryImport(Libc, EntryPoint = "statfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int FileSystemKind(string path, byte* status);
}
