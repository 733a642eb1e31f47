using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// Where a datafile may lie: nowhere that Pitr makes files of its own. One under the name of a segment to come would
/// stop the log, and one in a store would be shipped over.
/// </summary>
internal static class DatafilePlace
{
    private static readonly string[] OwnNames =
        [ControlFileStore.FileName, DatabaseSettings.FileName, DatabaseLock.FileName];

    /// <exception cref="RefusedException">PlaceReserved.</exception>
    public static void Require(IFileSystem files, string databaseFolder, IEnumerable<string> stores, string path, OutsideFiles outside)
    {
        if (outside.Bars(path))
            throw EngineErrors.PlaceReserved(
                path, "it is outside of the folder of a database that was moved or copied, and whose datafiles outside are not "
                + $"said to be its own (pitr recover {databaseFolder} --moved)");
        string wal = Path.Combine(databaseFolder, EngineCreation.WalFolderName);
        if (IsWithin(files, wal, path))
            throw EngineErrors.PlaceReserved(path, "the folder is that of the WAL");
        foreach (string store in stores)
        {
            if (IsWithin(files, store, path))
                throw EngineErrors.PlaceReserved(path, $"the folder is the archive store '{store}'");
        }

        string name = Path.GetFileName(path);
        if (OwnNames.Any(own => name == own || name.StartsWith($"{own}.", StringComparison.Ordinal))
            || name.EndsWith(MovePlan.AsideSuffix, StringComparison.Ordinal)
            || name.EndsWith(CompactPlan.Suffix, StringComparison.Ordinal)
            || name.EndsWith(SpillFile.Suffix, StringComparison.Ordinal)
            || name.EndsWith(RecoveredFile.Suffix, StringComparison.Ordinal))
            throw EngineErrors.PlaceReserved(path, "the name is one that Pitr gives to a file of its own");
        if (files.Stat(Path.GetDirectoryName(path)!) is not { IsFolder: true })
            throw EngineErrors.PlaceReserved(path, "its folder is not there");
    }

    /// <summary>By its text, also where nothing is yet; and by any other path to what is there.</summary>
    private static bool IsWithin(IFileSystem files, string folder, string path) =>
        path.StartsWith($"{Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))}/", StringComparison.Ordinal)
        || SameFolder.Holds(files, folder, path);
}
