using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// Ends a restore: the steps of <see cref="PromotionSteps"/> (H32) on this database's files, then the new timeline's
/// WAL is opened as any other. It has the control file to itself: the ControlFileActor adopts what it wrote.
/// </summary>
internal sealed class Promotion : IPromotionHost
{
    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;

    private Promotion(EngineContext engine, OpenedEngine opened, ControlFile control)
    {
        _engine = engine;
        _opened = opened;
        Control = control;
    }

    /// <summary>The coordinator begins it after every file said so.</summary>
    public bool FilesAreFlushed => true;

    public ControlFile Control { get; private set; }

    public IReadOnlyList<IArchiveStore> Stores => _opened.Stores;

    public TimelineId HighestInFolder => _opened.WalFolder.HighestTimeline();

    /// <summary>All steps; on a worker.</summary>
    public static Promoted Run(
        EngineContext engine, OpenedEngine opened, ControlFile control, RestoreInProgress restore)
    {
        // Noted by the rename that commits the promotion: a crash before the first checkpoint gives no id twice.
        var next = new TransactionId(Math.Max(
            control.NextTransactionId.Value, (restore.Plan.LastTransaction?.TransactionId.Value ?? 0) + 1));
        var host = new Promotion(engine, opened, control with { NextTransactionId = next });
        new PromotionSteps(host, engine.Clock, engine.Draw).Continue($"recovered to {restore.Plan.Target}");
        ControlFile promoted = host.Control;
        TimelineHistory history = TimelineHistory.Of(promoted.SystemId, promoted.History);
        WalFolder folder = host.FolderOf(promoted.Timeline, promoted.Lineage);
        WalOpened? wal = null;
        try
        {
            wal = WalOpening.Open(new WalOpeningRequest
            {
                Folder = folder,
                TimelineStart = history.Last.StartLsn,
                RedoLsn = promoted.RedoLsn,
                KnownEnd = promoted.KnownEndOfWal,
                LastCommitTime = restore.Plan.StopsAt.Time,
            });
            folder.EnsureReady();
            var start = WalStart.Of(folder, history, wal, next, engine.Clock);
            restore.Hold.Remove();
            return new Promoted(promoted, engine.HandOver.Give(start, static given => given.LetGo()));
        }
        catch
        {
            wal?.Appender.Dispose();
            folder.Dispose();
            throw;
        }
    }

    public void Replace(ControlFile control)
    {
        _opened.ControlFileStore.Replace(control);
        Control = control;
    }

    // Making it again from nothing is right at any time.
    public bool FirstSegmentIsSynced(PromotionIntent intent) => false;

    /// <summary>Its first record says where the timeline comes from.</summary>
    public void WriteFirstSegment(PromotionIntent intent)
    {
        using WalFolder folder = FolderOf(intent.Timeline, intent.Lineage);
        folder.RemoveStrays();
        folder.Remove([.. folder.List().Where(name => name.Timeline == intent.Timeline)]);
        folder.ContinueAt(folder.Geometry.NumberOf(intent.StartLsn));
        folder.EnsureReady();
        var clock = new CommitClock(_engine.Clock, RecoveryPlan.Of(Control.Recovery!).StopsAt.Time);
        using var appender = new WalAppender(folder, null, LogTail.OfNewTimeline(intent.StartLsn, intent.Lineage));
        GroupTime time = clock.Next();
        appender.BeginGroup(time.CommitTime, time.RawClock);
        TimelineEntry parent = Control.History.First(entry => entry.Timeline == intent.Parent);
        appender.Stage(new WalEvent.TimelineStart(
            intent.Timeline, intent.Lineage, intent.Parent, parent.Lineage, intent.ForkLsn, intent.StartLsn,
            intent.Reason));
        appender.WriteAndSync();
    }

    private WalFolder FolderOf(TimelineId timeline, Lineage lineage) => new(
        _engine.FileSystem, _opened.WalFolder.Folder, (int)Control.WalSegmentBytes,
        new WalIdentity(Control.SystemId, timeline, lineage),
        (handle, offset, bytes) => _engine.PacedWriter.WriteUrgent(handle, offset, bytes));
}
