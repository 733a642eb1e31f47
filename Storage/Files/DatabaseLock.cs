using System.Text;

namespace Pitr.Storage;

/// <summary>One engine per database: an exclusive lock that dies with its process.</summary>
/// <remarks>
/// It is a lock on <c>pitr.lock</c> inside the folder. The file's content only tells people who holds it (process,
/// machine, since when); it decides nothing, is not synced, and may be left over. The file is never deleted: a second
/// engine could lock a new file of that name while the first still holds the old one.
/// A control file cannot carry the lock, because each checkpoint puts another file under its name.
/// THREADS  Take and Dispose on any; the lock is the object's, not a thread's. H13: dispose of it only when every
/// worker that can write into the folder has ended.
/// </remarks>
internal sealed class DatabaseLock : IDisposable
{
    /// <summary>Its name inside the folder.</summary>
    public const string FileName = "pitr.lock";

    private const int HolderBytesMax = 512;

    private readonly IDisposable _lock;

    private DatabaseLock(IDisposable taken) => _lock = taken;

    /// <summary>Takes it, or says who has it.</summary>
    /// <param name="disk">Where the folder is.</param>
    /// <param name="folder">An existing folder.</param>
    /// <param name="holder">Who will hold it, for people: see <see cref="ThisProcess.Words"/>.</param>
    /// <exception cref="RefusedException">DatabaseLocked.</exception>
    public static DatabaseLock Take(IFileSystem disk, string folder, string holder)
    {
        string path = Path.Combine(folder, FileName);
        if (disk.Stat(path) is null)
            CreateUnlessThere(disk, path);
        IDisposable taken = disk.TryLock(path) ?? throw StorageErrors.DatabaseLocked(folder, ReadHolder(disk, path));
        try
        {
            using IFileHandle file = disk.Open(path, FileOpen.ReadWrite);
            byte[] text = Encoding.UTF8.GetBytes(holder + "\n");
            file.SetLength(0);
            file.Write(0, text.AsSpan(0, Math.Min(text.Length, HolderBytesMax)));
        }
        catch (StorageFailedException failure) when (failure.IsDiskFull)
        {
            // The lock holds without its text: a full disk must not keep an engine from starting.
        }
        catch
        {
            taken.Dispose();
            throw;
        }
        return new DatabaseLock(taken);
    }

    /// <summary>
    /// The same for somebody who changes nothing in the folder, also not who holds it; null if no engine ever was there.
    /// </summary>
    /// <exception cref="RefusedException">DatabaseLocked.</exception>
    public static IDisposable? TakeToLook(IFileSystem disk, string folder)
    {
        string path = Path.Combine(folder, FileName);
        return disk.Stat(path) is null
            ? null
            : disk.TryLock(path) ?? throw StorageErrors.DatabaseLocked(folder, ReadHolder(disk, path));
    }

    public void Dispose() => _lock.Dispose();

    private static void CreateUnlessThere(IFileSystem disk, string path)
    {
        try
        {
            disk.Open(path, FileOpen.CreateNew).Dispose();
        }
        catch (StorageFailedException taken) when (taken.Errno == Errno.EEXIST)
        {
            // another engine starts at the same moment: the lock decides
        }
    }

    private static string ReadHolder(IFileSystem disk, string path)
    {
        try
        {
            using IFileHandle file = disk.Open(path, FileOpen.Read);
            Span<byte> text = stackalloc byte[HolderBytesMax];
            string holder = Encoding.UTF8.GetString(text[..file.Read(0, text)]).Trim();
            return holder.Length > 0 && !holder.Any(char.IsControl) ? holder : "it has not written who it is";
        }
        catch (StorageFailedException)
        {
            return "who it is cannot be read";
        }
    }
}
