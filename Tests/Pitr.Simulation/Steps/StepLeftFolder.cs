using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// The folder of a story's database on a disk of its own, and what an operator does there: a recovery in place, a control file
/// that is made anew, an opening. It archives nowhere any more, so that its branches are in the folder alone.
/// </summary>
internal sealed class StepLeftFolder(StepScene scene, SimulatedDisk disk)
{
    private readonly string _folder = scene.Database.Folder;

    public SimulatedDisk Disk => disk;

    public string WalFolder => $"{_folder}/{EngineCreation.WalFolderName}";

    /// <summary>As it is now; what is done to one is not done to the other.</summary>
    public StepLeftFolder Copy() => new(scene, disk.KillCopy());

    public StepLeftFolder WithoutControlFile()
    {
        disk.Delete(new ControlFileStore(disk, _folder).FilePath);
        disk.SyncFolder(_folder);
        return this;
    }

    /// <summary>Somebody puts a file there, durably.</summary>
    public StepLeftFolder With(string path, byte[] content)
    {
        if (disk.Stat(path) is not null)
            disk.Delete(path);
        using (IFileHandle file = disk.Open(path, FileOpen.CreateNew))
        {
            file.Write(0, content);
            file.SyncData();
        }

        disk.SyncFolder(DurableReplace.FolderOf(path));
        return this;
    }

    public StepLeftFolder Without(IEnumerable<string> paths)
    {
        foreach (string path in paths)
        {
            disk.Delete(path);
            disk.SyncFolder(DurableReplace.FolderOf(path));
        }

        return this;
    }

    /// <param name="target">Where to.</param>
    /// <param name="timeline">The branch that is named; null: none is.</param>
    /// <param name="isCopy">It may be a copy of the folder: nobody says that what lies outside is its own (H26).</param>
    public PlannedInPlace Plan(RecoveryTarget target, string? timeline = null, bool isCopy = false)
    {
        PitrOptions options = scene.Settings.OptionsFor(disk, (long)(scene.Draw() >> 8));
        EngineContext engine = EngineFactory.ContextFor(_folder, options, scene.Memory.For(options));
        var store = new ControlFileStore(disk, _folder);
        ControlFile? current = store.Exists ? store.ReadLive() : null;
        IReadOnlyList<IArchiveStore> stores = EngineFactory.StoresOf(engine);
        return InPlacePlanner.Plan(new InPlaceRequest
        {
            Folder = _folder,
            Environment = engine.Environment,
            Outside = OutsideFiles.Of(disk, _folder, current?.Place, StepSettings.Process),
            Current = current,
            Local = WalSurvey.Of(disk, WalFolder),
            Target = target,
            SetStore = stores[0],
            Archives = stores,
            Timeline = timeline,
            Moved = isCopy ? [] : new Dictionary<string, string> { [StepSettings.Outside] = StepSettings.Outside },
            Random = engine.Draw,
        });
    }

    /// <summary>Up to the control file.</summary>
    public void Recover(PlannedInPlace planned) => InPlaceWriter.Run(planned, static _ => { }, CancellationToken.None);

    public PlannedRebuild PlanRebuild() => RebuildPlanner.Plan(
        disk, _folder, WalSurvey.Of(disk, WalFolder), timeline: null, StepSettings.Process,
        new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));

    public void Rebuild() => RebuildWriter.Run(disk, PlanRebuild());

    /// <summary>Opens, compares, and goes on.</summary>
    public void Open(StepModel model, Action<StepLife, StepScene>? how = null)
    {
        scene.Explored++;
        string settingsFile = $"{_folder}/{DatabaseSettings.FileName}";
        if (disk.Stat(settingsFile) is not null)
            disk.Delete(settingsFile);
        StepSettings settings = scene.Settings with { HasArchive = false };
        using StepEngine engine = StepEngine.Open(
            _folder, settings.OptionsFor(disk, (long)(scene.Draw() >> 8)), scene.Memory);
        model.CutAt(StepCheck.Run(engine, model));
        if (how is null)
            return;
        var database = new StepDatabase(_folder, model);
        var there = new StepScene(
            disk, engine, database, [database], settings, scene.Memory, scene.Hazards, (long)(scene.Draw() >> 8));
        var life = new StepLife(there);
        how(life, there);
        life.LetGo();
    }
}
