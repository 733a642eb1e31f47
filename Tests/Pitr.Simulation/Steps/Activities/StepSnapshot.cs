using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// All tables as of one visible LSN, looked at some turns later, forwards or backwards: whatever came after it, it
/// shows the same, over all files (I2, I8, H12, H41).
/// </summary>
internal sealed class StepSnapshot(StepScene scene) : StepActivity(scene)
{
    private readonly List<(Table Table, ReadView View, ulong Generation)> _pinned = [];
    private Lsn _at;

    public override IEnumerable<Turn> Run()
    {
        _at = Engine.VisibleLsn;
        foreach (Table table in Scene.Tables.ToArray())
        {
            StepFile file = Engine.File(table.DatafileId)!;
            if (_pinned.Count < 4 && file.File.View.TryPin())
                _pinned.Add((table, file.File.View, file.File.Generation));
        }

        SortedDictionary<string, SortedDictionary<byte[], byte[]>> expected = Model.At(_at);
        for (int i = 1 + Scene.Next(25); i > 0; i--)
            yield return default;
        bool isReverse = Scene.Chance(50);
        foreach ((Table table, ReadView view, ulong generation) in _pinned)
        {
            StepFile? file = Engine.File(table.DatafileId);
            if (file?.File.Generation > generation)
                Scene.Hazards.Note(12);
            if (!expected.TryGetValue(table.Name, out SortedDictionary<byte[], byte[]>? rows))
                continue; // it was dropped below the snapshot, while its commit was not visible
            try
            {
                StepCheck.Compare(
                    Engine, view, new CatalogueTable(table.Id, table.Name, table.DatafileId, Lsn.Zero), rows, _at,
                    isReverse);
            }
            catch (PitrException told) when (file is null && told is not (BugException or DamageException))
            {
                // The file was dropped: its buffers are read as ever, its pages give a typed error (H41).
            }
        }

        LetGo();
    }

    public override void LetGo()
    {
        foreach ((_, ReadView view, _) in _pinned)
            view.Unpin();
        _pinned.Clear();
    }
}
