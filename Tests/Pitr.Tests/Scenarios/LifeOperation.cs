using System.Globalization;
using System.Text;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// What one writer did, in order. Its keys are its own, so the order between writers does not matter.
/// </summary>
internal sealed class WriterHistory
{
    public List<LifeOperation> Done { get; } = [];

    /// <summary>Under way: there or not, but whole, after a crash.</summary>
    public LifeOperation? Pending { get; set; }
}

/// <summary>One thing that a writer did.</summary>
internal sealed class LifeOperation
{
    public List<ModelChange> Changes { get; } = [];
    public string? CreatesTable { get; init; }
    public string? DropsTable { get; init; }

    /// <summary>A counter that this transaction reads and increments.</summary>
    public string? Counter { get; set; }

    public Lsn Lsn { get; set; }

    public void ApplyTo(ModelStore model)
    {
        if (CreatesTable is not null)
            model.CreateTable(CreatesTable);
        if (DropsTable is not null)
            model.DropTable(DropsTable);
        model.Apply(Changes);
        if (Counter is null)
            return;
        long next = EngineLife.NumberOf(model.Get("counters", Counter)) + 1;
        model.Apply([new ModelChange("counters", Counter, EngineLife.BytesOf(next))]);
    }

    /// <summary>
    /// True if it is in the database: one sign of it is enough, the comparison with the model finds halves.
    /// </summary>
    public bool IsIn(PitrDatabase database)
    {
        if (CreatesTable is not null)
            return database.TryGetTable(CreatesTable, out _);
        if (DropsTable is not null)
            return !database.TryGetTable(DropsTable, out _);
        ModelChange sign = Changes.First(change => change.Value is not null);
        return database.TryGetTable(sign.Table, out Table? table)
            && database.Get(table, ModelStore.BytesOf(sign.Key)) is { } found
            && found.AsSpan().SequenceEqual(sign.Value);
    }
}
