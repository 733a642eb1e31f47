using System.Security.Cryptography;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>Puts the plain parts of an engine together.</summary>
internal static class EngineFactory
{
    private const long IntakeBytesMax = 64L << 20;

    public static IFileSystem FileSystemOf(PitrOptions options) => options.FileSystem ?? new PosixFileSystem();

    /// <summary>How a worker waits.</summary>
    public static Action<TimeSpan> PauseOf(PitrOptions options) => options.Delay ?? DelayWith(options.Clock);

    public static IWorkers WorkersOf(PitrOptions options) => options.Workers ?? ThreadWorkers.Instance;

    public static Func<ulong> DrawOf(PitrOptions options)
    {
        Func<ulong> draw =
            options.DrawRandom ?? DrawFromSystem;
        return () =>
        {
            ulong drawn;
            do
                drawn = draw();
            while (drawn == 0);
            return drawn;
        };
    }

    public static EngineContext ContextFor(string folder, PitrOptions options) =>
        ContextFor(folder, options, options.Environment ?? EnvironmentFor(options));

    /// <summary>With memory that is there already: none of another engine may be in it.</summary>
    public static EngineContext ContextFor(string folder, PitrOptions options, DatafileEnvironment environment)
    {
        var metrics = new EngineMetrics();
        return new EngineContext
        {
            Folder = folder,
            Options = options,
            FileSystem = environment.Files,
            Clock = options.Clock,
            Draw = DrawOf(options),
            WriteBufferBytesMax = environment.Arenas.BudgetBytes,
            Pause = PauseOf(options),
            Environment = environment,
            Visibility = new VisibilityTracker(environment.Epochs.Threads, options.Clock, metrics),
            Metrics = metrics,
            Intake = new CommitIntake(IntakeBytesMax),
            Workers = WorkersOf(options),
            ArchiveWait = options.ArchiveCommitWait is { } wait
                ? new ArchiveWait(wait, options.Clock, environment.Epochs.Threads) : null,
            Stores = new StoreFactory(environment.Files, options, folder),
        };
    }

    /// <summary>Disk and memory of one engine's datafiles.</summary>
    public static DatafileEnvironment EnvironmentFor(PitrOptions options)
    {
        var budget = new MemoryBudget(options.MemoryBudgetBytes);
        var epochs = new EpochTable(options.Threads);
        var cache = new PageCache(budget.PageCacheBytes, epochs);
        var arenas = new ArenaPool(options.WriteBufferBytesMax ?? budget.WriteBufferBytes);
        return new DatafileEnvironment(FileSystemOf(options), cache, epochs, WriterFor(options, arenas), arenas);
    }

    public static PacedWriter WriterFor(PitrOptions options, ArenaPool arenas) => new(
        options.Clock, PauseOf(options), () =>
            (double)arenas.RentedBytes / arenas.BudgetBytes)
    {
        CutBytes = options.CutBytes,
    };

    /// <summary>
    /// The supervisor's name: what of the folder's path may stand in an actor path, and a number that keeps apart what
    /// runs in one actor system: folders of one name, and an engine from the next one on its folder.
    /// </summary>
    public static string NameFor(EngineContext engine)
    {
        string name = new([.. Path.GetFileName(engine.Folder).Where(char.IsAsciiLetterOrDigit)]);
        return $"pitr-{name}-{engine.Draw():x16}";
    }

    /// <summary>The archive stores of a database: those of the options and of <c>pitr.json</c>.</summary>
    public static IReadOnlyList<IArchiveStore> StoresOf(EngineContext engine) =>
        StoresOf(engine, DatabaseSettings.Read(engine.FileSystem, engine.Folder));

    /// <summary>The folders of this machine among them.</summary>
    public static IReadOnlyList<string> StoreFoldersOf(EngineContext engine) =>
        [.. StoresOf(engine).Select(static store => store.Place).Where(Path.IsPathRooted)];

    /// <summary>The archive stores of a database: those of the options and of <c>pitr.json</c>.</summary>
    public static IReadOnlyList<IArchiveStore> StoresOf(EngineContext engine, DatabaseSettings settings) =>
        engine.Stores.OpenAll((settings.Stores ?? []).Concat(engine.Options.ArchiveStores), engine.Folder);

#pragma warning disable RS0030 // the one source of chance
    private static ulong DrawFromSystem() => BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
#pragma warning restore RS0030

    /// <summary>A worker's pause; workers have threads of their own.</summary>
    private static Action<TimeSpan> DelayWith(TimeProvider clock) =>
        pause => Task.Delay(pause, clock).GetAwaiter().GetResult();
}
