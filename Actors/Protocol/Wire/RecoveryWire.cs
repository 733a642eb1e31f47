using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of the recovery of a datafile.</summary>
internal static class RecoveryWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<RecoverDatafile, W.RecoverDatafile>(
            "recover-datafile.1",
            m =>
            {
                var wire = new W.RecoverDatafile
                {
                    RequestId = m.RequestId,
                    Datafile = m.Datafile,
                    PlanOnly = m.PlanOnly,
                };
                if (m.Store is { } store)
                    wire.Store = store;
                if (m.Archive is { } archive)
                    wire.Archive = archive;
                return wire;
            },
            w => new RecoverDatafile(
                w.RequestId, w.Datafile, w.HasStore ? w.Store : null, w.HasArchive ? w.Archive : null, w.PlanOnly)),
        WireEntry.Of<DatafileRecovered, W.DatafileRecovered>(
            "datafile-recovered.1", ToWire,
            w => new DatafileRecovered(w.RequestId, new DatafileRecoveryResult(
                w.Datafile, w.Path, w.HasBackupId ? w.BackupId : null, new Lsn(w.StartLsn), new Lsn(w.Lsn),
                w.RecordsReplayed, w.Bytes, w.Seconds)
            {
                Findings = [.. w.Findings],
            })),
        WireEntry.Of<DatafileRecoveryPlanned, W.DatafileRecoveryPlanned>(
            "datafile-recovery-planned.1",
            m => new W.DatafileRecoveryPlanned { RequestId = m.RequestId, Plan = m.Plan },
            w => new DatafileRecoveryPlanned(w.RequestId, w.Plan)),
    ];

    private static W.DatafileRecovered ToWire(DatafileRecovered message)
    {
        DatafileRecoveryResult result = message.Result;
        var wire = new W.DatafileRecovered
        {
            RequestId = message.RequestId,
            Datafile = result.Datafile,
            Path = result.Path,
            StartLsn = result.StartLsn.Value,
            Lsn = result.Lsn.Value,
            RecordsReplayed = result.RecordsReplayed,
            Bytes = result.Bytes,
            Seconds = result.Seconds,
            Findings = { result.Findings },
        };
        if (result.BackupId is { } set)
            wire.BackupId = set;
        return wire;
    }
}
