using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>Compares a database with the oracle: its end, its tables, each row, each page; and its archive.</summary>
internal static class StepCheck
{
    /// <summary>Answers where the log ends.</summary>
    public static Lsn Run(StepEngine engine, StepModel model)
    {
        Lsn end = engine.DurableLsn;
        if (!model.MayEndAt(end))
        {
            throw new SimulationFailure(
                $"The log ends at {end}, where no record does that was under way; acknowledged was {model.Acknowledged}.");
        }

        if (engine.LastTransaction.Value < model.LastTransactionAt(end).Value)
        {
            throw new SimulationFailure(
                $"The next transaction would be {engine.LastTransaction.Value + 1}, "
                + $"and {model.LastTransactionAt(end)} was given (I9).");
        }

        if (engine.Control.KnownEndOfWal > end)
            throw new SimulationFailure($"The control file knows {engine.Control.KnownEndOfWal}, beyond the end {end} (H21).");
        if (model.IsWithinGroup(engine.Control.RedoLsn) && engine.Control.RedoLsn < end)
            throw new SimulationFailure($"The redo point {engine.Control.RedoLsn} lies within a group (H1).");
        Compare(engine, model.At(end), end);
        foreach (StepFile file in engine.Files)
            CheckPages(engine, file);
        return end;
    }

    /// <summary>The whole content as of an LSN.</summary>
    public static void Compare(
        StepEngine engine, SortedDictionary<string, SortedDictionary<byte[], byte[]>> expected, Lsn at)
    {
        string[] there = [.. engine.Control.Catalogue.Tables
            .Select(table => table.Name).Order(StringComparer.Ordinal)];
        if (!there.SequenceEqual(expected.Keys))
        {
            throw new SimulationFailure(
                $"At {at} there are the tables {string.Join(",", there)}, not {string.Join(",", expected.Keys)}.");
        }

        bool isReverse = at.Value % 16 == 0;
        foreach (CatalogueTable table in engine.Control.Catalogue.Tables)
            Compare(engine, engine.File(table.FileId)!.File.View, table, expected[table.Name], at, isReverse);
    }

    /// <summary>One table in a view, scanned one way or the other.</summary>
    public static void Compare(
        StepEngine engine, ReadView view, CatalogueTable table, SortedDictionary<byte[], byte[]> expected, Lsn at,
        bool isReverse)
    {
        var range = new ScanRange { Reverse = isReverse };
        var cursor = new RangeCursor(engine.Context.Epochs, static () => { }, view, at, table.Id, range);
        IEnumerator<KeyValuePair<byte[], byte[]>> wanted =
            (isReverse ? expected.Reverse() : expected).GetEnumerator();
        while (cursor.TryNext(out KeyValue row))
        {
            if (!wanted.MoveNext())
                throw Differs(table, at, row.Key, "is there and should not be");
            int order = row.Key.AsSpan().SequenceCompareTo(wanted.Current.Key);
            if (order != 0)
            {
                throw order < 0 != isReverse
                    ? Differs(table, at, row.Key, "is there and should not be")
                    : Differs(table, at, wanted.Current.Key, "is missing");
            }

            if (!row.Value.AsSpan().SequenceEqual(wanted.Current.Value))
                throw Differs(table, at, row.Key, "has another value");
        }

        if (wanted.MoveNext())
            throw Differs(table, at, wanted.Current.Key, "is missing");
    }

    /// <summary>
    /// Every record that a store said it has is there, and nothing that the database has not (I13): the WAL of its
    /// timeline from the beginning to what was shipped, record by record. What a restored database has from its parent is
    /// the parent's to ship.
    /// </summary>
    public static void Archive(StepEngine engine, StepModel model)
    {
        foreach (IArchiveStore store in engine.Stores)
        {
            WalGeometry geometry = engine.Wal.Geometry;
            ArchiveCatalog catalog = ArchiveCatalog.Load(store);
            var sources = new WalSources([new ArchiveWalSource(store, catalog, geometry)], geometry);
            Lsn from = ArchiveFrom(engine, model);
            WalCoverage coverage = sources.Along(engine.History, from, Lsn.MaxValue);
            var ends = model.Records.ToDictionary(static record => record.End, static record => record.Transaction);
            Lsn reached = from;
            if (model.Shipped <= from)
                continue;
            using PathReader reader = WalSources.Open(engine.History, coverage, from);
            while (coverage.End > from && reader.MoveNext())
            {
                reached = reader.Current.Lsn;
                if (!ends.TryGetValue(reached, out TransactionId transaction) || transaction != reader.Current.TransactionId)
                {
                    throw new SimulationFailure($"The store has a record at {reached} that the database has not (I13, H25).");
                }
            }

            Lsn shipped = model.Records.LastOrDefault(record => record.End <= model.Shipped)?.End ?? from;
            if (reached < shipped)
            {
                string hole = coverage.Hole is { } gap ? $", with a gap from {gap.From} to {gap.To}" : "";
                throw new SimulationFailure($"The store said it has the WAL to {shipped}, and it can be read to {reached}{hole}.");
            }
        }
    }

