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
    public static void Require(IFileSystem files, string databaseFolder, IEnumerable<string> stores, string path)
    {
        if (IsWithin(Path.Combine(databaseFolder, EngineCreation.WalFolderName), path))
            throw EngineErrors.PlaceReserved(path, "the folder is that of the WAL");
        foreach (string store in stores)
        {
            if (IsWithin(store, path))
                throw EngineErrors.PlaceReserved(path, $"the folder is the archive store '{store}'");
        }

        string name = Path.GetFileName(path);
        if (OwnNames.Any(own => name == own || name.StartsWith($"{own}.", StringComparison.Ordinal)))
            throw EngineErrors.PlaceReserved(path, "the name is one that Pitr gives to a file of its own");
        if (files.Stat(Path.GetDirectoryName(path)!) is not { IsFolder: true })
            throw EngineErrors.PlaceReserved(path, "its folder is not there");
    }

    private static bool IsWithin(string folder, string path) =>
        path.StartsWith($"{Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))}/", StringComparison.Ordinal);
}
