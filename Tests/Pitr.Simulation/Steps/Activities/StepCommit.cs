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

        ulong first = Engine.Wal.Geometry.NumberOf(Engine.Appender.NextLsn);
        try
        {
            Engine.Commit(members, Model);
        }
        catch (StorageFailedException full) when (full.IsDiskFull && Model.Acknowledged == Engine.DurableLsn)
        {
            Scene.Hazards.Note(4); // refused before its first byte; a model that had begun it would say otherwise
            yield break;
        }

        if (Engine.Wal.Geometry.NumberOf(Engine.DurableLsn) > first)
            Scene.Hazards.Note(4);
    }
}
