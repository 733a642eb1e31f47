using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// START HERE for moves. Where one datafile goes, and which names that takes: made, and refused, before anything is
/// touched.
/// </summary>
/// <remarks>
/// A datafile has a <see cref="Name"/>, its path in the catalogue, and an <see cref="Origin"/>, where its bytes lie:
/// the same, or what the name links to if it was moved before. A move copies the bytes to <see cref="To"/>, and then
/// changes in one step what the name leads to:
/// <code>
///   ByLink    a symbolic link to the copy is renamed over the name                  the catalogue says nothing new
///   ByReturn  the name is a link, and the bytes come back: the copy is renamed over it
///   ByRecord  without a link: the control file's replacement, with another path in it
/// </code>
/// ORDER  in one line each: what is durable after the step, and what an opening does that finds it (H18–H20)
/// <code>
///    1  control file notes the move: from, to                          nothing else: forgets it
///    2  copy made (O_EXCL), of the kind unfinished copy, synced; folder  removes the copy            MoveCopy
///    3  all pages copied, paced; synced                                  removes the copy            MoveCopy
///    4  read again, every page and all of it                             removes the copy            MoveCopy
///    5  MoveDatafile logged; the fence can't break from here on          removes the copy            DatafileActor
///    6  the copy's meta page says datafile; synced                       removes the copy            MoveCopy
///    7  the name leads to the copy; its folder synced                    the copy is the datafile    MoveSwitch
///    8  control file names the winner                                    removes the former file     DatafileActor
///    9  the actor goes on in the copy; unfence: the first change that only one of both files has
///   10  what is no longer used is removed, its folder synced             forgets it                  MoveSettlement
///   11  control file forgets the move
/// </code>
/// Between 6 and 9 there are two files that pass for the datafile, and they are equal, page by page: nothing is flushed
/// in that time. After a power loss within 7 the name leads to one of them; the opening syncs the name's folder before
/// it looks, so that it stays with the one it found. By record, 7 and 8 are the same replacement of the control file.
/// Whatever happens, the catalogue's path leads to the datafile; a file is removed only after a durable control file
/// says that it is not that one.
/// </remarks>
internal sealed record MovePlan
{
    /// <summary>What is put beside a name for a moment; no datafile may have a name that ends so.</summary>
    public const string AsideSuffix = ".moving";

    public required FileId FileId { get; init; }

    /// <summary>The datafile's name in the database, for messages.</summary>
    public required string Datafile { get; init; }

    /// <summary>The catalogue's path of it; absolute.</summary>
    public required string Name { get; init; }

    /// <summary>Where its bytes lie; absolute.</summary>
    public required string Origin { get; init; }

    /// <summary>Where they go; absolute.</summary>
    public required string To { get; init; }

    public required MoveWay Way { get; init; }

    /// <summary>What the link says: relative if both lie in the database's folder, which may be moved as a whole.</summary>
    public required string LinkText { get; init; }

    /// <summary>Beside the name, for a moment: the link, or the copy that comes back.</summary>
    public string Aside => Name + AsideSuffix;

    /// <summary>The path of the copy until the switch.</summary>
    public string Copy => Way == MoveWay.ByReturn ? Aside : To;

    /// <summary>Decides where what goes; reads, and changes nothing.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="folder">The database's folder; absolute.</param>
    /// <param name="file">The datafile.</param>
    /// <param name="to">Where it is to lie; absolute.</param>
    /// <param name="isRecorded">True: the catalogue gets the new path, and no link is made.</param>
    /// <exception cref="RefusedException">MoveRefused.</exception>
    /// <exception cref="StorageFailedException">DiskFull: no room for the copy; or the disk can't be asked.</exception>
    public static MovePlan Make(IFileSystem files, string folder, CatalogueFile file, string to, bool isRecorded)
    {
        string name = Catalogue.FullPath(folder, file.Path);
        string origin = LinkedName.Resolve(files, name);
        bool isReturn = to == name && origin != name;
        if (to == origin)
            throw MoveErrors.OntoItself(file.Name, to);
        if (files.Stat(to) is { } there && !isReturn)
            throw there is { IsFolder: true } ? MoveErrors.IsFolder(file.Name, to) : MoveErrors.Taken(file.Name, to);
        var plan = new MovePlan
        {
            FileId = file.Id,
            Datafile = file.Name,
            Name = name,
            Origin = origin,
            To = to,
            Way = isReturn ? MoveWay.ByReturn : isRecorded ? MoveWay.ByRecord : MoveWay.ByLink,
            LinkText = IsInside(folder, name) && IsInside(folder, to)
                ? Path.GetRelativePath(DurableReplace.FolderOf(name), to)
                : to,
        };
        if (files.Stat(plan.Aside) is not null)
            throw MoveErrors.InTheWay(file.Name, to, plan.Aside);
        string target = DurableReplace.FolderOf(to);
        long lengthBytes = files.Stat(origin)?.LengthBytes ?? 0;
        return files.FreeBytes(target) is var free && free < lengthBytes
            ? throw MoveErrors.NoRoom(file.Name, target, free, lengthBytes)
            : plan;
    }

    /// <summary>What the control file notes before the first byte.</summary>
    public PlannedMove Note(string folder, FolderPlace place) => new(
        FileId, Catalogue.StoredPath(folder, Name), Catalogue.StoredPath(folder, To), place,
        Origin == Name ? null : Catalogue.StoredPath(folder, Origin));

    private static bool IsInside(string folder, string path) => !Path.IsPathRooted(Catalogue.StoredPath(folder, path));
}

/// <summary>What makes the copy the datafile: see <see cref="MovePlan"/>.</summary>
internal enum MoveWay
{
    ByLink,
    ByReturn,
    ByRecord,
}
