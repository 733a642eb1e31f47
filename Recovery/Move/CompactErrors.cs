using System.Globalization;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>What compacting a datafile can report: one factory per situation.</summary>
internal static class CompactErrors
{
    private const string Again = "pitr datafile compact NAME";

    public static RefusedException InTheWay(string datafile, string path) => new(
        ErrorCode.CompactRefused,
        $"Datafile '{datafile}' can't be compacted: '{path}', which is needed for that, is taken.",
        $"See whose file it is and take it away, then: {Again}");

    public static RefusedException Moved(string datafile) => new(
        ErrorCode.CompactRefused, $"Datafile '{datafile}' was moved while compacting it was prepared.",
        $"Nothing was written. Do it in its new place: {Again}");

    public static RefusedException UnderWay(string datafile) => new(
        ErrorCode.CompactUnderWay, $"Datafile '{datafile}' is being compacted.",
        "Wait until that has ended. One that a failure left unfinished is ended when the database is opened again.");

    public static RefusedException Cancelled(string datafile) => new(
        ErrorCode.CompactCancelled, $"Compacting datafile '{datafile}' was cancelled; it is as it was.",
        $"Compact it again when it suits: {Again}");

    public static RefusedException Undecided(string datafile, string why) => new(
        ErrorCode.CompactUndecided,
        $"Compacting datafile '{datafile}' failed while the new file took its place, and it is offline: {why}",
        $"Mend the disk, then bring it back while the others serve: pitr datafile recover {datafile}. That, or the next "
        + "opening, finds which of both files counts. Nothing is lost.");

    public static StorageFailedException NoRoom(string datafile, string folder, long freeBytes, long liveBytes) => new(
        ErrorCode.DiskFull,
        string.Create(
            CultureInfo.InvariantCulture,
            $"There is no room to compact datafile '{datafile}' in '{folder}': {freeBytes} bytes are free, {liveBytes} are needed until it is done."),
        "Make room there, or move the datafile elsewhere: pitr datafile move NAME FILE. Nothing was written.")
    { Path = folder, Errno = Errno.ENOSPC };
}
