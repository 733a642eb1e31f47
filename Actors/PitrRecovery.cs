using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr;

/// <summary>Goes back to a moment: plans a restore, carries it out, checks a database that is not running.</summary>
public static class PitrRecovery
{
    /// <summary>
    /// What a restore would do, without writing a byte. A plan exists only if its target can be reached.
    /// </summary>
    /// <exception cref="PitrException">
    /// RefusedException TargetUnreachable, WalGap, BranchAmbiguous, TimeAmbiguous, FolderNotEmpty; NotFoundException
    /// BackupUnknown; DamageException WalDamaged, ArchiveDamaged, BackupDamaged; StorageFailedException StoreFailed.
    /// </exception>
    public static Task<RecoveryPlan> PlanAsync(
        RestoreRequest request, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return Task.Run(() => Plan(request, options ?? new PitrOptions(), cancellationToken).Plan, cancellationToken);
    }

    /// <summary>
    /// Restores into a new folder. When the task completes the database stands exactly at the target: promoted to a new
    /// timeline and closed in order, or paused for reading.
    /// </summary>
    /// <exception cref="PitrException">As <see cref="PlanAsync"/>; then the folder is left absent or empty.</exception>
    public static async Task<RestoreResult> RestoreAsync(
        RestoreRequest request, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        PitrOptions settings = options ?? new PitrOptions();
        long began = settings.Clock.GetTimestamp();
        PlannedRecovery planned = await Task.Run(() => Prepare(request, settings, cancellationToken), cancellationToken)
            .ConfigureAwait(false);
        PitrDatabase database = await PitrDatabase.OpenAsync(request.Into, settings, cancellationToken).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            EngineStatus status = await database.GetStatusAsync(cancellationToken).ConfigureAwait(false);
            PlannedRecord stop = planned.Plan.LastTransaction ?? planned.Plan.StopsAt;
            return new RestoreResult(
                planned.Plan.BackupId ?? "", status.Timeline, planned.Plan.StartLsn,
                new StoppedAt(stop.Lsn, stop.Time, stop.TransactionId), database.Actors.RecordsReplayed,
                settings.Clock.GetElapsedTime(began).TotalSeconds);
        }
    }

    /// <summary>
    /// Finishes a restore that was paused at its target: the new timeline begins, and the database is closed in order.
    /// </summary>
    public static async Task<TimelineId> PromoteAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        PitrOptions settings = options ?? new PitrOptions();
        string full = Path.GetFullPath(folder);
        await Task.Run(() => EndPause(full, settings), cancellationToken).ConfigureAwait(false);
        PitrDatabase database = await PitrDatabase.OpenAsync(full, settings, cancellationToken).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
            return (await database.GetStatusAsync(cancellationToken).ConfigureAwait(false)).Timeline;
    }

    private static PlannedRecovery Prepare(RestoreRequest request, PitrOptions options, CancellationToken cancellation)
    {
        IFileSystem files = EngineFactory.FileSystemOf(options);
        PlannedRecovery planned = Plan(request, options, cancellation);
        string folder = Path.GetFullPath(request.Into);
        long done = 0;
        var writer = new RestoreWriter(files, folder, (handle, offset, bytes) =>
        {
            handle.Write(offset, bytes);
            done += bytes.Length;
            request.Progress?.Report(new JobProgress("copying", done, planned.Plan.BytesToCopy));
        });
        string[] stores = request.Detached ? [] : [Absolute(request.Archive ?? request.Store)];
        bool isArchive = !request.Detached && ArchiveIdentity.Read(StoreOf(files, options, stores[0])) is not null;
        var restored = new DatabaseSettings { Stores = isArchive ? stores : [] };
        writer.Restore(planned, request.Pause, cancellation, () => restored.Write(files, folder));
        return planned;
    }

    private static PlannedRecovery Plan(RestoreRequest request, PitrOptions options, CancellationToken cancellation)
    {
        IFileSystem files = EngineFactory.FileSystemOf(options);
        IArchiveStore sets = StoreOf(files, options, Absolute(request.Store));
        IArchiveStore archive = request.Archive is null ? sets : StoreOf(files, options, Absolute(request.Archive));
        PlannedRecovery planned = RecoveryPlanner.Plan(
            new PlanRequest
            {
                Target = request.Target,
                SetStore = sets,
                Archives = ReferenceEquals(sets, archive) ? [sets] : [archive, sets],
                BackupId = request.BackupId,
                Timeline = request.Timeline,
                Map = request.Map,
                VerifiesFiles = false, // the copy compares them with the manifest
                Random = EngineFactory.DrawOf(options),
            },
            cancellation);
        RestoreWriter.RequireRoom(files, Path.GetFullPath(request.Into), planned.Plan);
        return planned;
    }

    private static void EndPause(string folder, PitrOptions options)
    {
        IFileSystem files = EngineFactory.FileSystemOf(options);
        var store = new ControlFileStore(files, folder);
        if (!store.Exists)
            throw EngineErrors.NotADatabase(folder);
        using DatabaseLock held = DatabaseLock.Take(files, folder, DatabaseLock.ThisProcess(options.Clock));
        ControlFile control = store.ReadLive();
        if (control.Recovery is not { } recovery)
            throw EngineErrors.NotInRecovery(folder);
        store.Replace(control with { Recovery = recovery with { IsPaused = false } });
    }

    private static FolderStore StoreOf(IFileSystem files, PitrOptions options, string address) =>
        EngineFactory.OpenStore(files, EngineFactory.DrawOf(options), StoreAddress.Parse(address, Environment.CurrentDirectory));

    /// <summary>
    /// A relative path is taken from where the caller runs; what the control file keeps must mean the same everywhere.
    /// </summary>
    private static string Absolute(string store) => StoreAddress.Parse(store, Environment.CurrentDirectory).Folder;
}
