using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>The catalogue that a replay begins with, out of a control file.</summary>
internal static class ReplayStart
{
    /// <param name="catalogue">Of the control file: its own LSN decides which events are in it.</param>
    /// <param name="has">The checkpoint LSN of each datafile as it is on disk; files that an earlier try made
    /// too.</param>
    public static ReplayCatalogue Of(Catalogue catalogue, IReadOnlyDictionary<FileId, Lsn> has)
    {
        var replay = new ReplayCatalogue(catalogue.Lsn);
        foreach (CatalogueFile file in catalogue.Files)
        {
            if (has.TryGetValue(file.Id, out Lsn lsn))
                replay.AddFile(file.Id, lsn);
            else if (file.NeedsRecovery == RestoreWriter.DroppedBeforeCopy)
                replay.AddDroppedFile(file.Id, Lsn.MaxValue);
            else
                throw RecoveryErrors.FileWithoutContent(file.Name, file.Path);
        }
        foreach (FileDrop file in catalogue.DroppedFiles)
            replay.AddDroppedFile(file.Id, file.Lsn);
        foreach (CatalogueTable table in catalogue.Tables)
            replay.AddTable(table.Id, table.FileId);
        foreach (TableDrop table in catalogue.DroppedTables)
            replay.AddDroppedTable(table.Id, table.FileId, table.Lsn);
        foreach ((FileId file, Lsn lsn) in has)
        {
            if (catalogue.File(file) is null && !catalogue.IsDropped(file))
                replay.AddUnborn(file, lsn);
        }
        return replay;
    }
}
