using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What becomes of a datafile at the start of an engine.</summary>
internal enum FileVerdict
{
    /// <summary>It opens.</summary>
    Use,
    /// <summary>It starts as NeedsRecovery; the others serve.</summary>
    NeedsRecovery,
    /// <summary>The engine does not start.</summary>
    Refuse,
    /// <summary>It is ours and empty of meaning: removed.</summary>
    Remove,
    /// <summary>Left as it is, and reported.</summary>
    SetAside,
}

/// <summary>What the decision on one file rests on.</summary>
/// <param name="IsThere">There is a file.</param>
/// <param name="IsReadable">It has a meta page that can be believed.</param>
/// <param name="IsOurs">Its system identifier is the database's.</param>
/// <param name="IsDatafile">Its kind is datafile: no spill, no unfinished copy (H17).</param>
/// <param name="IsListed">The control file lists it.</param>
/// <param name="IsDropped">The control file lists it as dropped, and it lies where the dropped one lay.</param>
/// <param name="IsSameIncarnation">Its incarnation is the one listed.</param>
/// <param name="Generation">Its generation compared with the one listed: −1, 0, 1.</param>
/// <param name="IsSameLsn">Its checkpoint LSN is the one listed.</param>
/// <param name="IsOnPath">Its (lineage, LSN) lies on the path (H14).</param>
/// <param name="IsAboveWal">Its checkpoint LSN is above the end of the WAL.</param>
/// <param name="IsUnborn">Not listed, empty, and its creation was not logged.</param>
/// <param name="IsBlank">It lies where only the database makes files, or is to make one; it is no longer than the meta
/// pages, and holds nothing but zeroes.</param>
internal readonly record struct FileFacts(
    bool IsThere, bool IsReadable, bool IsOurs, bool IsDatafile, bool IsListed, bool IsDropped, bool IsSameIncarnation,
    int Generation, bool IsSameLsn, bool IsOnPath, bool IsAboveWal, bool IsUnborn, bool IsBlank)
{
    /// <summary>The facts of a file that is listed.</summary>
    public static FileFacts OfListed(
        CatalogueFile listed, SystemIdentifier system, MetaPage? meta, bool isThere, TimelineHistory path, Lsn walEnd)
    {
        if (meta is null)
            return new FileFacts { IsThere = isThere, IsListed = true };
        return new FileFacts(
            IsThere: true, IsReadable: true, IsOurs: meta.SystemId == system && meta.FileId == listed.Id,
            IsDatafile: meta.Kind == DatafileKind.Datafile, IsListed: true, IsDropped: false,
            IsSameIncarnation: meta.Incarnation == listed.Incarnation,
            Generation: meta.Generation.CompareTo(listed.Generation),
            IsSameLsn: meta.CheckpointLsn == listed.CheckpointLsn,
            IsOnPath: path.PathContains(meta.Lineage, meta.CheckpointLsn), IsAboveWal: meta.CheckpointLsn > walEnd,
            IsUnborn: false, IsBlank: false);
    }

    /// <summary>The facts of a file that is not listed.</summary>
    public static FileFacts OfStray(
        Catalogue catalogue, SystemIdentifier system, MetaPage? meta, string storedPath, bool isBlank)
    {
        if (meta is null)
            return new FileFacts { IsThere = true, IsBlank = isBlank };
        return new FileFacts
        {
            IsThere = true,
            IsReadable = true,
            IsOurs = meta.SystemId == system,
            IsDatafile = meta.Kind == DatafileKind.Datafile,
            IsDropped = catalogue.DroppedFiles.Any(drop => drop.Id == meta.FileId && drop.Path == storedPath),
            // Its number may have been given since, to a file whose creation was logged.
            IsUnborn = meta.Root.Height == 0 && (meta.FileId.Value >= catalogue.NextFileId.Value
                || (catalogue.File(meta.FileId) is { } other && other.Incarnation != meta.Incarnation)),
        };
    }
}

/// <summary>The table that tells which datafiles belong to a control file (design §10; H14, H16, H17, H23).</summary>
/// <remarks>Exactly one row fits any facts; its label is in log, errors and tests.</remarks>
internal static class ControlFileCase
{
    internal sealed record Row(string Label, Func<FileFacts, bool> Fits, FileVerdict Verdict, string Why);

