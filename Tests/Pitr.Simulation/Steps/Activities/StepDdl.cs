using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>Tables and datafiles come and go, in the orders of ControlFileActor (H23, H43).</summary>
internal abstract class StepDdl(StepScene scene) : StepActivity(scene)
{
    public static StepDdl Any(StepScene scene) => scene.Next(4) switch
    {
        0 => new StepCreateDatafile(scene),
        1 => new StepDropDatafile(scene),
        2 => new StepCreateTable(scene, scene.AnyFile().Id),
        _ => new StepDropTable(scene),
    };

    public override IEnumerable<Turn> Run()
    {
        while (Scene.IsOwnerBusy)
            yield return default;
        Scene.IsOwnerBusy = true;
        Scene.Hazards.Note(23);
        foreach (Turn turn in Change())
            yield return turn;
        Scene.IsOwnerBusy = false;
    }

    /// <summary>While the owner of the control file has nothing else in hand.</summary>
    protected abstract IEnumerable<Turn> Change();

    protected void Apply(Catalogue catalogue) => Apply(Scene, catalogue);

    protected static void Apply(StepScene scene, Catalogue catalogue)
    {
        if (scene.IsBackingUp)
            scene.Hazards.Note(29);
        StepEngine engine = scene.Engine;
        engine.Note(engine.Control with { Catalogue = catalogue, KnownEndOfWal = engine.DurableLsn });
    }
}

/// <summary>Logged, then in the control file.</summary>
internal sealed class StepCreateTable(StepScene scene, FileId file) : StepDdl(scene)
{
    protected override IEnumerable<Turn> Change()
    {
        if (Engine.Control.Catalogue.File(file) is null)
            yield break;
        TableId id = Engine.Control.Catalogue.NextTableId;
        string name = Scene.NewName('t');
        Lsn lsn = Engine.Log(new WalEvent.CreateTable(id, file, name), Model, _ => new ModelStep.Created(id, name));
        yield return default;
        Apply(Engine.Control.Catalogue.CreateTable(id, name, file, lsn));
        Scene.Tables.Add(new Table(name, id, file));
    }
}

/// <summary>Logged, then in the control file; from its stamp on nothing is committed to it.</summary>
internal sealed class StepDropTable(StepScene scene) : StepDdl(scene)
{
    protected override IEnumerable<Turn> Change()
    {
        if (Scene.Tables.Count < 2)
            yield break;
        foreach (Turn turn in Drop(Scene, Scene.Tables[Scene.Next(Scene.Tables.Count)]))
            yield return turn;
    }

    /// <summary>The turns of a drop, for whoever has the owner of the control file.</summary>
    public static IEnumerable<Turn> Drop(StepScene scene, Table table)
    {
        StepEngine engine = scene.Engine;
        scene.Tables.Remove(table);
        if (scene.ReadTables.Contains(table.Id))
            scene.Hazards.Note(43);
        Lsn lsn = engine.Log(
            new WalEvent.DropTable(table.Id, table.DatafileId, table.Name), scene.Model,
            _ => new ModelStep.Dropped(table.Id));
        yield return default;
        Apply(scene, engine.Control.Catalogue.DropTable(table.Id, lsn));
    }
}

/// <summary>The file durable, then logged, then in the control file.</summary>
internal sealed class StepCreateDatafile(StepScene scene) : StepDdl(scene)
{
    protected override IEnumerable<Turn> Change()
    {
        FileId id = Engine.Control.Catalogue.NextFileId;
        string name = Scene.NewName('f');
        string path = Scene.Settings.HasFilesOutside && id.Value % 2 == 0
            ? $"{StepSettings.Outside}/{Engine.Folder[1..]}-{name}.pitr" : $"{Engine.Folder}/{name}.pitr";
        var incarnation = new Incarnation(Engine.Context.Draw());
        Lsn born = Engine.VisibleLsn;
        Datafile made = Engine.Make(id, name, path, incarnation);
        yield return default;
        string stored = Catalogue.StoredPath(Engine.Folder, path);
        Lsn lsn = Engine.Log(new WalEvent.CreateDatafile(id, name, stored, incarnation), Model);
        yield return default;
        Apply(Engine.Control.Catalogue.CreateFile(
            new CatalogueFile(id, name, stored, incarnation, made.Generation, made.CheckpointLsn, lsn), lsn));
        Engine.Add(id, name, made, lsn, isRecovering: false);
    }
}

/// <summary>Its tables, and then the file: logged, then in the control file, then unlinked.</summary>
internal sealed class StepDropDatafile(StepScene scene) : StepDdl(scene)
{
    protected override IEnumerable<Turn> Change()
    {
        StepFile file = Scene.AnyFile();
        Table[] tables = [.. Scene.Tables.Where(table => table.DatafileId == file.Id)];
        if (file.Id == FileId.Main || file.IsBusy || file.IsOffline || file.Fenced is not null
            || tables.Length == Scene.Tables.Count
            || Engine.Control.Catalogue.Tables.Count(table => table.FileId == file.Id) != tables.Length
            || Engine.Control.MoveOf(file.Id) is not null)
            yield break;
        file.IsBusy = true;
        foreach (Table table in tables)
        {
            foreach (Turn turn in StepDropTable.Drop(Scene, table))
                yield return turn;
        }

        string path = Catalogue.FullPath(Engine.Folder, Engine.Control.Catalogue.File(file.Id)!.Path);
        if (file.File.PinnedViews > 1)
            Scene.Hazards.Note(41);
        Lsn lsn = Engine.Log(new WalEvent.DropDatafile(file.Id, file.Name), Model);
        yield return default;
        Apply(Engine.Control.Catalogue.DropFile(file.Id, lsn));
        yield return default;
        foreach (Turn turn in Scene.AwaitReaders())
            yield return turn;
        Engine.Close(file.Id);
        yield return default;
        Engine.Unlink(path);
    }
}
