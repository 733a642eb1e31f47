using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>What a single datafile is brought back from: which of the three, and from where its WAL is read.</summary>
/// <param name="From">Every change at or below it is in the content that replay begins with.</param>
internal abstract record FileBase(Lsn From)
{
    /// <summary>The file that lies there: all of it was read and is whole.</summary>
    /// <param name="Meta">Its meta page.</param>
    /// <param name="IsKnown">
    /// It is the very file that the control file knows, or newer: it keeps its incarnation. Else it is a copy, whose
    /// generations repeat others' (H15).
    /// </param>
    /// <param name="From">See <see cref="FileBase"/>.</param>
    public sealed record InPlace(MetaPage Meta, bool IsKnown, Lsn From) : FileBase(From);

    /// <summary>The copy in a backup set.</summary>
    public sealed record OfSet(BackupSet Set, LabelledFile File) : FileBase(File.CheckpointLsn);

    /// <summary>Nothing: the WAL has its creation, and all that came after.</summary>
    /// <param name="From">Where the WAL is read from, below the creation.</param>
    public sealed record Born(Lsn From) : FileBase(From);
}

/// <summary>Where the recovered file is to lie.</summary>
/// <param name="Path">Absolute; no link.</param>
/// <param name="StoredPath">What the catalogue says from then on; null: as it does.</param>
/// <remarks>
/// <code>
///   the folder in which its bytes lay is there        there, also behind the link under its name
///   it is not, and the name is a link                 under the name, in the place of the link
///   neither folder is there: a disk is gone           NAME.pitr in the database's folder, which the catalogue then says
/// </code>
/// </remarks>
internal sealed record FilePlace(string Path, string? StoredPath)
{
    public static FilePlace Of(IFileSystem files, string folder, CatalogueFile file)
    {
        string name = Catalogue.FullPath(folder, file.Path);
        string origin = LinkedName.Resolve(files, name);
        foreach (string path in (string[])[origin, name])
        {
            if (files.Stat(DurableReplace.FolderOf(path)) is { IsFolder: true })
                return new FilePlace(path, null);
        }

        string inside = System.IO.Path.Combine(folder, $"{file.Name}.pitr");
        return files.Stat(inside) is null
            ? new FilePlace(inside, Catalogue.StoredPath(folder, inside))
            : throw RecoveryErrors.TargetFileExists(inside);
    }
}