    public static readonly IReadOnlyList<Row> Rows =
    [
        new("C1", f => IsOwn(f) && f.IsSameIncarnation && f.Generation == 0 && f.IsSameLsn && Fits(f),
            FileVerdict.Use, "it is as the control file says"),
        new("C2", f => IsOwn(f) && f.IsSameIncarnation && f.Generation > 0 && Fits(f),
            FileVerdict.Use, "it was flushed after the control file was written"),
        new("C3", f => IsOwn(f) && f.IsSameIncarnation && f.Generation < 0 && f.IsOnPath,
            FileVerdict.NeedsRecovery,
            "it is an older copy: its generation is below the one that the control file knows"),
        new("C4", f => IsOwn(f) && f.IsSameIncarnation && f.Generation == 0 && !f.IsSameLsn && f.IsOnPath,
            FileVerdict.NeedsRecovery, "its generation is the known one with another LSN: it is another file's copy"),
        new("C5", f => IsOwn(f) && !f.IsSameIncarnation && f.IsOnPath,
            FileVerdict.NeedsRecovery,
            "its incarnation is another one: it is a copy from before a restore, or was put here"),
        new("C6", f => IsOwn(f) && !f.IsOnPath,
            FileVerdict.NeedsRecovery, "its LSN is of a timeline that this database has left"),
        new("C7", f => IsOwn(f) && f.IsSameIncarnation && f.IsAboveWal && f.IsOnPath
                && (f.Generation > 0 || (f.Generation == 0 && f.IsSameLsn)),
            FileVerdict.Refuse, "it is ahead of the WAL"),
        new("C8", f => f.IsListed && f.IsThere && f.IsReadable && !f.IsOurs,
            FileVerdict.Refuse, "it belongs to another database, or is another datafile"),
        new("C9", f => f.IsListed && f.IsThere && f.IsReadable && f.IsOurs && !f.IsDatafile,
            FileVerdict.NeedsRecovery, "it is scratch or an unfinished copy, not a datafile"),
        new("C10", f => f.IsListed && f.IsThere && !f.IsReadable,
            FileVerdict.NeedsRecovery, "it has no meta page that can be believed"),
        new("C11", f => f.IsListed && !f.IsThere,
            FileVerdict.NeedsRecovery, "it is not there"),
        new("C12", f => IsStray(f) && f.IsReadable && f.IsOurs && f.IsDropped,
            FileVerdict.Remove, "it was dropped"),
        new("C13", f => IsStray(f) && f.IsReadable && f.IsOurs && !f.IsDropped && !f.IsDatafile,
            FileVerdict.Remove, "it is scratch or an unfinished copy of this database"),
        new("C14", f => IsStray(f) && f.IsReadable && f.IsOurs && !f.IsDropped && f.IsDatafile && f.IsUnborn,
            FileVerdict.Remove, "its creation was never logged, and it is empty"),
        new("C15", f => IsStray(f) && f.IsReadable && f.IsOurs && !f.IsDropped && f.IsDatafile && !f.IsUnborn,
            FileVerdict.SetAside, "nothing lists it"),
        new("C16", f => IsStray(f) && (f.IsReadable ? !f.IsOurs : !f.IsBlank),
            FileVerdict.SetAside, "it is not known to be of this database"),
        new("C17", f => !f.IsListed && !f.IsThere,
            FileVerdict.Use, "there is nothing"),
        new("C18", f => IsStray(f) && !f.IsReadable && f.IsBlank,
            FileVerdict.Remove, "its creation was cut off by a crash: it holds nothing"),
    ];

    /// <summary>The one row that fits.</summary>
    public static Row Decide(FileFacts facts)
    {
        Row? decided = null;
        foreach (Row row in Rows)
        {
            if (!row.Fits(facts))
                continue;
            Invariant.Require(decided is null, "C", $"Rows {decided?.Label} and {row.Label} both fit {facts}.");
            decided = row;
        }
        Invariant.Require(decided is not null, "C", $"No row fits {facts}.");
        return decided;
    }

    private static bool IsOwn(FileFacts f) =>
        f is { IsListed: true, IsThere: true, IsReadable: true, IsOurs: true, IsDatafile: true };

    private static bool IsStray(FileFacts f) => !f.IsListed && f.IsThere;

    private static bool Fits(FileFacts f) => f.IsOnPath && !f.IsAboveWal;
}
