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

    protected void Apply(Catalogue catalogue)
    {
        if (Scene.IsBackingUp)
            Scene.Hazards.Note(29);
        Engine.Note(Engine.Control with { Catalogue = catalogue, KnownEndOfWal = Engine.DurableLsn });
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
        Table table = Scene.Tables[Scene.Next(Scene.Tables.Count)];
        Scene.Tables.Remove(table);
        if (Scene.ReadTables.Contains(table.Id))
            Scene.Hazards.Note(43);
        Lsn lsn = Engine.Log(
            new WalEvent.DropTable(table.Id, table.DatafileId, table.Name), Model, _ => new ModelStep.Dropped(table.Id));
        yield return default;
        Apply(Engine.Control.Catalogue.DropTable(table.Id, lsn));
    }
}

/// <summary>The file durable, then logged, then in the control file.</summary>
internal sealed class StepCreateDatafile(StepScene scene) : StepDdl(scene)
{
    protected override IEnumerable<Turn> Change()
    {
        FileId id = Engine.Control.Catalogue.NextFileId;
        string name = Scene.NewName('f');
        string path = $"{Engine.Folder}/{name}.pitr";
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

/// <summary>Logged, then in the control file, then unlinked.</summary>
internal sealed class StepDropDatafile(StepScene scene) : StepDdl(scene)
{
    protected override IEnumerable<Turn> Change()
    {
        StepFile file = Scene.AnyFile();
        if (file.Id == FileId.Main || file.IsBusy || file.IsOffline || file.Fenced is not null
            || Scene.Tables.Exists(table => table.DatafileId == file.Id)
            || Engine.Control.Catalogue.Tables.Any(table => table.FileId == file.Id))
            yield break;
        file.IsBusy = true;
        string path = file.File.Path;
        if (file.File.PinnedViews > 1)
            Scene.Hazards.Note(41);
        Lsn lsn = Engine.Log(new WalEvent.DropDatafile(file.Id, file.Name), Model);
        yield return default;
        Apply(Engine.Control.Catalogue.DropFile(file.Id, lsn));
        yield return default;
        Engine.Close(file.Id);
        yield return default;
        Engine.Unlink(path);
    }
}
