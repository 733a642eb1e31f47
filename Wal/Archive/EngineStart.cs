using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>One engine start at one place: who wants to push.</summary>
/// <param name="StartId">Random, drawn by each engine start.</param>
/// <param name="Machine">The machine's name: a clone has the same.</param>
/// <param name="BootId">The kernel's, drawn anew at each boot; empty if it is not known.</param>
/// <param name="Folder">The database's folder: for people, since a folder can be renamed.</param>
/// <param name="Device">The file system of the folder: another one for a block-level copy. Its number holds for one boot.</param>
/// <param name="Inode">The folder's inode: another one for a copy in the same file system.</param>
internal sealed record EngineStart(
    ulong StartId, string Machine, string BootId, string Folder, ulong Device, ulong Inode)
{
    /// <summary>
    /// Whether the other start was of the database in the same folder: then the database lock proves that it is over.
    /// </summary>
    public PlaceComparison PlaceOf(EngineStart other) => Place.ComparedWith(other.Place);

    private FolderPlace Place => new(Machine, BootId, Device, Inode);

    /// <inheritdoc/>
    public override string ToString() =>
        $"start {StartId:X16} in '{Folder}' (device {Device}, inode {Inode}) on '{Machine}'"
        + (BootId.Length == 0 ? "" : $", boot {BootId}");
}
