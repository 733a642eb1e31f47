using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>One datafile that leaves a folder.</summary>
/// <param name="Datafile">Its name in the database.</param>
/// <param name="To">Where it goes; absolute.</param>
/// <param name="WithoutLink">The catalogue gets the new path: a link under the old one would lie in the folder.</param>
internal sealed record DrainStep(string Datafile, string To, bool WithoutLink);

/// <summary>
/// Which datafiles leave a folder, and how: when all have, nothing of the database is in it, and it may be removed.
/// </summary>
/// <remarks>
/// A datafile leaves if its bytes lie there, or the name does under which the catalogue finds them (<see cref="MovePlan"/>):
/// <code>
///   bytes there, name elsewhere     the link is repointed
///   name there                      moved by record, wherever the bytes lie: the name, a link too, goes
///   the database's own folder       its bytes leave, by link: control file and WAL stay there, so it is needed anyway
/// </code>
/// The folder is known by device and inode, not by how it is written.
/// </remarks>
internal static class DrainPlan
{
    /// <summary>Decides; reads, and changes nothing.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="databaseFolder">Absolute.</param>
    /// <param name="catalogue">The datafiles.</param>
    /// <param name="folder">The folder that they leave; absolute.</param>
    /// <param name="to">The folder that they go to; absolute.</param>
    /// <exception cref="NotFoundException">FolderUnknown: the folder is not there.</exception>
    /// <exception cref="RefusedException">MoveRefused: a datafile lies already where it would go, only its name does not.
    /// </exception>
    public static IReadOnlyList<DrainStep> Make(
        IFileSystem files, string databaseFolder, Catalogue catalogue, string folder, string to)
    {
        if (files.Stat(folder) is not { IsFolder: true })
            throw MoveErrors.NothingToDrain(folder);
        bool isHome = SameFolder.Is(files, folder, databaseFolder);
        var steps = new List<DrainStep>();
        foreach (CatalogueFile file in catalogue.Files.OrderBy(static file => file.Id.Value))
        {
            string name = Catalogue.FullPath(databaseFolder, file.Path);
            string origin = LinkedName.Resolve(files, name);
            bool isNamedThere = !isHome && SameFolder.Is(files, folder, DurableReplace.FolderOf(name));
            if (!isNamedThere && !SameFolder.Is(files, folder, DurableReplace.FolderOf(origin)))
                continue;
            string target = Path.Combine(to, Path.GetFileName(origin));
            if (isNamedThere && origin != name && target == origin)
                throw MoveErrors.OnlyNamedThere(file.Name, folder, target);
            steps.Add(new DrainStep(file.Name, target, isNamedThere));
        }

        return steps;
    }
}
