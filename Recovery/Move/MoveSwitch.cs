using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>Makes the copy the datafile: steps 6 and 7 of <see cref="MovePlan"/>.</summary>
/// <remarks>
/// DURABILITY  in this order
/// <code>
///   Stamp      the copy's meta page, synced
///   open       by the path that it will have, so that nothing is left that could fail after the rename
///   ByLink     symlink beside the name · rename over the name · sync of the name's folder
///   ByReturn   rename of the copy over the name · sync of the folder
/// </code>
/// The copy, and its name, were synced long before (H18). Before the rename every failure leaves things as they were.
/// After one of the rename itself, or of the folder's sync, the name is looked at: only if it leads where it led, and
/// that is durable, nothing has happened.
/// The rename ByLink of a file that lies at its name takes the only name that it has, unless somebody gave it another:
/// whoever closes the former file gives all its room back, and may do that in steps (<see cref="GentleRemoval"/>). In the
/// other ways the former file keeps its name until <see cref="MoveSettlement"/> removes it.
/// THREADS  one worker, while the datafile is still and its fence can't break (H20).
/// </remarks>
internal static class MoveSwitch
{
    public static SwitchOutcome Run(IFileSystem files, MoveCopy copy)
    {
        MovePlan plan = copy.Plan;
        IFileHandle? handle = null;
        bool isRenamed = false;
        bool isFormerNameless = false;
        try
        {
            copy.Stamp();
            if (plan.Way != MoveWay.ByReturn)
                handle = files.Open(plan.To, FileOpen.ReadWrite);
            if (plan.Way != MoveWay.ByRecord)
            {
                isFormerNameless = plan.Way == MoveWay.ByLink && plan.Origin == plan.Name
                    && GentleRemoval.IsLarge(files.Stat(plan.Name), copy.CutBytes);
                if (plan.Way == MoveWay.ByLink)
                    files.Symlink(plan.LinkText, plan.Aside);
                isRenamed = true;
                files.Rename(plan.Aside, plan.Name);
                files.SyncFolder(DurableReplace.FolderOf(plan.Name));
            }

            handle ??= files.Open(plan.To, FileOpen.ReadWrite);
            return new SwitchOutcome.Moved(handle, copy.TakeLock(), isFormerNameless);
        }
        catch (Exception why)
        {
            handle?.Dispose();
            return isRenamed && !IsAsBefore(files, plan)
                ? new SwitchOutcome.Unknown(why)
                : new SwitchOutcome.NotSwitched(why);
        }
    }

    /// <summary>
    /// The name leads where it led, and a power loss changes nothing about that. A link that is left beside it is
    /// removed with the copy.
    /// </summary>
    private static bool IsAsBefore(IFileSystem files, MovePlan plan)
    {
        try
        {
            if (LinkedName.Resolve(files, plan.Name) != plan.Origin)
                return false;
            files.SyncFolder(DurableReplace.FolderOf(plan.Name));
            return LinkedName.Resolve(files, plan.Name) == plan.Origin;
        }
        catch (StorageFailedException)
        {
            return false;
        }
    }
}
