using System.Text;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>Compares an open database with the oracle: its tables, each row, each page.</summary>
internal static class EngineCheck
{
    /// <summary>All tables and rows are those of the history at an LSN, and no others.</summary>
    public static void Compare(PitrDatabase database, EngineHistory history, Lsn at)
    {
        Dictionary<string, Table> tables = database.Tables.ToDictionary(table => table.Name);
        HashSet<string> files = [.. database.Datafiles.Select(file => file.Name)];
        foreach (ModelName name in history.Names)
        {
            bool isThere = name.IsFile ? files.Remove(name.Name) : tables.ContainsKey(name.Name);
            if (name.IsThereAt(at) is { } mustBe && mustBe != isThere)
            {
                throw new SimulationFailure(
                    $"At {at}, {(name.IsFile ? "datafile" : "table")} {name.Name} is "
                    + $"{(isThere ? "there" : "missing")}, "
                    + $"made at {name.Made}, dropped at {name.Dropped}.");
            }

            if (!name.IsFile && tables.Remove(name.Name, out Table? table))
            {
                if (name.Made is not null && table.Id != name.Id)
                    throw new SimulationFailure($"Table {name.Name} has another id.");
                using Snapshot snapshot = database.OpenSnapshot();
                Compare(table, snapshot.Scan(table, ScanRange.All), history, at);
            }
        }

        files.Remove("main");
        if (tables.Count + files.Count > 0)
            throw new SimulationFailure($"At {at} there are also {string.Join(", ", tables.Keys.Concat(files))}.");
    }

    /// <summary>The rows of one table.</summary>
    public static void Compare(Table table, IEnumerable<KeyValue> rows, EngineHistory history, Lsn at)
    {
        using IEnumerator<(string Key, byte[] Value)> wanted = history.RowsAt(table.Id, at).GetEnumerator();
        foreach (KeyValue row in rows)
        {
            string key = Encoding.ASCII.GetString(row.Key);
            if (!wanted.MoveNext())
                throw Differs(table, at, key, "is there and should not be");
            int order = string.CompareOrdinal(key, wanted.Current.Key);
            if (order != 0)
            {
                throw order < 0
                    ? Differs(table, at, key, "is there and should not be")
                    : Differs(table, at, wanted.Current.Key, "is missing");
            }

            if (!row.Value.AsSpan().SequenceEqual(wanted.Current.Value))
            {
                throw Differs(
                    table, at, key, $"is '{Words(row.Value)}' and should be '{Words(wanted.Current.Value)}'");
            }
        }

        if (wanted.MoveNext())
            throw Differs(table, at, wanted.Current.Key, "is missing");
    }

    /// <summary>
    /// Whatever a crash of a life leaves, the control file names no datafile that is gone: a dropped one is unlinked only
    /// when the control file has forgotten it (H23).
    /// </summary>
    /// <param name="disk">As it was left.</param>
    /// <param name="folder">The database's.</param>
    /// <param name="lost">The datafile that its disk has lost; null: none.</param>
    public static void RequireListedFiles(SimulatedDisk disk, string folder, string? lost)
    {
        ControlFile control = ControlOf(disk, folder);
        if (control.Recovery is null)
            RequireRedoPoint(disk, folder);
        foreach (CatalogueFile file in control.Catalogue.Files)
        {
            string datafile = Catalogue.FullPath(folder, file.Path);
            if (control.Recovery is null && file.Name != lost && disk.Stat(datafile) is null)
                throw new SimulationFailure($"The control file names {datafile}, which is gone (H23).");
        }
    }

    /// <summary>The redo point is at or below what each datafile has that is not to be brought back out of other WAL (H24, H40).</summary>
    public static void RequireRedoPoint(SimulatedDisk disk, string folder)
    {
        ControlFile control = ControlOf(disk, folder);
        foreach (CatalogueFile file in control.Catalogue.Files)
        {
            if (file.NeedsRecovery is null && file.CleanUpTo < control.RedoLsn)
            {
                throw new SimulationFailure(
                    $"Datafile {file.Name} has everything up to {file.CleanUpTo}, and WAL is kept from {control.RedoLsn} on (H40).");
            }
        }
    }

    /// <summary>Of a table that was dropped nothing is left in a copy of its datafile: its room is given back (H43).</summary>
    public static void RequireNoRowsOf(Table table, DatafileEnvironment memory, byte[] copy)
    {
        var scratch = new SimulatedDisk();
        using (IFileHandle file = scratch.Open("/copy", FileOpen.CreateNew))
            file.Write(0, copy);
        DatafileEnvironment environment = memory with { Files = scratch };
        MetaPage meta = Datafile.Inspect(scratch, "/copy");
        using Datafile opened = Datafile.Open(
            environment, "/copy", "copy", new DatafileExpectation(meta.SystemId, meta.FileId));
        var cursor = new RangeCursor(
            environment.Epochs, static () => { }, opened.View, meta.CheckpointLsn, table.Id, ScanRange.All);
        if (cursor.TryNext(out KeyValue row))
        {
            throw new SimulationFailure(
                $"Table {table.Name} was dropped, and its row {Encoding.ASCII.GetString(row.Key)} is still in its datafile (H43).");
        }
    }

    /// <summary>What a crash in a move leaves can be told apart, and nothing of it was removed too soon (H17, H19).</summary>
    public static void RequireSoundMoves(SimulatedDisk disk, string folder, Func<DatafileEnvironment> environment)
    {
        ControlFile control = ControlOf(disk, folder);
        MoveCheck.FormerFilesAreThere(disk, folder, control);
        MoveCheck.CopiesAreWhole(disk, folder, control, environment);
    }

