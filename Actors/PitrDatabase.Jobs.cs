using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.FileRecoveryProtocol;
using static Pitr.Actors.MoveProtocol;
using static Pitr.Actors.SetProtocol;

namespace Pitr;

/// <content>What takes a while: backups, moves, compacting, recoveries of datafiles, sets made outside of the engine.</content>
public sealed partial class PitrDatabase
{
    /// <summary>Makes a backup set while commits go on.</summary>
    /// <param name="request">What, and into which store.</param>
    /// <param name="cancellationToken">Gives it up; the next one to the store goes on with what is whole.</param>
    /// <exception cref="ArgumentException">The rate is not more than 0.</exception>
    public Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        RateLimit? limit = LimitOf(request.BytesPerSecondMax);
        return Traces.RunAsync(
            "pitr.backup", Folder, () => MakeBackupAsync(request, limit, cancellationToken),
            static (activity, result) =>
                activity.SetTag("pitr.backup", result.BackupId).SetTag("pitr.bytes", result.Bytes));
    }

    private async Task<BackupResult> MakeBackupAsync(
        BackupRequest request, RateLimit? limit, CancellationToken cancellationToken)
    {
        RequireWritable();
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            return (await AskAsync<BackupEnded>(
                _actors.Supervisor, new RunBackup(request, limit, cancel.Token), cancellationToken, Timeout.InfiniteTimeSpan)
                .ConfigureAwait(false)).Result;
        }
        catch
        {
            cancel.Cancel(); // the wait may end first, and this source with it: then the backup would go on
            throw;
        }
    }

    /// <summary>
    /// Moves a datafile while commits and reads go on. When the task completes it lies at the new path, durably, and what
    /// the move needed is gone.
    /// </summary>
    /// <param name="request">Which, and where to.</param>
    /// <param name="cancellationToken">Gives the move up, until the file is switched; then it is ended all the same.</param>
    /// <exception cref="PitrException">
    /// NotFoundException DatafileUnknown; RefusedException MoveRefused, PlaceReserved, MoveUnderWay, MoveCancelled,
    /// FenceBroken, DatafileOffline, DatafileNeedsRecovery, ReadOnly, ShuttingDown: it lies where it lay; MoveUndecided;
    /// StorageFailedException DiskFull, FileOperationFailed; DamageException PageChecksum.
    /// </exception>
    public Task<MoveResult> MoveAsync(MoveRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return MoveAsync(request, LimitOf(request.BytesPerSecondMax), cancellationToken);
    }

    /// <summary>
    /// Moves every datafile that lies in a folder, or is found by a name in it, to another one, one after the other, under
    /// one rate. When the task completes nothing of a datafile is left in the folder, no link either, but in that of the
    /// database itself. The first failure ends it; what was moved before it stays moved.
    /// </summary>
    /// <exception cref="PitrException">
    /// As <see cref="MoveAsync(MoveRequest, CancellationToken)"/>; NotFoundException FolderUnknown.
    /// </exception>
    public async Task<IReadOnlyList<MoveResult>> DrainAsync(
        DrainRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        string folder = FolderPath(request.Folder);
        string to = FolderPath(request.To);
        RateLimit? limit = LimitOf(request.BytesPerSecondMax);
        RequireWritable();
        IReadOnlyList<DrainStep> steps = await _engine.Workers.RunAsync(
            () => DrainPlan.Make(_engine.FileSystem, Folder, _engine.Catalogue.Catalogue, folder, to), cancellationToken)
            .ConfigureAwait(false);
        var moved = new List<MoveResult>();
        foreach (DrainStep step in steps)
        {
            moved.Add(await MoveAsync(
                new MoveRequest
                {
                    Datafile = step.Datafile,
                    Path = step.To,
                    WithoutLink = step.WithoutLink,
                    Progress = request.Progress,
                },
                limit, cancellationToken).ConfigureAwait(false));
        }

        return moved;
    }

    /// <summary>
    /// Makes a datafile anew with its live pages only, in the place where it lies, while commits and reads go on. When the
    /// task completes the new file is the datafile, durably. The former file's room on the disk is given back when the last
    /// snapshot and scan that read it has ended.
    /// </summary>
    /// <param name="request">Which.</param>
    /// <param name="cancellationToken">Gives it up, until the file is switched; then it is ended all the same.</param>
    /// <exception cref="ArgumentException">The rate is not more than 0.</exception>
    /// <exception cref="PitrException">
    /// NotFoundException DatafileUnknown; RefusedException CompactRefused, CompactUnderWay, MoveUnderWay, CompactCancelled,
    /// FenceBroken, DatafileOffline, DatafileNeedsRecovery, ReadOnly, ShuttingDown: it is as it was; CompactUndecided;
    /// StorageFailedException DiskFull, FileOperationFailed; DamageException PageChecksum.
    /// </exception>
    public Task<CompactResult> CompactAsync(CompactRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        RateLimit? limit = LimitOf(request.BytesPerSecondMax);
        return Traces.RunAsync(
            "pitr.compact", Folder, () => CarryOutCompactAsync(request, limit, cancellationToken),
            static (activity, done) =>
                activity.SetTag("pitr.datafile", done.Datafile).SetTag("pitr.bytes", done.BytesAfter));
    }

    private Task<CompactResult> CarryOutCompactAsync(
        CompactRequest request, RateLimit? limit, CancellationToken cancellationToken) => RunMoverAsync(
            new CompactJob(request, limit), static (CompactEnded ended) => ended.Result,
            static metrics => metrics.NoteCompact, cancellationToken);

    private Task<MoveResult> MoveAsync(MoveRequest request, RateLimit? limit, CancellationToken cancellationToken) =>
        Traces.RunAsync(
            "pitr.move", Folder, () => CarryOutMoveAsync(request, limit, cancellationToken),
            static (activity, moved) => activity.SetTag("pitr.datafile", moved.Datafile).SetTag("pitr.bytes", moved.Bytes));

    private Task<MoveResult> CarryOutMoveAsync(
        MoveRequest request, RateLimit? limit, CancellationToken cancellationToken) => RunMoverAsync(
            new MoveJob(request, limit), static (MoveEnded ended) => ended.Result, static metrics => metrics.NoteMove,
            cancellationToken);

    private async Task<TResult> RunMoverAsync<TEnded, TResult>(
        MoverJob job, Func<TEnded, TResult> resultOf, Func<EngineMetrics, Action<string, TimeSpan, string>> noteOf,
        CancellationToken cancellationToken)
    {
        RequireWritable();
        long began = _engine.Clock.GetTimestamp();
        Action<string, TimeSpan, string> note = noteOf(_engine.Metrics);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            // The wait does not end with the caller's token: the answer tells whether it came too late.
            TResult result = resultOf(await AskAsync<TEnded>(
                _actors.Supervisor, new RunMover(job, cancel.Token), CancellationToken.None, Timeout.InfiniteTimeSpan)
                .ConfigureAwait(false));
            note(job.Datafile, _engine.Clock.GetElapsedTime(began), "ended");
            return result;
        }
        catch
        {
            note(job.Datafile, _engine.Clock.GetElapsedTime(began), "failed");
            cancel.Cancel();
            throw;
        }
    }

    /// <summary>
    /// Brings back a datafile that is offline or needs recovery, while the others serve. When the task completes it serves
    /// reads and commits, with every commit that was acknowledged. Meanwhile its callers get DatafileRecovering, which says
    /// when it may be ready.
    /// </summary>
    /// <param name="request">Which, and from where.</param>
    /// <param name="cancellationToken">Gives it up, until the file lies in its place.</param>
    /// <exception cref="PitrException">
    /// NotFoundException DatafileUnknown, BackupUnknown; RefusedException DatafileServes, DatafileRecovering,
    /// DatafileNeedsRecovery (there is nothing to bring it back from), WalGap, ForeignSystem, StoreAddressInvalid,
    /// ReadOnly, ShuttingDown; DamageException WalDamaged, BackupDamaged, ArchiveDamaged: the file is as it was.
    /// RefusedException FileRecoveryCancelled; StorageFailedException DiskFull, FileOperationFailed, StoreFailed: it needs
    /// recovery, and can be recovered again.
    /// </exception>
    public Task<DatafileRecoveryResult> RecoverDatafileAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return Traces.RunAsync(
            "pitr.recover.datafile", Folder,
            async () => (await RecoverAsync<FileRecovered>(request, isPlanOnly: false, cancellationToken)
                .ConfigureAwait(false)).Result,
            static (activity, result) => activity.SetTag("pitr.datafile", result.Datafile)
                .SetTag("pitr.lsn", result.Lsn.ToString()).SetTag("pitr.records", result.RecordsReplayed));
    }

    /// <summary>What <see cref="RecoverDatafileAsync"/> would do. Nothing is written.</summary>
    /// <exception cref="PitrException">As there.</exception>
    public async Task<RecoveryPlan> PlanDatafileRecoveryAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return (await RecoverAsync<FileRecoveryPlanned>(request, isPlanOnly: true, cancellationToken)
            .ConfigureAwait(false)).Plan;
    }

    private async Task<T> RecoverAsync<T>(
        DatafileRecoveryRequest request, bool isPlanOnly, CancellationToken cancellationToken)
    {
        RequireWritable();
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            // The wait does not end with the caller's token: the answer tells whether it came too late.
            return await AskAsync<T>(
                _actors.Supervisor, new RunFileRecovery(request, isPlanOnly, cancel.Token), CancellationToken.None,
                Timeout.InfiniteTimeSpan).ConfigureAwait(false);
        }
        catch
        {
            cancel.Cancel();
            throw;
        }
    }

    private string FolderPath(string folder) =>
        Path.TrimEndingDirectorySeparator(Path.GetFullPath(Path.Combine(_engine.Folder, folder)));

    private RateLimit? LimitOf(long? bytesPerSecond) =>
        bytesPerSecond is { } most ? new RateLimit(_engine.Clock, most) : null;

    /// <summary>Keeps still what a backup set needs that is made outside of the engine.</summary>
    internal async Task<IKeptSet> KeepSetAsync(string reason, CancellationToken cancellationToken)
    {
        RequireWritable();
        SetBegun begun = await AskAsync<SetBegun>(
            _actors.Supervisor, new BeginSet(reason), cancellationToken, Timeout.InfiniteTimeSpan)
            .ConfigureAwait(false);
        return new KeptSet(
            begun,
            new KeptSetStart(begun.Start, Folder, _engine.Outside.Here, begun.HasArchive),
            AskKeeperAsync);
    }

    /// <summary>A keeper that is no more answers nobody: its end does.</summary>
    private async Task<object> AskKeeperAsync(
        IActorRef keeper, object request, SetEnding ended, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, ended.Token);
        try
        {
            return await AskAsync<ILocalMessage>(keeper, request, either.Token, Timeout.InfiniteTimeSpan)
                .ConfigureAwait(false);
        }
        catch (OperationCanceledException)
            when (ended.Token.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw _isEnding ? EngineErrors.ShuttingDown() : ended.Why!.ToException();
        }
    }
}
