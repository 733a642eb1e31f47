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

    /// <summary>
    /// On a worker: a step of shipping that needs its store alone. Those that found nothing to do are nothing to tell.
    /// </summary>
    public static void ShipAlone(EngineContext engine, StoreShipper shipper, ShipWork work)
    {
        long began = engine.Clock.GetTimestamp();
        shipper.Do(work);
        if (work.Step is ShipStep.Segment or ShipStep.Tail or ShipStep.Failed)
            Note(engine, shipper, began, work.Step);
    }

    /// <summary>
    /// What has come of the segments on their way when a stage of one has ended: each took from its first stage until it
    /// was read back, beside others.
    /// </summary>
    public static void NoteShipped(EngineContext engine, StoreShipper shipper, ShipWork work, ShipStep step)
    {
        foreach (long began in work.Shipped)
            Note(engine, shipper, began, ShipStep.Segment);
        if (step == ShipStep.Failed)
            Note(engine, shipper, work.Shipment!.Began, step);
    }

    private static void Note(EngineContext engine, StoreShipper shipper, long began, ShipStep step)
    {
        string outcome = step switch { ShipStep.Segment => "segment", ShipStep.Tail => "tail", _ => "failed" };
        string? failure = step == ShipStep.Failed ? shipper.Progress.LastError?.Message ?? "unknown" : null;
        TimeSpan took = engine.Clock.GetElapsedTime(began);
        DateTimeOffset now = engine.Clock.GetUtcNow();
        engine.Metrics.NoteShip(shipper.StoreName, took, outcome);
        Traces.Note(
            "pitr.ship", engine.Folder, now - took, now, failure, new("pitr.store", shipper.StoreName),
            new("pitr.outcome", outcome));
    }
}
