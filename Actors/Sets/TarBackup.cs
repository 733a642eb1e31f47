using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>What is asked of a <see cref="TarBackup"/>.</summary>
internal sealed record TarBackupRequest
{
    /// <summary>The datafiles by name; empty: all. Some only make a partial set, which restores nothing by itself.</summary>
    public IReadOnlyList<string> Datafiles { get; init; } = [];

    /// <summary>The WAL from start to stop stays in the archive.</summary>
    public bool WithoutWal { get; init; }

    /// <summary>Null: as fast as it goes.</summary>
    public long? BytesPerSecondMax { get; init; }

    /// <summary>Called on any thread.</summary>
    public IProgress<JobProgress>? Progress { get; init; }

    /// <summary>Told what somebody should know, in a sentence.</summary>
    public Action<string>? Note { get; init; }
}

/// <param name="Label">What the set is of.</param>
/// <param name="Bytes">Of the tar.</param>
internal sealed record TarBackupResult(BackupLabel Label, long Bytes);

/// <summary>
/// Makes the tar of a running engine's datafiles: drives fences on one side and a tar on the other. All of pgtar below
/// its process.
/// </summary>
/// <remarks>
/// <code>
///   (the set is kept) ─▶ is this the engine's machine? ─▶ for each file: fence ─▶ copy ─▶ unfence
///     ─▶ BackupEnd (H29) ─▶ WAL, read from the local folder ─▶ confirmed ─▶ control file, label, manifest
/// </code>
/// INVARIANTS
///   TB1  A copy counts only if it was made between its fence and an unfence that certified it. One that does not is
///        filled up, and made again once under a new fence; then the tar is given up.
///   TB2  The manifest is written only after the engine has confirmed that nothing was taken away.
///   TB3  WAL is proven, record by record, from what was written: that of an engine that died and was recycled since
///        makes no set.
///
/// The files are read from the local disk, so it refuses on another machine: a folder of the same path there is another
/// one, and a copy of the disk over a network may show old pages.
/// FAILURE  whatever it is, the destination has no manifest then; disposing of the set lets the engine go on.
/// THREADS  one caller; renewing goes on beside it.
/// </remarks>
internal sealed class TarBackup
{
    /// <summary>How often the set is renewed: a fence that broke is heard of within it.</summary>
    public static readonly TimeSpan RenewEvery = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan LookAtArchiveEvery = TimeSpan.FromSeconds(1);

    private readonly IKeptSet _set;
    private readonly TarBackupRequest _request;
    private readonly PitrOptions _options;
    private readonly IFileSystem _disk;
    private readonly IWorkers _workers;
    private readonly TarSetWriter _writer;
    private readonly RateLimit? _limit;
    private readonly Action<TimeSpan> _pause;
    private volatile CancellationTokenSource? _copying;
    private Task _renewing = Task.CompletedTask;
    private readonly TaskCompletionSource<Exception> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isEnding;
    private long _doneBytes;
    private long _totalBytes;
    private string _step = "copying";

    /// <param name="set">Kept by the engine; the caller disposes of it.</param>
    /// <param name="request">What is wanted.</param>
    /// <param name="destination">Gets the tar; stays open.</param>
    /// <param name="environment">Reads trees, if a page fails its checksum.</param>
    /// <param name="options">Disk, clock, workers and the name of this machine.</param>
    public TarBackup(
        IKeptSet set, TarBackupRequest request, Stream destination, DatafileEnvironment environment,
        PitrOptions options)
    {
        (_set, _request, _options) = (set, request, options);
        _disk = environment.Files;
        _workers = EngineFactory.WorkersOf(options);
        _pause = EngineFactory.PauseOf(options);
        _limit = request.BytesPerSecondMax is { } most ? new RateLimit(options.Clock, most) : null;
        _writer = new TarSetWriter(
            _disk, destination, set.Start.Backup, new ReachablePages(environment, CancellationToken.None),
            environment.Epochs.Threads, Pace);
    }

    /// <summary>
    /// Why the set is no more, when the engine has let it go, or is gone. <see cref="RunAsync"/> ends of it, too, but not
    /// before a write that hangs in its destination does.
    /// </summary>
    public Task<Exception> Lost => _lost.Task;

