namespace Pitr.Storage;

/// <summary>
/// Error numbers of the operating system as Pitr names them: Linux's. Other systems' numbers are translated where they
/// come in (<c>PosixCalls</c>), so that a comparison means the same everywhere.
/// </summary>
internal static class Errno
{
    public const int EPERM = 1;
    public const int ENOENT = 2;
    public const int EINTR = 4;
    public const int EIO = 5;
    public const int EBADF = 9;
    public const int EAGAIN = 11;
    public const int ENOMEM = 12;
    public const int EACCES = 13;
    public const int EBUSY = 16;
    public const int EEXIST = 17;
    public const int EXDEV = 18;
    public const int ENODEV = 19;
    public const int ENOTDIR = 20;
    public const int EISDIR = 21;
    public const int EINVAL = 22;
    public const int ENFILE = 23;
    public const int EMFILE = 24;
    public const int EFBIG = 27;
    public const int ENOSPC = 28;
    public const int EROFS = 30;
    public const int EMLINK = 31;
    public const int ENAMETOOLONG = 36;
    public const int ENOLCK = 37;
    public const int ENOSYS = 38;
    public const int ENOTEMPTY = 39;
    public const int ELOOP = 40;
    public const int EOPNOTSUPP = 95;
    public const int ESTALE = 116;
    public const int EDQUOT = 122;

    /// <summary>The number's name, and what it means in words.</summary>
    public static string Text(int errno) => errno switch
    {
        EPERM => "EPERM, operation not permitted",
        ENOENT => "ENOENT, no such file or folder",
        EINTR => "EINTR, interrupted",
        EIO => "EIO, input/output error",
        EBADF => "EBADF, not open for this",
        EAGAIN => "EAGAIN, held by somebody else",
        ENOMEM => "ENOMEM, out of memory",
        EACCES => "EACCES, permission denied",
        EBUSY => "EBUSY, in use",
        EEXIST => "EEXIST, it exists already",
        EXDEV => "EXDEV, on another file system",
        ENODEV => "ENODEV, no such device",
        ENOTDIR => "ENOTDIR, not a folder",
        EISDIR => "EISDIR, it is a folder",
        EINVAL => "EINVAL, invalid argument",
        ENFILE => "ENFILE, too many open files on the machine",
        EMFILE => "EMFILE, too many open files in the process",
        EFBIG => "EFBIG, file too large",
        ENOSPC => "ENOSPC, no room on the disk",
        EROFS => "EROFS, read-only file system",
        EMLINK => "EMLINK, too many links",
        ENAMETOOLONG => "ENAMETOOLONG, name too long",
        ENOLCK => "ENOLCK, no locks available",
        ENOSYS => "ENOSYS, not available on this system",
        ENOTEMPTY => "ENOTEMPTY, folder not empty",
        ELOOP => "ELOOP, too many symbolic links",
        EOPNOTSUPP => "EOPNOTSUPP, not supported by this file system",
        ESTALE => "ESTALE, stale file handle",
        EDQUOT => "EDQUOT, disk quota exceeded",
        _ => $"errno {errno}",
    };
}
