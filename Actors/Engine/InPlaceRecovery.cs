using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// Plans and prepares what happens to a database's own folder while no engine runs there: a recovery in place, and a
/// control file that is made anew.
/// </summary>
/// <remarks>
/// THREADS  one worker. The database's lock is held meanwhile. What a recovery in place reads from stores is held there
/// from before its first byte is written (H48); whoever opens the database then says that it goes on, and takes it back.
/// </remarks>
internal static class InPlaceRecovery
{
    /// <summary>What would be done; nothing is written.</summary>
    public static RecoveryPlan Plan(
        InPlaceRecoveryRequest asked, PitrOptions options, CancellationToken cancellation) =>
        Held(asked.Folder, options, isPlan: true, engine =>
            InPlacePlanner.Plan(RequestOf(engine, asked, verifiesFiles: true, cancellation), cancellation).Plan);

    /// <summary>Up to the control file; whoever opens the database then carries the plan out.</summary>
    public static RecoveryPlan Prepare(
        InPlaceRecoveryRequest asked, PitrOptions options, CancellationToken cancellation) =>
        Held(asked.Folder, options, isPlan: false, engine =>
        {
            PlannedInPlace planned = InPlacePlanner.Plan(
                RequestOf(engine, asked, verifiesFiles: false, cancellation), cancellation); // the copy compares them
            InPlaceRequest request = planned.Request;
            // The database's own WAL is in no store, and nothing that expire takes.
            IEnumerable<PlannedWal> stored = planned.Plan.Wal.Where(wal => wal.Source != request.Local.Folder);
            RestoreHold.Of(planned.Plan, engine.Folder, request.Archives, engine.Clock).While(
                planned.Set, stored, request.Archives, hold => Write(planned, asked, hold, cancellation));
            return planned.Plan;
        });

    private static void Write(
        PlannedInPlace planned, InPlaceRecoveryRequest asked, RestoreHold hold, CancellationToken cancellation)
    {
        long done = 0;
        InPlaceWriter.Run(
            planned,
            bytes =>
            {
                hold.RenewIfDue();
                asked.Progress?.Report(new JobProgress("copying", done += bytes, planned.Plan.BytesToCopy));
            },
            cancellation);
    }

    /// <summary>What a control file that is made anew would say; written if asked for.</summary>
    public static RebuildPlan Rebuild(
        string folder, TimelineId? timeline, bool isPlan, PitrOptions options, CancellationToken cancellation) =>
        Held(folder, options, isPlan, engine =>
        {
            PlannedRebuild planned = RebuildPlanner.Plan(
                engine.FileSystem, engine.Folder, SurveyOf(engine, cancellation), timeline,
                engine.Options.Process, engine.Clock.GetUtcNow());
            if (!isPlan)
                RebuildWriter.Run(engine.FileSystem, planned);
            return planned.Plan;
        });

    /// <summary>With the database's lock; a plan takes it to look, and leaves no trace of that.</summary>
    internal static T Held<T>(string folder, PitrOptions options, bool isPlan, Func<EngineContext, T> work)
    {
        string full = Path.GetFullPath(folder);
        EngineContext engine = EngineFactory.ContextFor(full, options);
        try
        {
            RequireSomeDatabase(engine.FileSystem, full);
            using IDisposable? held = isPlan
                ? DatabaseLock.TakeToLook(engine.FileSystem, full)
                : DatabaseLock.Take(engine.FileSystem, full, options.Process.Words(options.Clock));
            return work(engine);
        }
        finally
        {
            engine.ReleaseMemory();
        }
    }

    /// <summary>An empty folder is no place to recover in, but one to restore into.</summary>
    private static void RequireSomeDatabase(IFileSystem files, string folder)
    {
        if (files.Stat(folder) is not { IsFolder: true }
            || !files.List(folder).Any(name => name is ControlFileStore.FileName or EngineCreation.WalFolderName
                || name.EndsWith(".pitr", StringComparison.Ordinal)))
            throw EngineErrors.NothingOfADatabase(folder);
    }

    private static WalSurvey SurveyOf(EngineContext engine, CancellationToken cancellation) => WalSurvey.Of(
        engine.FileSystem, Path.Combine(engine.Folder, EngineCreation.WalFolderName), cancellation);

    private static InPlaceRequest RequestOf(
        EngineContext engine, InPlaceRecoveryRequest asked, bool verifiesFiles, CancellationToken cancellation)
    {
        var findings = new List<string>();
        ControlFile? current = CurrentOf(engine, findings);
        IReadOnlyList<IArchiveStore> own = EngineFactory.StoresOf(engine);
        if (own.Count == 0)
            findings.Add($"'{engine.Folder}' has no {DatabaseSettings.FileName} that names a store: the database archives "
                + "nowhere from then on.");
        findings.AddRange(own.LeftOut());
        IArchiveStore sets = asked.Store is { } named
            ? Open(engine, named)
            : own.ThatList().FirstOrDefault(store => BackupCatalog.Read(store).Sets.Count > 0)
                ?? throw RecoveryErrors.NoBackup(string.Join(", ", own.Select(store => store.Name)));
        IArchiveStore? archive = asked.Archive is { } other ? Open(engine, other) : null;
        return new InPlaceRequest
        {
            Folder = engine.Folder,
            Environment = engine.Environment,
            Outside = OutsideFiles.Of(engine.FileSystem, engine.Folder, current?.Place, engine.Options.Process),
            Current = current,
            Local = SurveyOf(engine, cancellation),
            Target = asked.Target,
            SetStore = sets,
            Archives = [.. new[] { archive, sets }.OfType<IArchiveStore>().Concat(own.ThatList()).DistinctBy(store => store.Name)],
            BackupId = asked.BackupId,
            Timeline = asked.Timeline,
            Moved = asked.Moved,
            Pause = asked.Pause,
            VerifiesFiles = verifiesFiles,
            Findings = findings,
            Random = engine.Draw,
        };
    }

    /// <summary>
    /// A relative path is taken from where the caller runs; its name, which the plan keeps, means the same everywhere.
    /// </summary>
    private static IArchiveStore Open(EngineContext engine, string address) => engine.Stores.OpenToRead(
        StoreAddress.Parse(StoreAddress.Parse(address, Environment.CurrentDirectory).Absolute, engine.Folder));

    /// <summary>Its own control file, if it can be read: it tells where the database was, though not what is taken.</summary>
    private static ControlFile? CurrentOf(EngineContext engine, List<string> findings)
    {
        var store = new ControlFileStore(engine.FileSystem, engine.Folder);
        if (!store.Exists)
            return null;
        try
        {
            ControlFile control = store.ReadLive();
            return control.Recovery is null ? control : throw RecoveryErrors.ControlFileInRecovery(store.FilePath);
        }
        catch (PitrException unreadable)
            when (unreadable is DamageException || unreadable.Code == ErrorCode.ControlFileOfBackup)
        {
            findings.Add(unreadable.Message);
            return null;
        }
    }
}