    /// <summary>Of moves that a crash cut off an opening leaves one file of each datafile (H19).</summary>
    /// <param name="disk">As the opening left it.</param>
    /// <param name="folder">The database's.</param>
    /// <param name="lost">The datafile that its disk had lost, so that it did not open: its move is settled when it does.</param>
    public static void NothingIsLeftOfMoves(SimulatedDisk disk, string folder, string? lost)
    {
        ControlFile control = ControlOf(disk, folder);
        if (lost is null || !control.Moves.Any(move => control.Catalogue.File(move.FileId)?.Name == lost))
            MoveCheck.NothingIsLeft(disk, folder, control);
    }

    /// <summary>Of the recovery of a datafile that a crash cut off nothing is left either (H17).</summary>
    public static void NothingIsLeftOfRecoveries(SimulatedDisk disk, string folder)
    {
        if (disk.List(folder).FirstOrDefault(name => name.EndsWith(RecoveredFile.Suffix, StringComparison.Ordinal)) is { } left)
            throw new SimulationFailure($"{folder}/{left} is left over from a recovery.");
    }

    /// <summary>
    /// At no moment is WAL missing between two stretches of a store, but what is noted there as given up (H36, O3).
    /// </summary>
    /// <param name="disk">As it was left.</param>
    /// <param name="folder">The database's.</param>
    /// <param name="store">The store's.</param>
    /// <param name="mayGiveUp">True if WAL may be given up; else a gap is a failure, noted or not.</param>
    public static void RequireNoHole(SimulatedDisk disk, string folder, string store, bool mayGiveUp)
    {
        if (disk.Stat(store) is null)
            return;
        (ControlFile control, FolderStore archive) = (ControlOf(disk, folder), Archive(disk, store));
        var geometry = new WalGeometry((int)control.WalSegmentBytes);
        IReadOnlyCollection<ulong> wholes = ArchiveCatalog.Load(archive).Wholes(control.Timeline);
        if (wholes.Count == 0)
            return;
        TimelineHistory path = TimelineHistory.Of(control.SystemId, control.History);
        Lsn from = Lsn.Max(geometry.StartOf(wholes.Min()), path.Last.StartLsn);
        ArchivedRange range = ArchiveCatalog.Load(archive).Along(path, from, Lsn.MaxValue, geometry.PayloadBytes);
        IReadOnlyList<ArchiveGap> noted = GapNote.Of(archive, control.Timeline, geometry);
        foreach (ArchiveGap hole in range.Gaps)
        {
            if (!mayGiveUp || !noted.Any(gap => gap.From <= hole.From && hole.To <= gap.To))
                throw new SimulationFailure($"{store} lacks the WAL from {hole.From} to {hole.To}, and that is not noted (H36).");
        }
    }

    /// <summary>A restore was refused for a gap: there is one, noted, below its target (H36).</summary>
    public static void RequireGapBelow(SimulatedDisk disk, string folder, string store, Lsn target)
    {
        ControlFile control = ControlOf(disk, folder);
        var geometry = new WalGeometry((int)control.WalSegmentBytes);
        if (!GapNote.Of(Archive(disk, store), control.Timeline, geometry).Any(gap => gap.From < target))
            throw new SimulationFailure($"A restore to {target} was refused for a gap, and {store} has no note of one (H36).");
    }

    /// <summary>Just past the last WAL of the database's timeline that a store has; zero if there is none.</summary>
    public static Lsn EndOfArchive(SimulatedDisk disk, string folder, string store)
    {
        ControlFile control = ControlOf(disk, folder);
        return disk.Stat(store) is null ? Lsn.Zero : ArchiveCatalog.Load(Archive(disk, store)).HighestEnd(
            control.Timeline, new WalGeometry((int)control.WalSegmentBytes).PayloadBytes);
    }

    private static FolderStore Archive(SimulatedDisk disk, string store) => new(disk, store, static () => 0);

    public static ControlFile ControlOf(SimulatedDisk disk, string folder)
    {
        string path = $"{folder}/{ControlFileStore.FileName}";
        return ControlFileStore.Decode(path, disk.ReadAll(path));
    }

    /// <summary>Every page of every datafile has exactly one use and is what was written.</summary>
    public static void CheckPages(PitrDatabase database)
    {
        foreach (DatafileInfo file in database.Datafiles)
            CheckPages(
                database.Engine.Environment, LinkedName.Resolve(database.Engine.FileSystem, file.Path));
    }

    public static void CheckPages(DatafileEnvironment environment, string path)
    {
        DatafileReport report = DatafileCheck.Run(environment, path);
        if (!report.IsSound)
            throw new SimulationFailure($"{path}: {string.Join(" ", report.Problems)}");
    }

    /// <summary>What a create or a drop without an answer did.</summary>
    public static void SettleNames(PitrDatabase database, EngineHistory history, Lsn at)
    {
        foreach (ModelName name in history.Names.Where(name => name.IsThereAt(at) is null).ToArray())
        {
            if (name.IsFile)
            {
                bool isThere = database.Datafiles.Any(file => file.Name == name.Name);
                history.Settle(name, isThere ? name.Made ?? at : null, default);
            }
            else
            {
                CatalogueTable? found =
                    database.Engine.Catalogue.Catalogue.Tables.FirstOrDefault(table => table.Name == name.Name);
                history.Settle(name, found?.CreatedLsn, found?.Id ?? default);
            }
        }
    }

    private static SimulationFailure Differs(Table table, Lsn at, string key, string how) =>
        new($"At {at}, {table.Name}/{key} {how}.");

    private static string Words(byte[] value) =>
        $"{Encoding.ASCII.GetString(value, 0, Math.Min(value.Length, 16))}… ({value.Length} bytes)";
}
