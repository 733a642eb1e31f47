using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>One datafile that is to be brought back, and where what it needs may be.</summary>
internal sealed record FileRecoveryRequest
{
    /// <summary>The database's folder; absolute.</summary>
    public required string Folder { get; init; }

    public required DatafileEnvironment Environment { get; init; }

    /// <summary>Whose the files outside of the folder are.</summary>
    public required OutsideFiles Outside { get; init; }

    /// <summary>The control file as it is: its catalogue and its path of timelines.</summary>
    public required ControlFile Control { get; init; }

    /// <summary>The datafile.</summary>
    public required FileId File { get; init; }

    /// <summary>The WAL counts up to here: durable, and the end of a record.</summary>
    public required Lsn End { get; init; }

    /// <summary>Where backup sets may be.</summary>
    public required IReadOnlyList<IArchiveStore> SetStores { get; init; }

    /// <summary>Where WAL may be, beside the database's own.</summary>
    public required IReadOnlyList<IArchiveStore> Archives { get; init; }

    /// <summary>The database's own WAL.</summary>
    public required Func<IWalSource> Local { get; init; }

    /// <summary>What lies in the file's place is not used, whatever it is.</summary>
    public bool OnlyOfSet { get; init; }

    /// <summary>What is known already and is to be told with the plan.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];

    /// <summary>Draws the recovery's id, and the incarnation.</summary>
    public required Func<ulong> Random { get; init; }
}

/// <summary>A plan for one datafile, and what it was made from.</summary>
/// <param name="Plan">What will be done.</param>
/// <param name="Request">What was asked.</param>
/// <param name="File">The datafile.</param>
/// <param name="Base">What replay begins with.</param>
/// <param name="Place">Where it will lie.</param>
/// <param name="Tables">Its tables at <see cref="FileBase.From"/>.</param>
/// <param name="IsBornInWal">
/// The WAL that is replayed has its creation: it begins with nothing, or with the empty file of that moment.
/// </param>
internal sealed record PlannedFileRecovery(
    RecoveryPlan Plan, FileRecoveryRequest Request, CatalogueFile File, FileBase Base, FilePlace Place,
    IReadOnlyList<TableId> Tables, bool IsBornInWal)
{
    public TimelineHistory History { get; } = TimelineHistory.Of(Request.Control.SystemId, Request.Control.History);

    /// <summary>What was planned is done only where its name still leads.</summary>
    /// <exception cref="RefusedException">DatafileNeedsRecovery: it leads elsewhere.</exception>
    public void RequirePlace()
    {
        if (FilePlace.Of(Request.Environment.Files, Request.Folder, File) != Place)
            throw DatafileErrors.NeedsRecovery(Place.Path, "its name led elsewhere when this was looked at");
    }

    /// <summary>The catalogue that its replay begins with: this file alone.</summary>
    public ReplayCatalogue Catalogue()
    {
        var catalogue = new ReplayCatalogue(Base.From) { Only = File.Id };
        if (IsBornInWal)
            catalogue.AddUnborn(File.Id, Base.From);
        else
            catalogue.AddFile(File.Id, Base.From);
        foreach (TableId table in Tables)
            catalogue.AddTable(table, File.Id);
        return catalogue;
    }

    /// <summary>The records in (from, to], of what the places have now.</summary>
    public IRecordStream OpenRecords(Lsn from, Lsn to)
    {
        if (from >= to)
            return new NoRecords(from);
        WalSources sources = FileWal.SourcesOf(Request, (Base as FileBase.OfSet)?.Set);
        return FileWal.Open(sources, History, from, to);
    }

    /// <summary>The lineage of a record that ends at an LSN (H14).</summary>
    public Lineage LineageOf(Lsn lsn) => History.OwnerOf(lsn + -8).Lineage;
}
