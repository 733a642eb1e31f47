using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// WAL of the folder that is not on this database's path any more: what a recovery in place to an earlier moment left
/// behind the fork. It was acknowledged, and it may be in no store, so only the operator removes it.
/// </summary>
/// <remarks>
/// <code>
///   timeline 1  |== 5 ==|== 6 ==+-- 6 --|-- 7 --|       6 and 7 are set aside when they would go; 5 goes
///                               |fork   |
///   timeline 2                          |== 7 ==|       its own segments go as ever
/// </code>
/// A byte behind the fork that is not zero counts: by W3 it is of a record, be it a torn one.
/// INVARIANTS
///   LW1  A segment that has such a byte is neither removed nor recycled: it gets another name (H31).
///   LW2  The number of a timeline that was left is known from those names, too: it is not given again (H32).
/// DURABILITY  a rename, SyncFolder; a crash before leaves the segment under its name.
/// THREADS  one worker at a time.
/// </remarks>
internal sealed class LeftWal(WalFolder folder, TimelineHistory path)
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>Sets aside what is to be kept of segments that nobody needs any more; returns the others.</summary>
    /// <param name="segments">Below the redo point, not held, in every store as far as they are on the path.</param>
    /// <param name="isUnread">Called for one that can't be read or named: it stays as it is.</param>
    /// <param name="isAside">Called with the name that one has now.</param>
    public IReadOnlyList<SegmentName> SetAside(
        IEnumerable<SegmentName> segments, Action<SegmentName, StorageFailedException> isUnread, Action<string> isAside)
    {
        var free = new List<SegmentName>();
        bool isAny = false;
        foreach (SegmentName name in segments)
        {
            try
            {
                if (!IsLeft(name))
                {
                    free.Add(name);
                    continue;
                }

                string aside = AsideName.Free(folder.Files, folder.PathOf(name));
                folder.Files.Rename(folder.PathOf(name), aside);
                isAny = true;
                isAside(aside);
            }
            catch (StorageFailedException error)
            {
                isUnread(name, error);
            }
        }

        if (isAny)
            folder.Files.SyncFolder(folder.Folder);
        return free;
    }

    private bool IsLeft(SegmentName name)
    {
        if (name.Timeline == folder.Identity.Timeline || folder.Files.Stat(folder.PathOf(name)) is null)
            return false;
        TimelineEntry? entry = path.Path.FirstOrDefault(entry => entry.Timeline == name.Timeline);
        Lsn from = folder.Geometry.StartOf(name.Number);
        if (entry is not null)
            from = Lsn.Max(from, path.LimitOf(entry.Lineage)!.Value);
        return from < folder.Geometry.StartOf(name.Number + 1) && HasBytesFrom(name, folder.Geometry.OffsetOf(from));
    }

    private bool HasBytesFrom(SegmentName name, long offset)
    {
        using IFileHandle handle = folder.Files.Open(folder.PathOf(name), FileOpen.Read);
        byte[] chunk = new byte[(int)Math.Clamp(handle.LengthBytes - offset, 0, ChunkBytes)];
        while (handle.Read(offset, chunk) is int read && read > 0)
        {
            if (chunk.AsSpan(0, read).ContainsAnyExcept((byte)0))
                return true;
            offset += read;
        }

        return false;
    }
}