    private ControlFile Control => _set.Start.Backup.Control;

    /// <summary>When it completes, the destination has taken a whole set; it is durable when that one is.</summary>
    /// <exception cref="PitrException">
    /// RefusedException NeedsRunningEngine (another machine), WalGap (no archive to leave the WAL in), FenceBroken,
    /// BackupVoid, ShuttingDown; NotFoundException DatafileUnknown; DamageException; StorageFailedException.
    /// </exception>
    public async Task<TarBackupResult> RunAsync(CancellationToken cancellationToken)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using CancellationTokenRegistration ending = ended.Token.Register(() => _isEnding = true);
        CancellationToken until = ended.Token;
        ITimer timer = _options.Clock.CreateTimer(
            _ => Renew(ended, until), state: null, RenewEvery, RenewEvery);
        try
        {
            return await MakeAsync(until).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (Lost.IsCompleted && !cancellationToken.IsCancellationRequested)
        {
            throw await Lost.ConfigureAwait(false);
        }
        finally
        {
            _isEnding = true;
            timer.Dispose();
            ended.Cancel();
            await _renewing.ConfigureAwait(false);
        }
    }

    private async Task<TarBackupResult> MakeAsync(CancellationToken cancellation)
    {
        IReadOnlyList<CatalogueFile> files = Wanted();
        if (_request.WithoutWal && !_set.Start.HasArchive)
            throw EngineErrors.SetWithoutWal();
        await _workers.RunAsync(() => RequireHere(files), cancellation).ConfigureAwait(false);
        foreach (CatalogueFile file in files)
            await CopyAsync(file, cancellation).ConfigureAwait(false);
        KeptSetEnd end = await _set.EndAsync(cancellation).ConfigureAwait(false);
        Invariant.Require(
            end.StartLsn == _writer.StartLsn, "TB1", $"the engine certified {end.StartLsn}, not {_writer.StartLsn}.");
        if (!_request.WithoutWal)
            await _workers.RunAsync(() => IncludeWal(end.Stop.StopLsn, cancellation), cancellation).ConfigureAwait(false);
        await ConfirmAsync(cancellation).ConfigureAwait(false);
        BackupLabel label = await _workers.RunAsync(() => _writer.Complete(end.Stop), cancellation)
            .ConfigureAwait(false);
        return new TarBackupResult(label, _writer.BytesWritten);
    }

    // ---- before a byte is written ------------------------------------------------------------------

    private IReadOnlyList<CatalogueFile> Wanted()
    {
        IReadOnlyList<CatalogueFile> all = [.. Control.Catalogue.Files];
        if (_request.Datafiles.Count == 0)
            return all;
        foreach (string name in _request.Datafiles)
        {
            if (all.All(file => file.Name != name))
                throw EngineErrors.DatafileUnknown(name);
        }

        return [.. all.Where(file => _request.Datafiles.Contains(file.Name))];
    }

    private bool RequireHere(IReadOnlyList<CatalogueFile> files)
    {
        KeptSetStart start = _set.Start;
        if (!IsHere(start.Place, FolderPlace.Of(_disk, start.Folder, _options.Process)))
            throw EngineErrors.SetElsewhere(start.Folder, start.Place.Machine, _options.Process.Machine);
        foreach (CatalogueFile file in files)
            _totalBytes += _disk.Stat(Catalogue.FullPath(start.Folder, file.Path))?.LengthBytes ?? 0;
        return true;
    }

    /// <summary>The engine runs now: another boot is another machine, whatever its name.</summary>
    private static bool IsHere(FolderPlace engine, FolderPlace here) => engine.ComparedWith(here) switch
    {
        PlaceComparison.Same => true,
        PlaceComparison.MayBeSame => engine.BootId.Length == 0 || here.BootId.Length == 0,
        _ => false,
    };

    // ---- files -------------------------------------------------------------------------------------

