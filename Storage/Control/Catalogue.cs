using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace Pitr.Storage;

/// <summary>A datafile, as the control file knows it.</summary>
/// <param name="Id">Never given twice.</param>
/// <param name="Name">Unique among the datafiles that are there.</param>
/// <param name="Path">Relative to the database folder if inside it (<see cref="Catalogue.StoredPath"/>), else
/// absolute.</param>
/// <param name="Incarnation">What the rest of this entry says holds only for this one (H16).</param>
/// <param name="Generation">Of the root that was durable when this was written; the file may be ahead, never
/// behind.</param>
/// <param name="CheckpointLsn">Of that root.</param>
/// <param name="CleanUpTo">No change at or below it is missing in the file: ≥ CheckpointLsn for a file that lay
/// idle.</param>
/// <param name="NeedsRecovery">Why it takes neither commits nor reads; null if it serves.</param>
internal sealed record CatalogueFile(
    FileId Id, string Name, string Path, Incarnation Incarnation, ulong Generation, Lsn CheckpointLsn, Lsn CleanUpTo,
    string? NeedsRecovery = null);

/// <summary>A table.</summary>
internal sealed record CatalogueTable(TableId Id, string Name, FileId FileId, Lsn CreatedLsn);

/// <summary>A datafile that was dropped: replay passes over its changes (H23).</summary>
/// <param name="Id">Never given again.</param>
/// <param name="Lsn">Of the record that dropped it.</param>
/// <param name="Path">Where it lay, as it is stored: what is left of it there is removed (H23). Null if not
/// known.</param>
internal sealed record FileDrop(
    FileId Id, Lsn Lsn, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Path = null);

/// <summary>A table that was dropped: replay passes over its changes (H43).</summary>
internal sealed record TableDrop(TableId Id, FileId FileId, Lsn Lsn);

/// <summary>Which datafiles and tables there are at one LSN; immutable.</summary>
/// <remarks>
/// Each operation that the WAL logs (create, drop) takes its record's LSN and answers a catalogue at that LSN; one at
/// or below <see cref="Lsn"/> is in it already, and changes nothing (H43), so a replay may give all it meets.
/// INVARIANTS (checked when a control file is read and before it is written)
///   CA1  Ids are unique, also beyond a drop: those that are there, those that were dropped, all below the next.
///   CA2  Names are names (<see cref="Limits.IsName"/>), unique among files, and among tables of the whole database.
///   CA3  A table's datafile is there: dropping a file drops its tables.
///   CA4  Dropped ids stay until the redo point has passed the drop: any other unknown id is an error (H23).
/// </remarks>
internal sealed record Catalogue
{
    /// <summary>Of the last create or drop in it.</summary>
    public required Lsn Lsn { get; init; }

    public required FileId NextFileId { get; init; }
    public required TableId NextTableId { get; init; }
    public required ImmutableArray<CatalogueFile> Files { get; init; }
    public required ImmutableArray<CatalogueTable> Tables { get; init; }
    public required ImmutableArray<FileDrop> DroppedFiles { get; init; }
    public required ImmutableArray<TableDrop> DroppedTables { get; init; }

    /// <summary>Nothing was ever made.</summary>
    public static Catalogue Empty { get; } = new()
    {
        Lsn = Lsn.Zero,
        NextFileId = FileId.Main,
        NextTableId = new TableId(1),
        Files = [],
        Tables = [],
        DroppedFiles = [],
        DroppedTables = [],
    };

    /// <summary>
    /// The file that keeps the redo point back most; null if none does. One that was given up keeps nothing.
    /// </summary>
    [JsonIgnore]
    public CatalogueFile? LeastClean => Files
        .Where(static file => file.NeedsRecovery is null)
        .MinBy(static file => file.CleanUpTo.Value);

    /// <summary>
    /// Where replay must begin so that no file misses a change; <see cref="Lsn.MaxValue"/> without files.
    /// </summary>
    [JsonIgnore]
    public Lsn LeastCleanUpTo => LeastClean?.CleanUpTo ?? Lsn.MaxValue;

    public CatalogueFile? File(FileId id) => Files.FirstOrDefault(file => file.Id == id);

    public CatalogueFile? File(string name) => Files.FirstOrDefault(file => file.Name == name);

    public CatalogueTable? Table(TableId id) => Tables.FirstOrDefault(table => table.Id == id);

    public CatalogueTable? Table(string name) => Tables.FirstOrDefault(table => table.Name == name);

    public bool IsDropped(FileId id) => DroppedFiles.Any(file => file.Id == id);

    public bool IsDropped(TableId id) => DroppedTables.Any(table => table.Id == id);

    /// <summary>With a datafile that was created by the record at this LSN.</summary>
    public Catalogue CreateFile(CatalogueFile file, Lsn lsn)
    {
        if (lsn <= Lsn)
            return this;
        Invariant.Require(file.Id.Value >= NextFileId.Value, "CA1", $"file id {file.Id} is given a second time");
        Invariant.Require(File(file.Name) is null, "CA2", $"there is a datafile '{file.Name}' already");
        return this with { Lsn = lsn, Files = Files.Add(file), NextFileId = new FileId(file.Id.Value + 1) };
    }

