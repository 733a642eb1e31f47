using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>What happens to an operation.</summary>
internal enum ReplayFate
{
    /// <summary>The file lacks it.</summary>
    Apply,
    /// <summary>The file has it, or file or table are dropped further on.</summary>
    Skip,
}

/// <summary>
/// Which datafiles and tables there are at the point that replay has reached, and what each file has: decides whether
/// an operation is applied, passed over, or names something that nothing made.
/// </summary>
/// <remarks>
/// It begins as the catalogue that the replay starts with (control file, or that of a backup set at LSN C); events
/// above the catalogue's LSN change it, those at or below it are in it already (H43). What a file has is its own
/// matter: an event may be known to the catalogue and not yet to the file.
/// <code>
///  the record names            then
///  a file with LSN ≥ its own   passed over: the file has it
///  a dropped file or table     passed over, up to the drop's LSN; beyond it: damage
///  an unknown id               damage (H23): ids stay listed until the redo point has passed their drop
///  a table of another file     damage
/// </code>
/// INVARIANTS  C1: an id that was made is never made again. THREADS  one.
/// </remarks>
internal sealed class ReplayCatalogue
{
    private readonly Dictionary<FileId, FileState> _files = [];
    private readonly Dictionary<TableId, TableState> _tables = [];

    /// <param name="lsn">The catalogue's own LSN.</param>
    public ReplayCatalogue(Lsn lsn) => Lsn = lsn;

    /// <summary>
    /// The one file that is replayed; null: all. What concerns any other is passed over, known or not.
    /// </summary>
    public FileId? Only { get; init; }

    /// <summary>The LSN of the last event that the catalogue holds.</summary>
    public Lsn Lsn { get; private set; }

    /// <summary>The files that are there, and what each has.</summary>
    public IEnumerable<(FileId File, Lsn Has)> Files =>
        _files.Where(pair => pair.Value.DroppedAt.IsZero).Select(pair => (pair.Key, pair.Value.Has));

    /// <summary>A datafile of the catalogue.</summary>
    /// <param name="file">Its id.</param>
    /// <param name="has">Its checkpoint LSN: every change at or below it is in the file.</param>
    public void AddFile(FileId file, Lsn has) => _files.Add(file, new FileState { Has = has });

    /// <summary>A file that is in no catalogue yet but lies there from an earlier try: what it has.</summary>
    public void AddUnborn(FileId file, Lsn has) => _files.Add(file, new FileState { Has = has, IsUnborn = true });

    /// <summary>
    /// A datafile whose changes are all passed over: one that was dropped, or that has no copy because it is dropped
    /// before the set's stop.
    /// </summary>
    /// <param name="file">Its id.</param>
    /// <param name="droppedAt">The LSN of the drop; <see cref="Lsn.MaxValue"/> if it comes later in the WAL.</param>
    public void AddDroppedFile(FileId file, Lsn droppedAt) => _files.Add(file, new FileState { DroppedAt = droppedAt });

    public void AddTable(TableId table, FileId file) => _tables.Add(table, new TableState { File = file });

    public void AddDroppedTable(TableId table, FileId file, Lsn droppedAt) =>
        _tables.Add(table, new TableState { File = file, DroppedAt = droppedAt });

    /// <summary>What the file has; <see cref="Lsn.MaxValue"/> for one whose changes are passed over.</summary>
    public Lsn HasOf(FileId file) =>
        _files.TryGetValue(file, out FileState? state) && state.DroppedAt.IsZero ? state.Has : Lsn.MaxValue;

    /// <summary>What happens to an operation of a record.</summary>
    /// <exception cref="DamageException">WalDamaged: an id that nothing made.</exception>
    public ReplayFate FateOf(FileId file, TableId table, Lsn lsn)
    {
        if (IsOther(file))
            return ReplayFate.Skip;
        if (!_files.TryGetValue(file, out FileState? state) || state.IsUnborn)
            throw RecoveryErrors.UnknownId("datafile", file.Value, lsn);
        if (!state.DroppedAt.IsZero)
        {
            return lsn <= state.DroppedAt
                ? ReplayFate.Skip
                : throw RecoveryErrors.UnknownId("the dropped datafile", file.Value, lsn);
        }
        if (lsn <= state.Has)
            return ReplayFate.Skip;
        if (!_tables.TryGetValue(table, out TableState? of))
            throw RecoveryErrors.UnknownId("table", table.Value, lsn);
        if (of.File != file)
            throw RecoveryErrors.UnknownId($"datafile {file} for another one's table", table.Value, lsn);
        if (of.DroppedAt.IsZero)
            return ReplayFate.Apply;
        return lsn <= of.DroppedAt
            ? ReplayFate.Skip
            : throw RecoveryErrors.UnknownId("the dropped table", table.Value, lsn);
    }

    // ---- events of the WAL: true if the catalogue did not have it -----------------------------------

    public bool CreateFile(FileId file, Lsn lsn)
    {
        if (lsn <= Lsn || IsOther(file))
            return false;
        if (_files.TryGetValue(file, out FileState? state))
        {
            if (!state.IsUnborn)
                throw RecoveryErrors.UnknownId("a second time datafile", file.Value, lsn);
            state.IsUnborn = false;
            state.Has = Lsn.Max(state.Has, lsn);
        }
        else
        {
            _files.Add(file, new FileState { Has = lsn });
        }
        Lsn = lsn;
        return true;
    }

    public bool DropFile(FileId file, Lsn lsn)
    {
        if (lsn <= Lsn || IsOther(file))
            return false;
        if (!_files.TryGetValue(file, out FileState? state)
            || state.IsUnborn || (!state.DroppedAt.IsZero && state.DroppedAt != Lsn.MaxValue))
            throw RecoveryErrors.UnknownId("datafile", file.Value, lsn);
        state.DroppedAt = lsn;
        foreach (TableState table in _tables.Values)
        {
            if (table.File == file && table.DroppedAt.IsZero)
                table.DroppedAt = lsn;
        }
        Lsn = lsn;
        return true;
    }

    public bool CreateTable(TableId table, FileId file, Lsn lsn)
    {
        if (lsn <= Lsn || IsOther(file))
            return false;
        if (!_files.TryGetValue(file, out FileState? state) || state.IsUnborn)
            throw RecoveryErrors.UnknownId("datafile", file.Value, lsn);
        if (!_tables.TryAdd(table, new TableState { File = file }))
            throw RecoveryErrors.UnknownId("a second time table", table.Value, lsn);
        Lsn = lsn;
        return true;
    }

    public bool DropTable(TableId table, FileId file, Lsn lsn)
    {
        if (lsn <= Lsn || IsOther(file))
            return false;
        if (!_tables.TryGetValue(table, out TableState? state) || !state.DroppedAt.IsZero)
            throw RecoveryErrors.UnknownId("table", table.Value, lsn);
        state.DroppedAt = lsn;
        Lsn = lsn;
        return true;
    }

    private bool IsOther(FileId file) => Only is { } only && only != file;

    private sealed class FileState
    {
        public Lsn Has { get; set; }
        public Lsn DroppedAt { get; set; }
        public bool IsUnborn { get; set; }
    }

    private sealed class TableState
    {
        public FileId File { get; init; }
        public Lsn DroppedAt { get; set; }
    }
}
