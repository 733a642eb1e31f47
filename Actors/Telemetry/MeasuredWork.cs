using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>What workers do, timed and traced: how a flush or a step of shipping came out is told when it has ended.</summary>
internal static class MeasuredWork
{
    /// <summary>On a worker: one flush.</summary>
    public static FlushOutcome Flush(EngineContext engine, string datafile, FlushRun run)
    {
        (long began, DateTimeOffset time) = (engine.Clock.GetTimestamp(), engine.Clock.GetUtcNow());
        string? failure = null;
        string outcome = "failed";
        try
        {
            FlushOutcome ended = run.Run();
            (outcome, failure) = ended is FlushOutcome.Dropped dropped ? ("dropped", dropped.Why.Message) : ("ended", null);
            return ended;
        }
        catch (Exception error)
        {
            failure = error.Message;
            throw;
        }
        finally
        {
            engine.Metrics.NoteFlush(datafile, engine.Clock.GetElapsedTime(began), outcome);
            Traces.Note(
                "pitr.flush", engine.Folder, time, engine.Clock.GetUtcNow(), failure, new("pitr.datafile", datafile),
                new("pitr.lsn", run.Job.CheckpointLsn.ToString()));
        }
    }

    /// <summary>On a worker: one step of shipping to a store. Steps that found nothing to do are nothing to tell.</summary>
    public static ShipStep Ship(EngineContext engine, StoreShipper shipper)
    {
        (long began, DateTimeOffset time) = (engine.Clock.GetTimestamp(), engine.Clock.GetUtcNow());
        ShipStep step = shipper.Ship(engine.DurableLsn);
        if (step is not (ShipStep.Segment or ShipStep.Tail or ShipStep.Failed))
            return step;
        string outcome = step switch { ShipStep.Segment => "segment", ShipStep.Tail => "tail", _ => "failed" };
        string? failure = step == ShipStep.Failed ? shipper.Progress.LastError?.Message ?? "unknown" : null;
        engine.Metrics.NoteShip(shipper.StoreName, engine.Clock.GetElapsedTime(began), outcome);
        Traces.Note(
            "pitr.ship", engine.Folder, time, engine.Clock.GetUtcNow(), failure, new("pitr.store", shipper.StoreName),
            new("pitr.outcome", outcome));
        return step;
    }
}
