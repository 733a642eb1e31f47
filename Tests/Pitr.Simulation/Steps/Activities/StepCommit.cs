using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>A group of blind commits; some are larger than a part, some than a segment (H1, H4).</summary>
internal sealed class StepCommit(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (Scene.Tables.Count == 0)
            yield break;
        var members = new List<(WriteBatch, IReadOnlyList<ModelStep>)>();
        for (int i = 1 + Scene.Next(3); i > 0; i--)
        {
            var batch = new WriteBatch();
            var steps = new List<ModelStep>();
            Scene.AddChanges(batch, steps, 1 + Scene.Next(Scene.Chance(5) ? 60 : 5));
            members.Add((batch, steps));
        }

        Commit(members);
    }

    /// <summary>One that begins in a segment and ends two or more behind it.</summary>
    public void CommitLarge()
    {
        if (Scene.Tables.Count == 0)
            return;
        var batch = new WriteBatch();
        var steps = new List<ModelStep>();
        Table table = Scene.AnyTable()!;
        for (int values = 2; values > 0; values--)
        {
            byte[] key = Scene.AnyKey();
            byte[] value = Scene.NewValue(Scene.Settings.WalSegmentBytes + Scene.Next(Scene.Settings.WalSegmentBytes));
            batch.Put(table, key, value);
            steps.Add(new ModelStep.Change(table.Id, key, value));
        }

        Commit([(batch, steps)]);
    }

    private void Commit(List<(WriteBatch, IReadOnlyList<ModelStep>)> members)
    {
        ulong first = Engine.Wal.Geometry.NumberOf(Engine.Appender.NextLsn);
        try
        {
            Engine.Commit(members, Model);
        }
        catch (StorageFailedException full) when (full.IsDiskFull && Model.Acknowledged == Engine.DurableLsn)
        {
            Scene.Hazards.Note(4); // refused before its first byte; a model that had begun it would say otherwise
            return;
        }

        if (Engine.Wal.Geometry.NumberOf(Engine.DurableLsn) > first)
            Scene.Hazards.Note(4);
    }
}
