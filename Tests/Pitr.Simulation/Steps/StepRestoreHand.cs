using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// A hand in a restore that is not finished: a datafile of the source, which has gone on beyond the target, is put in the
/// place of the restored one. It takes no part, or the result is the target (H34).
/// </summary>
internal sealed class StepRestoreHand(
    SimulatedDisk disk, StepDatabase source, StepDatabase restored, StepSettings settings, StepMemory memory,
    StepHazards hazards, long seed)
{
    /// <summary>Puts the first that lies above the cut, if there is one, and opens.</summary>
    public void Touch()
    {
        ControlFile theirs = new ControlFileStore(disk, source.Folder).ReadLive();
        ControlFile ours = new ControlFileStore(disk, restored.Folder).ReadLive();
        if (ours.Recovery is null)
            return;
        foreach (CatalogueFile file in ours.Catalogue.Files)
        {
            string to = Catalogue.FullPath(restored.Folder, file.Path);
            if (theirs.Catalogue.File(file.Id) is not { } listed || disk.Stat(to) is null
                || LinkedName.Resolve(disk, Catalogue.FullPath(source.Folder, listed.Path)) is not { } from
                || !IsAbove(from, restored.Model.Acknowledged))
                continue;
            byte[] bytes = disk.ReadAll(from);
            disk.Delete(to);
            using (IFileHandle handle = disk.Open(to, FileOpen.CreateNew))
                handle.Write(0, bytes);
            hazards.Note(34);
            Open();
            return;
        }
    }

    private bool IsAbove(string path, Lsn cut)
    {
        try
        {
            return disk.Stat(path) is not null && Datafile.Inspect(disk, path).CheckpointLsn > cut;
        }
        catch (DamageException)
        {
            return false; // a crash left nothing whole
        }
    }

    private void Open()
    {
        try
        {
            using StepEngine engine = StepEngine.Open(restored.Folder, settings.OptionsFor(disk, seed), memory);
            StepCheck.Run(engine, restored.Model);
        }
        catch (PitrException told) when (told is not BugException)
        {
            // As it should be.
        }
    }
}