    /// <summary>Where the first record of the timeline begins that no expire has let go.</summary>
    private static Lsn ArchiveFrom(StepEngine engine, StepModel model) => model.ArchiveFrom <= engine.History.Last.StartLsn
        ? engine.History.Last.StartLsn
        : model.Records.FirstOrDefault(record => record.End >= model.ArchiveFrom)?.End ?? engine.DurableLsn;

    /// <summary>
    /// The index of a segment says yes to whatever its records do (H46). Answers how many indexed records go over the
    /// end of their segment.
    /// </summary>
    public static int Indexes(StepEngine engine, StepModel model)
    {
        int over = 0;
        foreach (IArchiveStore store in engine.Stores)
        {
            WalGeometry geometry = engine.Wal.Geometry;
            ArchiveCatalog catalog = ArchiveCatalog.Load(store);
            TimelineEntry last = engine.History.Last;
            var sources = new WalSources([new ArchiveWalSource(store, catalog, geometry)], geometry);
            Lsn from = ArchiveFrom(engine, model);
            WalCoverage coverage = sources.Along(engine.History, from, Lsn.MaxValue);
            if (coverage.End == from)
                continue;
            KeyIndex? index = null;
            using PathReader reader = WalSources.Open(engine.History, coverage, from);
            while (reader.MoveNext())
            {
                WalRecord record = reader.Current;
                ulong number = geometry.NumberOf(record.StartLsn);
                if (index?.Number != number)
                    index = KeyIndex.Read(store, last.Timeline, number);
                if (index is not null && geometry.NumberOf(record.Lsn + -8) > number)
                    over++;
                if (index is not null && record.Kind is WalRecordKind.DropTable or WalRecordKind.DropDatafile)
                    RequireDropped(index!, record);
                OperationReader operations = record.Operations;
                while (record.Kind == WalRecordKind.Transaction && index is not null && operations.MoveNext())
                {
                    var table = new NamedTable(operations.Table, operations.File, "");
                    ReadOnlySpan<byte> key = operations.Key[OperationCodec.TableIdBytes..];
                    if (!index.MayTouch(table) || !index.MayTouch(table, key)
                        || (operations.Kind == OperationKind.Delete && !index.MayDelete(table, key)))
                        throw new SimulationFailure($"The index of segment {number:X} denies the record at {record.Lsn} (H46).");
                }
            }
        }

        return over;
    }

    /// <summary>Who looks for what removed a key finds the drop of what it was in.</summary>
    private static void RequireDropped(KeyIndex index, WalRecord record)
    {
        NamedTable? table = record.Event switch
        {
            WalEvent.DropTable drop => new NamedTable(drop.TableId, drop.FileId, drop.Name),
            WalEvent.DropDatafile drop => new NamedTable(default, drop.FileId, drop.Name),
            _ => null,
        };
        if (table is not null && !(index.MayTouch(table) && index.MayDelete(table, "a key that nobody has"u8)))
            throw new SimulationFailure($"The index of segment {index.Number:X} denies the drop at {record.Lsn} (H46).");
    }

    /// <summary>Every number that is claimed in a store is that of some database there, or is about to be (H32).</summary>
    public static void Claims(SimulatedDisk disk, IEnumerable<StepDatabase> databases, IReadOnlyList<IArchiveStore> stores)
    {
        ControlFile[] controls = [.. databases.Select(one => new ControlFileStore(disk, one.Folder))
            .Where(static store => store.Exists).Select(static store => store.ReadAny())];
        foreach (TimelineHistory history in stores.SelectMany(static store => ArchiveCatalog.Load(store).Histories))
        {
            Lineage claimed = history.Last.Lineage;
            if (!controls.Any(one => one.History.Any(entry => entry.Lineage == claimed)
                || one.PromotionIntent?.Lineage == claimed))
                throw new SimulationFailure($"Timeline {history.Last.Timeline} is claimed, and is no database's (H32).");
        }

        foreach (ControlFile control in controls.Where(static one => one.Recovery is null && one.History.Length > 1))
        {
            foreach (IArchiveStore store in stores)
            {
                if (ArchiveCatalog.Load(store).History(control.Timeline)?.Last.Lineage != control.Lineage)
                    throw new SimulationFailure($"A database goes on with timeline {control.Timeline}, and has not claimed it (H32).");
            }
        }
    }

