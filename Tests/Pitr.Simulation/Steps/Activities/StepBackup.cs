using System.Globalization;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// One backup set, full or incremental, in BackupRunner's order: WAL held, checkpoint, intent, each file copied under a
/// fence, BackupEnd, WAL, label, manifest (H29, H35, H38, H39). One that was cut off, by its store or by the end of a
/// life, is gone on with.
/// </summary>
internal sealed class StepBackup(StepScene scene) : StepActivity(scene)
{
    private readonly string _id = $"set{scene.Draw():x16}";

    public override IEnumerable<Turn> Run()
    {
        if (Scene.IsBackingUp || Engine.Stores.Count == 0)
            yield break;
        Scene.IsBackingUp = true;
        Engine.Holds[_id] = Lsn.Zero;
        foreach (Turn turn in new StepCheckpoint(Scene).Run())
            yield return turn;
        ControlFile control = Engine.Control;
        DateTimeOffset now = Engine.Context.Clock.GetUtcNow();
        var start = new BackupStart(_id, control, Lsn.Max(control.RedoLsn, control.Catalogue.Lsn), now);
        bool isGood = true;
        if (Scene.Chance(60))
        {
            isGood = StepScene.Try(() => start = start with
            {
                Base = BaseChoice.Of(BackupCatalog.Read(Engine.Stores[0]), control).Base,
            });
        }

        if (isGood && Scene.Chance(80))
            isGood = StepScene.Try(() => start = WithCutOff(start, now));
        Engine.Holds[_id] = Lsn.Min(control.RedoLsn, start.Continues?.NeedsFromLsn ?? Lsn.MaxValue);
        var writer = new BackupWriter(
            Scene.Disk, Engine.Stores[0], Engine.Stores, start,
            new ReachablePages(Engine.Context.Environment, CancellationToken.None));
        isGood = isGood && StepScene.Try(writer.Begin);
        foreach (CatalogueFile file in control.Catalogue.Files)
        {
            yield return default;
            if (!isGood)
                break;
            var copied = new StepCopyFile(Scene, file, writer);
            foreach (Turn turn in copied.Run())
                yield return turn;
            isGood = copied.IsGood;
        }

        if (isGood)
        {
            yield return default;
            isGood = TryComplete(writer);
        }

        if (!isGood)
        {
            Scene.Hazards.Note(35);
            if (!writer.CanBeContinued || Scene.Chance(30))
                StepScene.Try(writer.Abandon);
        }

        LetGo();
    }

    /// <summary>With what was left of a set that was cut off, if any of it can be used (H39).</summary>
    private BackupStart WithCutOff(BackupStart start, DateTimeOffset now)
    {
        UnfinishedSet? cutOff = UnfinishedSet.Find(
            Engine.Stores[0], start.Control, start.Base, now,
            from => Sources().Along(Engine.History, from, Engine.DurableLsn).Hole is null);
        return cutOff is null ? start : start with { BackupId = cutOff.BackupId, Continues = cutOff };
    }

    private WalSources Sources() => new(
        [
            new FolderWalSource(Engine.Wal, Engine.Wal.Folder),
            .. Engine.Stores.Select(store => new ArchiveWalSource(store, ArchiveCatalog.Load(store), Engine.Wal.Geometry)),
        ],
        Engine.Wal.Geometry);

    public override void LetGo()
    {
        Engine.Holds.Remove(_id);
        Scene.IsBackingUp = false;
    }

    /// <summary>A clock that jumps ahead lets an expire take it for dead: then it is void (H35).</summary>
    private bool TryComplete(BackupWriter writer)
    {
        try
        {
            return StepScene.Try(() => Complete(writer));
        }
        catch (RefusedException gone) when (
            gone.Code is ErrorCode.BackupVoid or ErrorCode.BackupBaseLost && Scene.HasExpired)
        {
            return false;
        }
    }

    private void Complete(BackupWriter writer)
    {
        Lsn lsn = Engine.Log(new WalEvent.BackupEnd(writer.BackupId, writer.StartLsn), Model);
        var stop = new BackupStop(
            lsn, new DateTimeOffset(Model.Records[^1].CommitTicks, TimeSpan.Zero), Engine.LastTransaction,
            Engine.Control.Catalogue.Files.Select(static file => file.Id).ToHashSet());
        writer.IncludeWal(Engine.History, Sources(), lsn, CancellationToken.None);
        BackupSet set = writer.Complete(stop);
        Lsn least = set.Label.Files.Aggregate(
            set.Label.CatalogueLsn, static (lsn, file) => Lsn.Min(lsn, file.CheckpointLsn));
        if (set.Label.StartLsn > least)
        {
            throw new SimulationFailure(
                $"Set {set.Id} begins at {set.Label.StartLsn}, and {least} is the least of its catalogue and files (H29).");
        }

        RequireWhole(set);
        if (set.Label.MissingFiles.Count == 0)
            Model.Sets.Add((set.Id, set.Label.StopLsn));
    }

    /// <summary>What builds on another set, or was gone on with, is put together again (H38, H39).</summary>
    private void RequireWhole(BackupSet set)
    {
        if (set.Base is null && set.Label.Files.All(static file => file.ObjectName.Count(static c => c == '.') == 1))
            return;
        try
        {
            foreach (LabelledFile file in set.Label.Files)
                set.VerifyFile(file, CancellationToken.None);
        }
        catch (DamageException damage)
        {
            throw new SimulationFailure($"Set {set.Id} is not what was copied (H38, H39).", damage);
        }
    }
}

/// <summary>One file of a backup: fence, copy, unfence (§9).</summary>
internal sealed class StepCopyFile(StepScene scene, CatalogueFile listed, BackupWriter writer) : StepActivity(scene)
{
    private const int TurnsMax = 80;

    /// <summary>True if its copy is good, or it was dropped meanwhile: replay then passes over it (H29).</summary>
    public bool IsGood { get; private set; }

    public override IEnumerable<Turn> Run()
    {
        bool isThere = false;
        if (writer.CanResume(listed.Id))
            IsGood = StepScene.Try(() => isThere = writer.TryResume(listed.Id, CancellationToken.None));
        if (isThere)
            yield break;
        for (int tries = 0; tries < TurnsMax; tries++)
        {
            if (Engine.File(listed.Id) is not { } file)
            {
                IsGood = Engine.Control.Catalogue.File(listed.Id) is null;
                yield break;
            }

            var fence = new StepFence(Scene, file, lasts: 0);
            foreach (Turn turn in fence.Take())
                yield return turn;
            if (fence.IsHeld)
            {
                IsGood = StepScene.Try(() => writer.Copy(fence.Answer(), CancellationToken.None));
                if (IsGood && writer.BaseOf(fence.Answer()) is { } older && file.File.Meta.FreeChain != 0
                    && file.File.Meta.FreeChainGeneration > older.Generation)
                    Scene.Hazards.Note(38);
                yield return default;
                fence.Leave();
                if (IsGood)
                    IsGood = StepScene.Try(() => writer.Keep(fence.Answer()));
                yield break;
            }

            yield return default;
        }
    }
}
