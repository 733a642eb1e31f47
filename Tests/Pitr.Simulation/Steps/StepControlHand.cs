using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// The control file of a database that crashed is lost, or no use: it is made anew out of WAL and datafiles, and what then
/// opens is what would have opened with it (H3, H7, H16, H22, H43). Power may fail behind it.
/// </summary>
internal sealed class StepControlHand(
    SimulatedDisk disk, StepDatabase database, StepSettings settings, StepMemory memory, StepHazards hazards, long seed)
{
    private SeededRandom _random = SeededRandom.For(seed, 9);

    public void Touch()
    {
        var store = new ControlFileStore(disk, database.Folder);
        ControlFile before = store.ReadLive();
        if (before.Recovery is not null)
            return; // its plan is nowhere else
        if (_random.Chance(50))
            disk.Delete(store.FilePath);
        else
            disk.Damage(store.FilePath, _random.Next((int)disk.Stat(store.FilePath)!.LengthBytes), 1 + _random.Next(20));
        disk.SyncFolder(database.Folder);
        WalSurvey survey = WalSurvey.Of(disk, Path.Combine(database.Folder, "wal"));
        PlannedRebuild planned;
        try
        {
            planned = RebuildPlanner.Plan(
                disk, database.Folder, survey, timeline: null, StepSettings.Process,
                new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));
        }
        catch (RefusedException refused) when (refused.Code == ErrorCode.ControlFileUnknowable)
        {
            WalRun? own = survey.LastRuns.FirstOrDefault(run => run.Identity.Lineage == before.Lineage);
            if (own?.Checkpoint is not null)
                throw new SimulationFailure($"The WAL has a checkpoint, and the control file can't be made anew: {refused.Message}");
            return; // none yet on this timeline
        }

        RebuildWriter.Run(disk, planned);
        hazards.Note(22);
        SimulatedDisk left = _random.Chance(60) ? disk.CrashCopy((long)(_random.NextBits() >> 8)) : disk;
        ControlFile made = new ControlFileStore(left, database.Folder).ReadLive();
        if (made.Lineage != before.Lineage || made.Catalogue.Lsn < before.Catalogue.Lsn
            || made.Catalogue.NextFileId.Value < before.Catalogue.NextFileId.Value
            || made.Catalogue.NextTableId.Value < before.Catalogue.NextTableId.Value)
            throw new SimulationFailure(
                $"The control file that was made anew knows less: {made.Lineage} {made.Catalogue.Lsn} instead of "
                + $"{before.Lineage} {before.Catalogue.Lsn} (H43).");
        RebuiltFile[] lost = [.. planned.Plan.Files.Where(static file => file.NeedsRecovery is not null)];
        foreach (RebuiltFile file in lost)
        {
            if (before.Catalogue.File(file.Name) is { NeedsRecovery: null } known && IsOfCheckpoint(survey, known, before))
                throw new SimulationFailure($"Datafile '{file.Name}' was there: {file.NeedsRecovery} (H16).");
        }

        if (lost.Length > 0)
            return; // compacted since the checkpoint: it is brought up by a recovery
        using StepEngine engine = StepEngine.Open(database.Folder, settings.OptionsFor(left, seed + 1), memory);
        StepCheck.Run(engine, database.Model);
    }

    /// <summary>
    /// The last checkpoint names that incarnation, and no other is noted: nothing may keep the file from being used.
    /// </summary>
    private static bool IsOfCheckpoint(WalSurvey survey, CatalogueFile known, ControlFile before) =>
        before.Moves.IsEmpty
        && survey.LastRuns.Last().Checkpoint?.Event is WalEvent.Checkpoint record
        && ControlFileStore.DecodePayload("record", System.Text.Encoding.UTF8.GetBytes(record.ControlFile))
            .Catalogue.File(known.Id)?.Incarnation == known.Incarnation;
}
