using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>The room on one disk that the database writes to, and how much of it commits leave free.</summary>
/// <param name="Path">A folder of the database on that disk.</param>
/// <param name="FreeBytes">What can still be written there.</param>
/// <param name="ReserveBytes">What a checkpoint, an orderly shutdown and the next start may need of it.</param>
internal sealed record DiskRoom(string Path, long FreeBytes, long ReserveBytes);

/// <summary>
/// How much room has to stay free so that the engine can always stop and start again cleanly (design §8): commits are
/// refused before it is used up.
/// </summary>
/// <remarks>
/// WHAT   on the WAL's disk what the settings say (<see cref="PitrOptions.DiskReserveBytes"/>): new segments for the
///        records of a shutdown and of the next start; beside the control file its successor; on each datafile's disk
///        what a flush of its buffered changes may add. The flush may use it, a commit may not, so it shrinks as the
///        buffers empty. Needs on one disk add up.
/// BOUND  of a flush: changes are written once, with their share of free space; and of the pages that are there those that
///        change are written again elsewhere, at most one for each <see cref="ChangeBytesMin"/> of buffered bytes and
///        no more than there are. Pages that the file has free are taken first. A bound, not a promise: who else writes to
///        the disk is not known. A flush without room is dropped, and the WAL kept that it would have freed.
/// THREADS  any; a look asks the file system, so on a worker.
/// </remarks>
internal static class DiskReserve
{
    /// <summary>What a small change takes in a write buffer, at least.</summary>
    private const long ChangeBytesMin = 128;

    private const long ControlFileBytes = 1 << 20;
    private const int SegmentsOfDefault = 3;
    private const long BytesBesideDefault = 8 << 20;

    /// <summary>What is kept on the WAL's disk unless the settings say otherwise.</summary>
    public static long DefaultBytes(long segmentBytes) => (SegmentsOfDefault * segmentBytes) + BytesBesideDefault;

    /// <summary>Each disk that the database writes to.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="folder">The database's folder.</param>
    /// <param name="slots">Its datafiles.</param>
    /// <param name="reserveBytes">What is kept on the WAL's disk.</param>
    /// <exception cref="StorageFailedException">The file system does not say.</exception>
    public static IReadOnlyList<DiskRoom> Look(IFileSystem files, string folder, FileSlots slots, long reserveBytes)
    {
        var needs = new Dictionary<ulong, (string Folder, long Bytes)>();
        Need(Path.Combine(folder, "wal"), Path.Combine(folder, "wal"), reserveBytes);
        Need(folder, folder, ControlFileBytes);
        foreach (Datafile file in slots.All.Select(static slot => slot.File).OfType<Datafile>())
        {
            string place = files.ReadLink(file.Path) ?? file.Path;
            Need(file.Path, Path.GetDirectoryName(place) ?? folder, FlushBytes(file));
        }
        return
        [
            .. needs.Values.OrderBy(static need => need.Folder, StringComparer.Ordinal)
                .Select(need => new DiskRoom(need.Folder, files.FreeBytes(need.Folder), need.Bytes)),
        ];

        void Need(string name, string where, long bytes)
        {
            if (files.Stat(name) is { } there)
            {
                (string Folder, long Bytes) before = needs.GetValueOrDefault(there.Device, (where, 0));
                needs[there.Device] = (before.Folder, before.Bytes + bytes);
            }
        }
    }

    /// <summary>By how much a flush of all that is buffered may make a datafile longer.</summary>
    public static long FlushBytes(long bufferedBytes, long liveBytes, long freeBytes)
    {
        long rewritten = Math.Min(liveBytes, bufferedBytes / ChangeBytesMin * PageLayout.PageBytes);
        return Math.Max(0, (2 * bufferedBytes) + rewritten - freeBytes);
    }

    private static long FlushBytes(Datafile file) => FlushBytes(file.BufferedBytes, file.LiveBytes, file.FreeBytes);
}
