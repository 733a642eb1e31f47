using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr;

/// <summary>Goes back to a moment: plans a restore, carries it out, checks a database that is not running.</summary>
public static partial class PitrRecovery
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
        PitrOptions settings = options ?? new PitrOptions();
        return EngineFactory.WorkersOf(settings).RunAsync(
            () => Plan(request, settings, verifiesFiles: true, cancellationToken).Plan,
            cancellationToken);
    }

    /// <summary>
    /// Restores into a new folder. When the task completes the database stands exactly at the target: promoted to a new
    /// timeline and closed in order, or paused for reading.
    /// </summary>
    /// <exception cref="PitrException">As <see cref="PlanAsync"/>; then the folder is left absent or empty.</exception>
    public static Task<RestoreResult> RestoreAsync(
        RestoreRequest request, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return Traces.RunAsync(
            "pitr.restore", Path.GetFullPath(request.Into),
            () => CarryOutAsync(request, options ?? new PitrOptions(), cancellationToken), NoteStop);
    }

    private static async Task<RestoreResult> CarryOutAsync(
        RestoreRequest request, PitrOptions settings, CancellationToken cancellationToken)
    {
        long began = settings.Clock.GetTimestamp();
        PlannedRecovery planned = await EngineFactory.WorkersOf(settings)
            .RunAsync(() => Prepare(request, settings, cancellationToken), cancellationToken).ConfigureAwait(false);
        return await CarryOutAsync(planned.Plan, request.Into, settings, began, cancellationToken)
            .ConfigureAwait(false);
    }

    /// <summary>
    /// Goes on with a restore that is paused at its target, or that died on its way: to a later target, or to the one
    /// it has. When the task completes the database stands exactly there.
    /// </summary>
    /// <param name="folder">The restored database; it is not running.</param>
    /// <param name="target">
    /// A moment at or after the one where it stands; null: to the end of the archive if it is paused and stays so, else
    /// the target that it has.
    /// </param>
    /// <param name="promote">Begin the new timeline there; else a paused restore stays paused.</param>
    /// <param name="options">As for opening.</param>
    /// <param name="cancellationToken">Ends the wait; what was noted goes on at the next opening.</param>
    /// <exception cref="PitrException">
    /// As <see cref="PlanAsync"/>, and RefusedException NotInRecovery, DatabaseLocked; then it stands where it stood.
    /// </exception>
    public static Task<RestoreResult> RecoverAsync(
        string folder, RecoveryTarget? target = null, bool promote = false, PitrOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        string full = Path.GetFullPath(folder);
        return Traces.RunAsync(
            "pitr.recover", full,
            () => ContinueAsync(full, target, promote, options ?? new PitrOptions(), cancellationToken), NoteStop);
    }

    private static void NoteStop(System.Diagnostics.Activity activity, RestoreResult result) =>
        activity.SetTag("pitr.lsn", result.StoppedAt.Lsn.ToString()).SetTag("pitr.records", result.RecordsReplayed);

    private static async Task<RestoreResult> ContinueAsync(
        string full, RecoveryTarget? target, bool promote, PitrOptions settings, CancellationToken cancellationToken)
    {
        long began = settings.Clock.GetTimestamp();
        RecoveryPlan plan = await EngineFactory.WorkersOf(settings)
            .RunAsync(() => RecoveryContinuation.Note(full, target, promote, settings, cancellationToken), cancellationToken)
            .ConfigureAwait(false);
        return await CarryOutAsync(plan, full, settings, began, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Finishes a restore that was paused at its target: the new timeline begins, and the database is closed in order.
    /// </summary>
    public static async Task<TimelineId> PromoteAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default) =>
        (await RecoverAsync(folder, target: null, promote: true, options, cancellationToken).ConfigureAwait(false))
        .Timeline;

    /// <summary>Opening does what the plan in the control file says.</summary>
    private static async Task<RestoreResult> CarryOutAsync(
        RecoveryPlan plan, string folder, PitrOptions options, long began, CancellationToken cancellationToken)
    {
        PitrDatabase database = await PitrDatabase.OpenAsync(folder, options, cancellationToken).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            PlannedRecord stop = plan.LastTransaction ?? plan.StopsAt;
            return new RestoreResult(
                plan.BackupId ?? "", database.Actors.Timeline, plan.StartLsn,
                new StoppedAt(stop.Lsn, stop.Time, plan.LastTransactionId), database.Actors.RecordsReplayed,
                options.Clock.GetElapsedTime(began).TotalSeconds)
            {
                Findings = plan.Findings,
            };
        }
    }

    private static PlannedRecovery Prepare(RestoreRequest request, PitrOptions options, CancellationToken cancellation)
    {
        IFileSystem files = EngineFactory.FileSystemOf(options);
        PlannedRecovery planned = Plan(request, options, verifiesFiles: false, cancellation); // the copy compares them
        string folder = Path.GetFullPath(request.Into);
        IArchiveStore[] places = PlacesOf(request, options);
        RestoreHold.Of(planned.Plan, folder, places, options.Clock).While(
            planned.Set, planned.Plan.Wal, places,
            hold => Write(planned, request, options, files, folder, hold, cancellation));
        return planned;
    }

    private static void Write(
        PlannedRecovery planned, RestoreRequest request, PitrOptions options, IFileSystem files, string folder,
        RestoreHold hold, CancellationToken cancellation)
    {
        long done = 0;
        var writer = new RestoreWriter(files, folder, options.Process, (handle, offset, bytes) =>
        {
            handle.Write(offset, bytes);
            done += bytes.Length;
            hold.RenewIfDue();
            request.Progress?.Report(new JobProgress("copying", done, planned.Plan.BytesToCopy));
        });
        var restored = new DatabaseSettings
        {
            Stores = ArchiveOf(request, options) is { } archive ? [archive] : [],
            Commands = CommandsFor(request, options),
            ArchiveKeyFile = StoreFactory.Of(options).KeyFile,
        };
        writer.Restore(
            planned, request.Pause, cancellation,
            (DatabaseSettings.FileName, () => restored.Write(files, folder)));
    }

    private static PlannedRecovery Plan(
        RestoreRequest request, PitrOptions options, bool verifiesFiles, CancellationToken cancellation)
    {
        IFileSystem files = EngineFactory.FileSystemOf(options);
        IArchiveStore[] places = PlacesOf(request, options);
        PlannedRecovery planned = RecoveryPlanner.Plan(
            new PlanRequest
            {
                Target = request.Target,
                SetStore = places[^1],
                Archives = places,
                BackupId = request.BackupId,
                Timeline = request.Timeline,
                Map = request.Map,
                VerifiesFiles = verifiesFiles,
                Random = EngineFactory.DrawOf(options),
            },
            cancellation);
        RestoreWriter.RequireRoom(files, Path.GetFullPath(request.Into), planned.Plan);
        return request.Detached || ArchiveOf(request, options) is not null ? planned : planned with
        {
            Plan = planned.Plan with
            {
                Findings =
                [
                    .. planned.Plan.Findings,
                    $"'{Absolute(request.Archive ?? request.Store)}' is no archive of WAL: the restored database archives nowhere.",
                ],
            },
        };
    }

    /// <summary>Into which store the restored database archives; null: into none.</summary>
    private static string? ArchiveOf(RestoreRequest request, PitrOptions options)
    {
        if (request.Detached)
            return null;
        string store = Absolute(request.Archive ?? request.Store);
        return ArchiveIdentity.Read(StoreOf(options, store)) is null ? null : store;
    }

    /// <summary>Where the WAL is, and last where the set is.</summary>
    private static IArchiveStore[] PlacesOf(RestoreRequest request, PitrOptions options)
    {
        IArchiveStore sets = StoreOf(options, Absolute(request.Store));
        return request.Archive is null ? [sets] : [StoreOf(options, Absolute(request.Archive)), sets];
    }

    /// <summary>Whoever goes on with the restore, or opens the database, reaches the same stores.</summary>
    private static Dictionary<string, CommandSettings>? CommandsFor(RestoreRequest request, PitrOptions options)
    {
        var named = new Dictionary<string, CommandSettings>();
        foreach (string store in new[] { request.Store, request.Archive ?? request.Store })
        {
            StoreAddress address = StoreAddress.Parse(store, Environment.CurrentDirectory);
            if (address.Scheme == StoreAddress.CommandScheme
                && StoreFactory.Of(options).CommandOf(address.Path) is { } command)
                named[address.Path] = CommandSettings.Of(command);
        }
        return named.Count == 0 ? null : named;
    }

    private static IArchiveStore StoreOf(PitrOptions options, string address) =>
        StoreFactory.Of(options).OpenToRead(StoreAddress.Parse(address, Environment.CurrentDirectory));

    /// <summary>
    /// A relative path is taken from where the caller runs; what the control file keeps must mean the same everywhere.
    /// </summary>
    private static string Absolute(string store) => StoreAddress.Parse(store, Environment.CurrentDirectory).Absolute;
}