    /// <summary>Without a datafile and its tables, dropped by the record at this LSN.</summary>
    public Catalogue DropFile(FileId id, Lsn lsn)
    {
        if (lsn <= Lsn)
            return this;
        Invariant.Require(File(id) is not null, "CA1", $"datafile {id} is dropped and not there");
        return this with
        {
            Lsn = lsn,
            Files = Files.RemoveAll(file => file.Id == id),
            Tables = Tables.RemoveAll(table => table.FileId == id),
            DroppedFiles = DroppedFiles.Add(new FileDrop(id, lsn, File(id)!.Path)),
            DroppedTables = DroppedTables.AddRange(
                Tables.Where(table => table.FileId == id).Select(table => new TableDrop(table.Id, id, lsn))),
        };
    }

    /// <summary>With a table that was created by the record at this LSN.</summary>
    public Catalogue CreateTable(TableId id, string name, FileId fileId, Lsn lsn)
    {
        if (lsn <= Lsn)
            return this;
        Invariant.Require(id.Value >= NextTableId.Value, "CA1", $"table id {id} is given a second time");
        Invariant.Require(Table(name) is null, "CA2", $"there is a table '{name}' already");
        Invariant.Require(
            File(fileId) is not null, "CA3", $"table '{name}' lies in datafile {fileId}, which is not there");
        return this with
        {
            Lsn = lsn,
            Tables = Tables.Add(new CatalogueTable(id, name, fileId, lsn)),
            NextTableId = new TableId(id.Value + 1),
        };
    }

    /// <summary>Without a table, dropped by the record at this LSN.</summary>
    public Catalogue DropTable(TableId id, Lsn lsn)
    {
        if (lsn <= Lsn)
            return this;
        CatalogueTable? table = Table(id);
        Invariant.Require(table is not null, "CA1", $"table {id} is dropped and not there");
        return this with
        {
            Lsn = lsn,
            Tables = Tables.Remove(table),
            DroppedTables = DroppedTables.Add(new TableDrop(id, table.FileId, lsn)),
        };
    }

    /// <summary>
    /// With newer facts about a file that is there: a flush, a move, its need of recovery. The LSN stays.
    /// </summary>
    public Catalogue WithFile(CatalogueFile file)
    {
        CatalogueFile? before = File(file.Id);
        Invariant.Require(before is not null, "CA1", $"datafile {file.Id} is noted and not there");
        return this with { Files = Files.Replace(before, file) };
    }

    /// <summary>Without the dropped ids that no replay can meet any more (CA4).</summary>
    public Catalogue ForgetDropped(Lsn redoPoint) => this with
    {
        DroppedFiles = DroppedFiles.RemoveAll(file => file.Lsn <= redoPoint),
        DroppedTables = DroppedTables.RemoveAll(table => table.Lsn <= redoPoint),
    };

    /// <summary>What of CA1–CA3 does not hold; null if all do.</summary>
    public string? Fault()
    {
        var files = new HashSet<FileId>();
        foreach (FileId id in Files.Select(file => file.Id).Concat(DroppedFiles.Select(file => file.Id)))
        {
            if (id.Value == 0 || id.Value >= NextFileId.Value || !files.Add(id))
                return $"file id {id} is there twice or not below the next one, {NextFileId}";
        }
        var tables = new HashSet<TableId>();
        foreach (TableId id in Tables.Select(table => table.Id).Concat(DroppedTables.Select(table => table.Id)))
        {
            if (id.Value == 0 || id.Value >= NextTableId.Value || !tables.Add(id))
                return $"table id {id} is there twice or not below the next one, {NextTableId}";
        }
        if (Files.Select(file => file.Name).Concat(Tables.Select(table => table.Name))
                .FirstOrDefault(name => !Limits.IsName(name)) is { } bad)
            return $"'{bad}' is no name of a datafile or table"; // names become paths
        if (Files.Select(file => file.Name).Distinct(StringComparer.Ordinal).Count() != Files.Length)
            return "two datafiles have one name";
        if (Tables.Select(table => table.Name).Distinct(StringComparer.Ordinal).Count() != Tables.Length)
            return "two tables have one name";
        return Tables.FirstOrDefault(table => File(table.FileId) is null) is { } lost
            ? $"table '{lost.Name}' lies in datafile {lost.FileId}, which is not there"
            : null;
    }

    /// <summary>
    /// How a file's path is written: relative if it lies inside the database folder, so that it moves with it.
    /// </summary>
    public static string StoredPath(string databaseFolder, string path)
    {
        string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(databaseFolder)) + "/";
        string full = Path.GetFullPath(path, basePath: folder);
        return full.StartsWith(folder, StringComparison.Ordinal) ? full[folder.Length..] : full;
    }

    /// <summary>Where the file is.</summary>
    public static string FullPath(string databaseFolder, string storedPath) =>
        Path.GetFullPath(Path.Combine(databaseFolder, storedPath));
}
