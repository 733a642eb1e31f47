using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// START HERE for compacting. Which file is made anew, and what the new one will be: made, and refused, before anything is
/// touched.
/// </summary>
/// <remarks>
/// The new file is made beside the one that has the datafile's bytes, wherever the datafile's name leads to, and takes
/// its place by one rename; the name itself, and a link under it, stay. It is another incarnation (H42), so:
/// ORDER  in one line each: what is durable after the step, and what an opening does that finds it
/// <code>
///    1  control file notes the datafile and the new incarnation          nothing else: forgets it
///    2  fence: meta page up to date, control file knows generation g
///    3  file made (O_EXCL), of the kind unfinished copy; synced; folder  removes it                  CompactedFile
///    4  rows of the still root written, paced; synced                    removes it                  CompactedFile
///    5  read again, every page and every row                             removes it                  CompactedFile
///    6  its meta page, of generation g+1, says datafile; synced          removes it                  CompactedFile
///    7  renamed over the datafile; folder synced                         it is the datafile          CompactCopy
///    8  control file names the new incarnation and forgets the note      opens it
///    9  the actor enters it; unfence: the first change that it has and the former file has not      DatafileActor
/// </code>
/// Nothing is logged: content and path stay what they are, and which incarnation a file is of each copy says for itself
/// (decision 0013). From 5 on the fence can't break until 9 (H20). After a power loss within 7 the name leads to one of
/// both files, which hold the same rows up to the same LSN; the opening syncs the folder before it looks. Between 7 and
/// 8 the control file names the former incarnation: the note says that the new one is no foreign file (H16).
/// The former file has no name any more from 7 on. Views that were pinned before 9 read on in it, with its own cached
/// pages; then it is closed, and its room on the disk is free; that of a large one is given back in steps
/// (<see cref="GentleRemoval"/>).
/// </remarks>
internal sealed record CompactPlan
{
    /// <summary>Beside a datafile while it is made anew; no datafile may have a name that ends so.</summary>
    public const string Suffix = ".compacting";

    public required FileId FileId { get; init; }

    /// <summary>The datafile's name in the database, for messages.</summary>
    public required string Datafile { get; init; }

    /// <summary>The catalogue's path of it; absolute.</summary>
    public required string Name { get; init; }

    /// <summary>Where its bytes lie; absolute.</summary>
    public required string Origin { get; init; }

    /// <summary>Of the file that takes its place.</summary>
    public required Incarnation Incarnation { get; init; }

    /// <summary>The path of the new file until it takes its place.</summary>
    public string Copy => Origin + Suffix;

    /// <summary>Reads, and changes nothing.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="folder">The database's folder; absolute.</param>
    /// <param name="file">The datafile.</param>
    /// <param name="liveBytes">What of it the new file will have, about.</param>
    /// <param name="incarnation">Of the new file: drawn.</param>
    /// <exception cref="StorageFailedException">DiskFull: no room for the new file; or the disk can't be
    /// asked.</exception>
    public static CompactPlan Make(
        IFileSystem files, string folder, CatalogueFile file, long liveBytes, Incarnation incarnation)
    {
        string name = Catalogue.FullPath(folder, file.Path);
        var plan = new CompactPlan
        {
            FileId = file.Id,
            Datafile = file.Name,
            Name = name,
            Origin = LinkedName.Resolve(files, name),
            Incarnation = incarnation,
        };
        string beside = DurableReplace.FolderOf(plan.Origin);
        return files.FreeBytes(beside) is var free && free < liveBytes
            ? throw CompactErrors.NoRoom(file.Name, beside, free, liveBytes)
            : plan;
    }

    /// <summary>What the control file notes before the first byte.</summary>
    public PlannedMove Note(string folder, FolderPlace place)
    {
        string origin = Catalogue.StoredPath(folder, Origin);
        return new PlannedMove(
            FileId, Catalogue.StoredPath(folder, Name), origin, place, Origin == Name ? null : origin,
            Incarnation: Incarnation);
    }
}
