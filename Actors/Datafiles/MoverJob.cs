using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>What a <see cref="DatafileMover"/> carries out: the parts in which a move and compacting differ.</summary>
/// <remarks>Plan, CopyOf and Fill on a worker, one after the other; the rest by the mover.</remarks>
internal abstract class MoverJob(string datafile, IProgress<JobProgress>? progress, RateLimit? limit)
{
    /// <summary>The datafile's name.</summary>
    public string Datafile => datafile;

    /// <summary>What it is called in the log and at the fence.</summary>
    public abstract string Words { get; }

    /// <summary>
    /// True if it leaves files that are to be removed once the control file names the winner; else that is the end of it.
    /// </summary>
    public abstract bool LeavesFiles { get; }

    /// <summary>Everything that can be refused before anything is touched is refused here.</summary>
    public abstract PlannedMove Plan(EngineContext engine);

    /// <summary>The copy of the fenced file, of which there is not a byte yet.</summary>
    public abstract SwitchableCopy CopyOf(EngineContext engine, Fenced fenced);

    /// <summary>Makes, fills and proves it.</summary>
    public abstract void Fill(EngineContext engine, CancellationToken cancel);

    /// <summary>What the control file says when all is done.</summary>
    public abstract ControlFile Settle(ControlFile now);

    /// <summary>Given up before the switch.</summary>
    public abstract RefusedException Cancelled();

    /// <summary>Said to who wants something of the datafile that has to wait for its end.</summary>
    public abstract RefusedException UnderWay();

    /// <summary>The answer to whoever asked for it.</summary>
    public abstract object Ended(EngineContext engine, double seconds, double fencedSeconds);

    /// <summary>A datafile that serves, and its slot.</summary>
    /// <exception cref="PitrException">DatafileUnknown; why it does not serve.</exception>
    protected static (CatalogueFile File, Datafile Open) RequireServing(EngineContext engine, string name)
    {
        CatalogueFile file = engine.Catalogue.Catalogue.File(name) ?? throw EngineErrors.DatafileUnknown(name);
        FileSlot? slot = engine.Slots.TryOf(file.Id);
        return slot?.File is { } open && slot.State != DatafileState.Offline
            ? (file, open)
            : throw slot?.Why?.ToException() ?? EngineErrors.DatafileRecovering(name);
    }

    /// <summary>Which folder this is: a copy of it elsewhere must not touch what lies outside (H26).</summary>
    protected static FolderPlace PlaceOf(EngineContext engine) => engine.Outside.Here;

    /// <summary>Waits with each block as long as the caller's rate asks, or until it is given up.</summary>
    protected Action<int> Pace(EngineContext engine, CancellationToken cancel) =>
        bytes => limit?.Wait(bytes, engine.Pause, () => cancel.IsCancellationRequested);

    protected void Report(string step, long done, long total) => progress?.Report(new JobProgress(step, done, total));
}

/// <summary>A datafile goes to another place.</summary>
internal sealed class MoveJob(MoveRequest request, RateLimit? limit)
    : MoverJob(request.Datafile, request.Progress, limit)
{
    private MovePlan? _plan;
    private MoveCopy _copy = null!;
    private long _doneBytes;

    public override string Words => $"move to {_plan?.To ?? request.Path}";

    public override bool LeavesFiles => true;

    public override PlannedMove Plan(EngineContext engine)
    {
        CatalogueFile file = RequireServing(engine, Datafile).File;
        string to = Path.GetFullPath(Path.Combine(engine.Folder, request.Path));
        DatafilePlace.Require(
            engine.FileSystem, engine.Folder, EngineFactory.StoreFoldersOf(engine), to, engine.Outside);
        _plan = MovePlan.Make(engine.FileSystem, engine.Folder, file, to, request.WithoutLink);
        return _plan.Note(engine.Folder, PlaceOf(engine));
    }

    public override SwitchableCopy CopyOf(EngineContext engine, Fenced fenced) => _copy = MoveCopy.Of(
        engine.FileSystem, engine.PacedWriter, _plan!, fenced.Incarnation, fenced.Generation, fenced.CheckpointLsn);

    public override void Fill(EngineContext engine, CancellationToken cancel)
    {
        _copy.Create();
        _copy.CopyPages(Pace(engine, cancel), bytes => ReportMore("copying", bytes), cancel);
        _doneBytes = 0;
        _copy.Verify(new ReachablePages(engine.Environment, cancel), bytes => ReportMore("verifying", bytes), cancel);
    }

    public override ControlFile Settle(ControlFile now) => now.WithoutMove(_plan!.FileId);

    public override RefusedException Cancelled() => MoveErrors.Cancelled(Datafile);

    public override RefusedException UnderWay() => MoveErrors.UnderWay(Datafile, request.Path);

    public override object Ended(EngineContext engine, double seconds, double fencedSeconds) =>
        new MoveProtocol.MoveEnded(new MoveResult(
            Datafile, _plan!.Origin, _plan.To, engine.Slots.TryOf(_plan.FileId)?.File?.LengthBytes ?? 0, seconds,
            fencedSeconds));

    private void ReportMore(string step, int bytes)
    {
        _doneBytes += bytes;
        Report(step, _doneBytes, _copy.LengthBytes);
    }
}

/// <summary>A datafile is made anew with its live pages only.</summary>
internal sealed class CompactJob(CompactRequest request, RateLimit? limit)
    : MoverJob(request.Datafile, request.Progress, limit)
{
    private CompactPlan _plan = null!;
    private CompactCopy _copy = null!;
    private long _bytesBefore;
    private long _liveBytes;

    public override string Words => "compacting";

    public override bool LeavesFiles => false;

    public override PlannedMove Plan(EngineContext engine)
    {
        (CatalogueFile file, Datafile open) = RequireServing(engine, Datafile);
        _liveBytes = open.LiveBytes;
        _plan = CompactPlan.Make(
            engine.FileSystem, engine.Folder, file, _liveBytes, new Incarnation(engine.Draw()));
        return _plan.Note(engine.Folder, PlaceOf(engine));
    }

    public override SwitchableCopy CopyOf(EngineContext engine, Fenced fenced)
    {
        _bytesBefore = fenced.LengthBytes;
        return _copy = CompactCopy.Of(
            engine.Environment, _plan, fenced.Incarnation, fenced.Generation, fenced.CheckpointLsn);
    }

    public override void Fill(EngineContext engine, CancellationToken cancel)
    {
        _copy.Create();
        _copy.Fill(
            Pace(engine, cancel), bytes => Report("compacting", Math.Min(bytes, _liveBytes), _liveBytes), cancel);
        _copy.Prove(bytes => Report("verifying", bytes, _copy.LengthBytes), cancel);
    }

    public override ControlFile Settle(ControlFile now) => now.WithCompacted(_plan.FileId, _copy.Meta);

    public override RefusedException Cancelled() => CompactErrors.Cancelled(Datafile);

    public override RefusedException UnderWay() => CompactErrors.UnderWay(Datafile);

    public override object Ended(EngineContext engine, double seconds, double fencedSeconds) =>
        new MoveProtocol.CompactEnded(new CompactResult(
            Datafile, _plan.Origin, _bytesBefore, _copy.LengthBytes, seconds, fencedSeconds));
}