    private async Task CopyAsync(CatalogueFile file, CancellationToken cancellation)
    {
        for (int attempt = 1; ; attempt++)
        {
            FencedFile? fenced = await _set.FenceAsync(file.Id, cancellation).ConfigureAwait(false);
            if (fenced is null)
                return; // dropped since: replay passes over it up to its drop (H29)
            using var copying = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            _copying = copying;
            Exception? failure = await _workers.RunAsync(() => TryCopy(fenced, copying.Token), CancellationToken.None)
                .ConfigureAwait(false);
            _copying = null;
            cancellation.ThrowIfCancellationRequested();
            if (failure is not null && _writer.HasFailed)
                throw Rethrown(failure);
            try
            {
                await _set.UnfenceAsync(cancellation).ConfigureAwait(false);
            }
            catch (RefusedException broken) when (broken.Code == ErrorCode.FenceBroken)
            {
                // TB1. Whatever came of the copying, its fence had broken.
                await _workers.RunAsync(() => Discard(fenced, cancellation), cancellation).ConfigureAwait(false);
                if (attempt > 1)
                    throw;
                _request.Note?.Invoke($"The copy of datafile {file.Name} is void and is made again: {broken.Message}");
                continue;
            }

            if (failure is not null)
                throw Rethrown(failure);
            return;
        }
    }

    private Exception? TryCopy(FencedFile file, CancellationToken cancellation)
    {
        try
        {
            _writer.Copy(file, cancellation);
            return null;
        }
        catch (Exception error) // whether it counts is what the unfence tells
        {
            return error;
        }
    }

    private bool Discard(FencedFile file, CancellationToken cancellation)
    {
        _writer.Discard(file, cancellation);
        return true;
    }

    private static Exception Rethrown(Exception failure)
    {
        System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        return failure;
    }

    // ---- WAL and the end ---------------------------------------------------------------------------

    private bool IncludeWal(Lsn stop, CancellationToken cancellation)
    {
        _step = "WAL";
        ControlFile control = Control;
        TimelineHistory history = TimelineHistory.Of(control.SystemId, control.History);
        // Only read: it makes no segment and removes none.
        using var folder = new WalFolder(
            _disk, $"{_set.Start.Folder}/wal", (int)control.WalSegmentBytes,
            new WalIdentity(control.SystemId, control.Timeline, control.Lineage));
        _writer.IncludeWal(
            history, new WalSources([new FolderWalSource(folder, folder.Folder)], folder.Geometry), stop, cancellation);
        return true;
    }

    private async Task ConfirmAsync(CancellationToken cancellation)
    {
        while (!await _set.ConfirmAsync(_request.WithoutWal, cancellation).ConfigureAwait(false))
        {
            _step = "waiting for the archive";
            _request.Progress?.Report(new JobProgress(_step, _doneBytes, _totalBytes));
            await Task.Delay(LookAtArchiveEvery, _options.Clock, cancellation).ConfigureAwait(false);
        }
    }

    // ---- beside the copying ------------------------------------------------------------------------

    /// <summary>Called by the timer; one at a time.</summary>
    private void Renew(CancellationTokenSource ended, CancellationToken until)
    {
        if (!_isEnding && _renewing.IsCompleted)
            _renewing = RenewAsync(_copying, ended, until);
    }

    /// <summary>
    /// A fence that broke ends the copying, whose unfence tells the rest; anything else that goes wrong ends it all. What
    /// was copied when the renewal was sent is ended: the answer may come when the next try has begun.
    /// </summary>
    private async Task RenewAsync(
        CancellationTokenSource? copying, CancellationTokenSource ended, CancellationToken until)
    {
        try
        {
            await _set.RenewAsync(until).ConfigureAwait(false);
        }
        catch (RefusedException broken) when (broken.Code == ErrorCode.FenceBroken)
        {
            Cancel(copying);
        }
        catch (OperationCanceledException) when (_isEnding)
        {
            // It is over.
        }
        catch (Exception lost)
        {
            _lost.TrySetResult(lost);
            Cancel(ended);
        }
    }

    private static void Cancel(CancellationTokenSource? source)
    {
        try
        {
            source?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It has ended meanwhile.
        }
    }

    private void Pace(long bytes)
    {
        _limit?.Wait((int)bytes, _pause, () => _isEnding || _copying is { IsCancellationRequested: true });
        _doneBytes += bytes;
        _request.Progress?.Report(new JobProgress(_step, _doneBytes, Math.Max(_totalBytes, _doneBytes)));
    }
}