    /// <summary>Every set that has a manifest is whole (H39).</summary>
    public static void Sets(IArchiveStore store)
    {
        if (BackupCatalog.Read(store).Others.FirstOrDefault(static set => set.Damage is not null) is { } damaged)
            throw new SimulationFailure($"Backup set {damaged.BackupId} has a manifest, and is not whole: {damaged.Why} (H39).");
    }

    /// <summary>What is restored is a datafile of its own (H15).</summary>
    public static void IncarnationsDiffer(StepEngine restored, StepEngine source)
    {
        foreach (StepFile file in restored.Files)
        {
            if (source.File(file.Id) is { } other && other.File.Incarnation == file.File.Incarnation)
                throw new SimulationFailure($"Restored datafile {file.Name} has the incarnation of its source (H15).");
        }
    }

    /// <summary>A restored database uses no file outside its folder (H30).</summary>
    public static void RestoredFilesAreOwn(SimulatedDisk disk, string folder, StepEngine source)
    {
        ControlFile control = new ControlFileStore(disk, folder).ReadLive();
        foreach (CatalogueFile file in control.Catalogue.Files)
        {
            if (!Catalogue.FullPath(folder, file.Path).StartsWith(folder + "/", StringComparison.Ordinal))
                throw new SimulationFailure($"Restored datafile {file.Name} lies at {file.Path} (H30), beside {source.Folder}.");
        }
    }

    /// <summary>
    /// What a store lists of a timeline, also of a push whose answer was an error or a crash: it opens for nobody shorter
    /// (H7).
    /// </summary>
    public static Lsn ListedInStore(SimulatedDisk disk, TimelineId timeline, WalGeometry geometry)
    {
        const string folder = $"{StepSettings.Store}/wal";
        Lsn end = Lsn.Zero;
        foreach (string name in disk.Stat(folder) is null ? [] : disk.List(folder))
        {
            if (ObjectName.TryParseSegment($"wal/{name}", out TimelineId of, out ulong number))
                end = Lsn.Max(end, of == timeline ? geometry.StartOf(number + 1) : Lsn.Zero);
            else if (ObjectName.TryParsePart($"wal/{name}", out of, out _, out _, out Lsn to))
                end = Lsn.Max(end, of == timeline ? to : Lsn.Zero);
        }

        return end;
    }

    /// <summary>Temporary files of a store that nobody writes any more.</summary>
    public static string[] StraysIn(SimulatedDisk disk, string folder)
    {
        var strays = new List<string>();
        foreach (string name in disk.List(folder))
        {
            string path = $"{folder}/{name}";
            if (disk.Stat(path) is { IsFolder: true })
                strays.AddRange(StraysIn(disk, path));
            else if (name.StartsWith(".tmp-", StringComparison.Ordinal) && disk.TryLock(path) is { } free)
            {
                free.Dispose();
                strays.Add(path);
            }
        }

        return [.. strays];
    }

    /// <summary>
    /// Copies a folder as `cp -rL` does, or as `cp -a`, which keeps links; nothing of it is synced. A link that leads nowhere
    /// is left out of the former.
    /// </summary>
    public static void CopyFolder(SimulatedDisk disk, string from, string to, bool keepsLinks = false)
    {
        disk.CreateFolder(to);
        foreach (string name in disk.List(from))
        {
            switch (disk.Stat($"{from}/{name}"))
            {
                case { IsSymlink: true } when keepsLinks:
                    disk.Symlink(disk.ReadLink($"{from}/{name}")!, $"{to}/{name}");
                    continue;
                case { IsFolder: true }:
                    CopyFolder(disk, $"{from}/{name}", $"{to}/{name}", keepsLinks);
                    continue;
                case { IsSymlink: true, Inode: 0 }:
                    continue;
            }

            using IFileHandle copy = disk.Open($"{to}/{name}", FileOpen.CreateNew);
            copy.Write(0, disk.ReadAll($"{from}/{name}"));
        }
    }

    private static SimulationFailure Differs(CatalogueTable table, Lsn at, byte[] key, string how) =>
        new($"At {at}, key {Convert.ToHexString(key.AsSpan(0, Math.Min(key.Length, 20)))} of table {table.Name} {how}.");

    private static void CheckPages(StepEngine engine, StepFile file)
    {
        ulong content = ((SimulatedDisk)engine.Context.FileSystem).Fingerprint(file.File.Path);
        if (engine.Memory.SoundDatafiles.Contains(content))
            return;
        DatafileReport report = DatafileCheck.Run(engine.Context.Environment, file.File.Path);
        if (report.IsSound)
            engine.Memory.SoundDatafiles.Add(content);
        else
            throw new SimulationFailure($"Datafile {file.Name}: {string.Join(" ", report.Problems)}");
    }
}
