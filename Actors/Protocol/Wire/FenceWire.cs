using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of fences and backups.</summary>
internal static class FenceWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<FenceDatafile, W.FenceDatafile>(
            "fence-datafile.1",
            m => new W.FenceDatafile
            {
                RequestId = m.RequestId,
                Datafile = m.Datafile,
                LeaseSeconds = m.LeaseSeconds,
                Reason = m.Reason,
            },
            w => new FenceDatafile(w.RequestId, w.Datafile, w.LeaseSeconds, w.Reason)),
        WireEntry.Of<FenceForSession, W.FenceForSession>(
            "fence-for-session.1",
            m => new W.FenceForSession
            {
                RequestId = m.RequestId,
                Datafile = m.Datafile,
                LeaseSeconds = m.LeaseSeconds,
                Reason = m.Reason,
            },
            w => new FenceForSession(w.RequestId, w.Datafile, w.LeaseSeconds, w.Reason)),
        WireEntry.Of<RenewFence, W.RenewFence>(
            "renew-fence.1",
            m => new W.RenewFence
            {
                RequestId = m.RequestId,
                FenceId = WireForms.Of(m.FenceId),
                LeaseSeconds = m.LeaseSeconds,
            },
            w => new RenewFence(w.RequestId, WireForms.ToFence(w.FenceId), w.LeaseSeconds)),
        WireEntry.Of<FenceRenewed, W.FenceRenewed>(
            "fence-renewed.1",
            m => new W.FenceRenewed { RequestId = m.RequestId, Until = WireForms.Of(m.Until) },
            w => new FenceRenewed(w.RequestId, WireForms.ToTime(w.Until))),
        WireEntry.Of<DatafileFenced, W.DatafileFenced>(
            "datafile-fenced.1",
            m => new W.DatafileFenced
            {
                RequestId = m.RequestId,
                FenceId = WireForms.Of(m.Fence.FenceId),
                Datafile = m.Fence.Datafile,
                Path = m.Fence.Path,
                LengthBytes = m.Fence.LengthBytes,
                CheckpointLsn = m.Fence.CheckpointLsn.Value,
                Until = WireForms.Of(m.Fence.Until),
            },
            w => new DatafileFenced(w.RequestId, new FenceGrant(
                WireForms.ToFence(w.FenceId), w.Datafile, w.Path, w.LengthBytes, new Lsn(w.CheckpointLsn),
                WireForms.ToTime(w.Until)))),
        WireEntry.Of<UnfenceDatafile, W.UnfenceDatafile>(
            "unfence-datafile.1",
            m =>
            {
                var wire = new W.UnfenceDatafile { RequestId = m.RequestId };
                if (m.Datafile is { } datafile)
                    wire.Datafile = datafile;
                if (m.FenceId is { } fence)
                    wire.FenceId = WireForms.Of(fence);
                return wire;
            },
            w => new UnfenceDatafile(
                w.RequestId, w.HasDatafile ? w.Datafile : null,
                w.HasFenceId ? WireForms.ToFence(w.FenceId) : null)),
        WireEntry.Of<DatafileUnfenced, W.DatafileUnfenced>(
            "datafile-unfenced.1",
            m => new W.DatafileUnfenced
            {
                RequestId = m.RequestId,
                Datafile = m.Result.Datafile,
                FlushedLsn = m.Result.FlushedLsn.Value,
                HoldersRemaining = m.Result.HoldersRemaining,
            },
            w => new DatafileUnfenced(
                w.RequestId, new UnfenceResult(w.Datafile, new Lsn(w.FlushedLsn), w.HoldersRemaining))),
        WireEntry.Of<MakeBackup, W.MakeBackup>(
            "make-backup.1",
            m =>
            {
                var wire = new W.MakeBackup
                {
                    RequestId = m.RequestId,
                    Store = m.Store,
                    Jobs = m.Jobs,
                    Incremental = m.Incremental,
                };
                if (m.BytesPerSecondMax is { } rate)
                    wire.BytesPerSecondMax = rate;
                return wire;
            },
            w => new MakeBackup(
                w.RequestId, w.Store, w.HasBytesPerSecondMax ? w.BytesPerSecondMax : null, w.Jobs, w.Incremental)),
        WireEntry.Of<BackupMade, W.BackupMade>(
            "backup-made.1",
            ToWire,
            w => new BackupMade(w.RequestId, new BackupResult(
                w.BackupId, new Lsn(w.StartLsn), new Lsn(w.StopLsn), w.Bytes, w.Files, w.Seconds)
            {
                BaseId = w.HasBaseId ? w.BaseId : null,
                WhyFull = w.HasWhyFull ? w.WhyFull : null,
                FilesResumed = w.FilesResumed,
            })),
    ];

    private static W.BackupMade ToWire(BackupMade made)
    {
        var wire = new W.BackupMade
        {
            RequestId = made.RequestId,
            BackupId = made.Result.BackupId,
            StartLsn = made.Result.StartLsn.Value,
            StopLsn = made.Result.StopLsn.Value,
            Bytes = made.Result.Bytes,
            Files = made.Result.Files,
            Seconds = made.Result.Seconds,
            FilesResumed = made.Result.FilesResumed,
        };
        if (made.Result.BaseId is { } older)
            wire.BaseId = older;
        if (made.Result.WhyFull is { } why)
            wire.WhyFull = why;
        return wire;
    }
}
