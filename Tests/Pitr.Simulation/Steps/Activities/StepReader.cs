using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// A reader that entered an epoch, took a view and was descheduled over whatever else happens: nothing that it can still
/// reach is written over or given back (H12).
/// </summary>
/// <remarks>
/// Unlike a snapshot it pins nothing. Whoever closes a datafile waits for it; here, on one thread, those activities wait
/// for <see cref="StepScene.Readers"/> first.
/// </remarks>
internal sealed class StepReader(StepScene scene) : StepActivity(scene)
{
    private EpochHold? _hold;

    public override IEnumerable<Turn> Run()
    {
        if (Scene.AnyTable() is not { } table || Engine.File(table.DatafileId) is not { } file || Scene.WantsNoReaders)
            yield break;
        Scene.Readers++;
        _hold = Engine.Context.Epochs.Hold();
        ReadView view = file.File.View;
        ulong generation = file.File.Generation;
        Lsn at = Engine.VisibleLsn;
        SortedDictionary<string, SortedDictionary<byte[], byte[]>> expected = Model.At(at);
        for (int i = 1 + Scene.Next(50); i > 0 && !Scene.WantsNoReaders; i--)
            yield return default;
        if (file.File.Generation > generation)
            Scene.Hazards.Note(12);
        if (expected.TryGetValue(table.Name, out SortedDictionary<byte[], byte[]>? rows))
        {
            StepCheck.Compare(
                Engine, view, new CatalogueTable(table.Id, table.Name, table.DatafileId, Lsn.Zero), rows, at,
                isReverse: Scene.Chance(50));
        }

        LetGo();
    }

    public override void LetGo()
    {
        if (_hold is not { } hold)
            return;
        _hold = null;
        hold.Dispose();
        Scene.Readers--;
    }
}
