using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>Compares an opened database with the oracle: its end, its tables, each row, each page.</summary>
internal static class StepCheck
{
    /// <summary>Answers where the log ends.</summary>
    public static Lsn Run(StepEngine engine, StepModel model)
    {
        Lsn end = engine.DurableLsn;
        if (!model.MayEndAt(end))
        {
            throw new SimulationFailure(
                $"The log ends at {end}, where no record does that was under way; acknowledged was {model.Acknowledged}.");
        }

        if (engine.LastTransaction.Value < model.LastTransactionAt(end).Value)
        {
            throw new SimulationFailure(
                $"The next transaction would be {engine.LastTransaction.Value + 1}, "
                + $"and {model.LastTransactionAt(end)} was given (I9).");
        }

        Compare(engine, model.At(end), end);
        foreach (StepFile file in engine.Files)
            CheckPages(engine, file);
        return end;
    }

    /// <summary>The whole content as of an LSN.</summary>
    public static void Compare(
        StepEngine engine, SortedDictionary<string, SortedDictionary<byte[], byte[]>> expected, Lsn at)
    {
        string[] there = [.. engine.Control.Catalogue.Tables
            .Select(table => table.Name).Order(StringComparer.Ordinal)];
        if (!there.SequenceEqual(expected.Keys))
        {
            throw new SimulationFailure(
                $"At {at} there are the tables {string.Join(",", there)}, not {string.Join(",", expected.Keys)}.");
        }

        foreach (CatalogueTable table in engine.Control.Catalogue.Tables)
            Compare(engine, engine.File(table.FileId)!.File.View, table, expected[table.Name], at);
    }

    /// <summary>One table in a view.</summary>
    public static void Compare(
        StepEngine engine, ReadView view, CatalogueTable table, SortedDictionary<byte[], byte[]> expected, Lsn at)
    {
        var cursor = new RangeCursor(engine.Context.Epochs, static () => { }, view, at, table.Id, ScanRange.All);
        SortedDictionary<byte[], byte[]>.Enumerator wanted = expected.GetEnumerator();
        while (cursor.TryNext(out KeyValue row))
        {
            if (!wanted.MoveNext())
                throw Differs(table, at, row.Key, "is there and should not be");
            int order = row.Key.AsSpan().SequenceCompareTo(wanted.Current.Key);
            if (order != 0)
            {
                throw order < 0
                    ? Differs(table, at, row.Key, "is there and should not be")
                    : Differs(table, at, wanted.Current.Key, "is missing");
            }

            if (!row.Value.AsSpan().SequenceEqual(wanted.Current.Value))
                throw Differs(table, at, row.Key, "has another value");
        }

        if (wanted.MoveNext())
            throw Differs(table, at, wanted.Current.Key, "is missing");
    }

    private static SimulationFailure Differs(CatalogueTable table, Lsn at, byte[] key, string how) =>
        new($"At {at}, key {Convert.ToHexString(key)} of table {table.Name} {how}.");

    private static void CheckPages(StepEngine engine, StepFile file)
    {
        DatafileReport report = DatafileCheck.Run(engine.Context.Environment, file.File.Path);
        if (!report.IsSound)
            throw new SimulationFailure($"Datafile {file.Name}: {string.Join(" ", report.Problems)}");
    }
}
