using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// Puts a datafile in a file's place that is right in all but one thing of its meta page: its kind, its incarnation, its
/// lineage, where it stands. None of them is the file (H7, H14, H16, H17).
/// </summary>
internal sealed class StepMetaHand(SimulatedDisk disk, StepDatabase database, StepHazards hazards, long seed)
{
    private readonly ControlFile _control = new ControlFileStore(disk, database.Folder).ReadLive();
    private SeededRandom _random = SeededRandom.For(seed, 6);

    /// <summary>Answers whose place it took; null if there is none in which it would be noticed.</summary>
    public FileId? Touch()
    {
        CatalogueFile[] files = [.. _control.Catalogue.Files];
        if (_control.Recovery is not null || files.Length == 0)
            return null;
        CatalogueFile file = files[_random.Next(files.Length)];
        string path = Catalogue.FullPath(database.Folder, file.Path);
        if (disk.Stat(path) is null || Believed(path) is not { } meta || meta.Incarnation != file.Incarnation
            || meta.Generation < file.Generation || Forge(meta, file) is not { } forged)
            return null;
        byte[] page = new byte[PageLayout.PageBytes];
        using IFileHandle handle = disk.Open(path, FileOpen.ReadWrite);
        forged.Write(page);
        handle.Write(forged.Slot * (long)PageLayout.PageBytes, page);
        return file.Id;
    }

    /// <summary>
    /// The control file lost a datafile and its tables, and the WAL has changes of them that replay will meet (H23): true if
    /// there are some.
    /// </summary>
    public bool ForgetFile()
    {
        Catalogue catalogue = _control.Catalogue;
        HashSet<TableId> changed = [.. database.Model.Records
            .Where(record => record.End > _control.RedoLsn && record.End <= database.Model.Acknowledged)
            .SelectMany(static record => record.Steps).OfType<ModelStep.Change>().Select(static change => change.Table)];
        HashSet<TableId> dropped = [.. database.Model.Records.SelectMany(static record => record.Steps)
            .OfType<ModelStep.Dropped>().Select(static drop => drop.Table)];
        CatalogueFile? lost = catalogue.Files.FirstOrDefault(file => file.Id != FileId.Main
            && catalogue.Tables.Any(table => table.FileId == file.Id && changed.Contains(table.Id) && !dropped.Contains(table.Id))
            && file.CheckpointLsn <= _control.RedoLsn);
        if (_control.Recovery is not null || lost is null)
            return false;
        hazards.Note(23);
        new ControlFileStore(disk, database.Folder).Replace(_control with
        {
            Catalogue = catalogue with
            {
                Files = catalogue.Files.Remove(lost),
                Tables = catalogue.Tables.RemoveAll(table => table.FileId == lost.Id),
            },
        });
        return true;
    }

    private MetaPage? Believed(string path)
    {
        try
        {
            return Datafile.Inspect(disk, path);
        }
        catch (PitrException)
        {
            return null; // not whole yet
        }
    }

    private MetaPage? Forge(MetaPage meta, CatalogueFile file)
    {
        switch (_random.Next(5))
        {
            case 0:
                hazards.Note(17);
                return meta with { Kind = _random.Chance(50) ? DatafileKind.Spill : DatafileKind.UnfinishedCopy };
            case 1:
                hazards.Note(16);
                return meta with { Incarnation = new Incarnation(_random.NextBits()), Generation = meta.Generation + 2 };
            case 2 when meta.Generation == file.Generation:
                hazards.Note(16);
                return meta with { CheckpointLsn = meta.CheckpointLsn + -8 };
            case 3:
                hazards.Note(14);
                return meta with { Lineage = new Lineage(_random.NextBits()), Generation = meta.Generation + 2 };
            case 4:
                hazards.Note(7);
                Lsn end = database.Model.Records.Count == 0 ? database.Model.Start : database.Model.Records[^1].End;
                return meta with { CheckpointLsn = Lsn.Max(end, meta.CheckpointLsn) + 800, Generation = meta.Generation + 2 };
            default:
                return null;
        }
    }
}
