using Pitr.Actors;
using Pitr.Recovery;

namespace Pitr;

/// <summary>What happens to a database in its own folder: a recovery in place, a control file that is made anew.</summary>
public static partial class PitrRecovery
{
    /// <summary>
    /// What a recovery in place would do, without writing a byte. A plan exists only if its target can be reached.
    /// </summary>
    /// <exception cref="PitrException">
    /// As <see cref="PlanAsync"/> but for FolderNotEmpty; and RefusedException DatabaseLocked, WalTooShort (a datafile has
    /// what no WAL reaches), DatafileNeedsRecovery (one has nothing to begin with), ControlFileWhole (a recovery is under
    /// way); NotFoundException NotADatabase.
    /// </exception>
    public static Task<RecoveryPlan> PlanInPlaceAsync(
        InPlaceRecoveryRequest request, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        PitrOptions settings = options ?? new PitrOptions();
        return EngineFactory.WorkersOf(settings).RunAsync(
            () => InPlaceRecovery.Plan(request, settings, cancellationToken), cancellationToken);
    }

    /// <summary>
    /// What <c>pitr recover DIR</c> would do with the control file that is there, without opening the database and without
    /// writing a byte: how a recovery goes on that is paused or not finished, or how each datafile comes back that needs it.
    /// </summary>
    /// <param name="folder">The database; it is not running.</param>
    /// <param name="store">Where the backup sets of lost datafiles are; null: the database's stores.</param>
    /// <param name="archive">Where WAL is that neither the database nor its stores have.</param>
    /// <param name="options">As for opening.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="PitrException">
    /// RefusedException NotInRecovery: there is nothing to recover; DatabaseLocked, WalTooShort, WalGap, and what the recovery
    /// itself would be refused for; DamageException; NotFoundException NotADatabase.
    /// </exception>
    public static Task<IReadOnlyList<RecoveryPlan>> PlanRecoveryAsync(
        string folder, string? store = null, string? archive = null, PitrOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(folder);
        PitrOptions settings = options ?? new PitrOptions();
        return EngineFactory.WorkersOf(settings).RunAsync(
            () => RecoveryPreview.Plan(folder, store, archive, settings, cancellationToken), cancellationToken);
    }

    /// <summary>
    /// Recovers a database where it lies, with the control file of a backup set. When the task completes it stands exactly
    /// at the target, on a new timeline, closed in order. Former files lie beside the new ones, with the ending
    /// <c>.aside</c>.
    /// </summary>
    /// <exception cref="PitrException">As <see cref="PlanInPlaceAsync"/>; then nothing was written.</exception>
    public static Task<RestoreResult> RecoverInPlaceAsync(
        InPlaceRecoveryRequest request, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        string full = Path.GetFullPath(request.Folder);
        return Traces.RunAsync(
            "pitr.recover", full,
            async () =>
            {
                PitrOptions settings = options ?? new PitrOptions();
                long began = settings.Clock.GetTimestamp();
                RecoveryPlan plan = await EngineFactory.WorkersOf(settings).RunAsync(
                    () => InPlaceRecovery.Prepare(request, settings, cancellationToken), cancellationToken)
                    .ConfigureAwait(false);
                return await CarryOutAsync(plan, full, settings, began, cancellationToken).ConfigureAwait(false);
            },
            NoteStop);
    }

    /// <summary>
    /// Says that the folder of a database that is not running was moved, to another place or machine, and is no copy: its
    /// datafiles outside of the folder are its own again. Until then they are neither opened nor written
    /// (<see cref="ErrorCode.DatafileElsewhere"/>).
    /// </summary>
    /// <param name="folder">The database; it is not running.</param>
    /// <param name="options">As for opening.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The datafiles outside.</returns>
    /// <exception cref="PitrException">
    /// RefusedException DatabaseLocked: somebody has the database, or one of those datafiles, open; ForeignSystem: one of them
    /// is another's; NotFoundException NotADatabase; DamageException ControlFileDamaged. Then nothing was written.
    /// </exception>
    public static Task<IReadOnlyList<OutsideDatafile>> NoteMovedAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default) =>
        MovedAsync(folder, isPlan: false, options, cancellationToken);

    /// <summary>What <see cref="NoteMovedAsync"/> would say; nothing is written.</summary>
    /// <exception cref="PitrException">As there.</exception>
    public static Task<IReadOnlyList<OutsideDatafile>> PlanMovedAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default) =>
        MovedAsync(folder, isPlan: true, options, cancellationToken);

    private static Task<IReadOnlyList<OutsideDatafile>> MovedAsync(
        string folder, bool isPlan, PitrOptions? options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(folder);
        PitrOptions settings = options ?? new PitrOptions();
        return EngineFactory.WorkersOf(settings).RunAsync(
            () => MovedFolder.Note(folder, isPlan, settings), cancellationToken);
    }

    /// <summary>What <see cref="RebuildControlFileAsync"/> would write.</summary>
    /// <exception cref="PitrException">As there.</exception>
    public static Task<RebuildPlan> PlanControlFileAsync(
        string folder, TimelineId? timeline = null, PitrOptions? options = null,
        CancellationToken cancellationToken = default) =>
        RebuildAsync(folder, timeline, isPlan: true, options, cancellationToken);

    /// <summary>
    /// Makes a lost control file anew, from the last checkpoint that the WAL in the folder records, what was logged behind
    /// it, and the datafiles' headers. When the task completes it is durable; opening the database then recovers it as
    /// after a crash, on the same timeline. A damaged one stays, with the ending <c>.aside</c>.
    /// </summary>
    /// <param name="folder">The database; it is not running.</param>
    /// <param name="timeline">The branch that was in use, if the folder has WAL of several.</param>
    /// <param name="options">As for opening.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="PitrException">
    /// RefusedException ControlFileWhole, ControlFileUnknowable, BranchAmbiguous, ForeignSystem, WalTooShort, WalGap,
    /// DatabaseLocked; DamageException WalDamaged; NotFoundException NotADatabase; then nothing was written.
    /// </exception>
    public static Task<RebuildPlan> RebuildControlFileAsync(
        string folder, TimelineId? timeline = null, PitrOptions? options = null,
        CancellationToken cancellationToken = default) =>
        RebuildAsync(folder, timeline, isPlan: false, options, cancellationToken);

    private static Task<RebuildPlan> RebuildAsync(
        string folder, TimelineId? timeline, bool isPlan, PitrOptions? options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(folder);
        PitrOptions settings = options ?? new PitrOptions();
        return EngineFactory.WorkersOf(settings).RunAsync(
            () => InPlaceRecovery.Rebuild(folder, timeline, isPlan, settings, cancellationToken), cancellationToken);
    }
}
