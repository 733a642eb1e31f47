using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What verifying one set found.</summary>
/// <param name="BackupId">The set.</param>
/// <param name="Problems">Everything that is wrong; empty: it restores.</param>
/// <param name="BytesRead">Bytes of the set that were read.</param>
/// <param name="Records">WAL records from start to stop that were read and proven.</param>
internal sealed record VerifyReport(
    string BackupId, IReadOnlyList<PitrException> Problems, long BytesRead, long Records)
{
    public bool Restores => Problems.Count == 0;
}

/// <summary>
/// Re-reads sets and their WAL and proves that they restore: what a restore to the stop would read, it reads.
/// </summary>
/// <remarks>
/// Every problem is found, not only the first: files of the set against the manifest, those that build on a base put
/// together as a restore would, then a plan to the set's stop, which reads and proves all WAL from its start.
/// A set that an expire takes meanwhile (its manifest goes before all else) is none any more: of all sets it is left out.
/// THREADS  one.
/// </remarks>
internal static class BackupVerifier
{
    /// <summary>Verifies one set, or every set of a store.</summary>
    /// <param name="setStore">Where the sets are.</param>
    /// <param name="archives">Where their WAL is.</param>
    /// <param name="backupId">The set; null: all.</param>
    /// <param name="random">For the plan's id.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <exception cref="NotFoundException">BackupUnknown.</exception>
    public static IReadOnlyList<VerifyReport> Verify(
        IArchiveStore setStore, IReadOnlyList<IArchiveStore> archives, string? backupId, Func<ulong> random,
        CancellationToken cancellation)
    {
        BackupCatalog catalog = BackupCatalog.Read(setStore);
        var reports = new List<VerifyReport>();
        foreach (VoidSet other in catalog.Others)
        {
            if (other.Damage is { } damage && (backupId is null || backupId == other.BackupId))
                reports.Add(new VerifyReport(other.BackupId, [damage], 0, 0));
        }
        IEnumerable<BackupSet> sets = reports.Count > 0 && backupId is not null ? [] : backupId is null
            ? catalog.Sets
            : [catalog.Get(backupId)];
        foreach (BackupSet set in sets)
        {
            VerifyReport report = Verify(set, setStore, archives, random, cancellation);
            if (report.Restores || backupId is not null || setStore.Stat(set.Prefix + BackupSet.ManifestName) is not null)
                reports.Add(report);
        }

        return reports;
    }

    private static VerifyReport Verify(
        BackupSet set, IArchiveStore setStore, IReadOnlyList<IArchiveStore> archives, Func<ulong> random,
        CancellationToken cancellation)
    {
        var problems = new List<PitrException>();
        long bytesRead = 0;
        long records = 0;
        set.VerifyAll(
            (entry, damage) =>
            {
                if (damage is not null)
                    problems.Add(damage);
                else
                    bytesRead += entry.LengthBytes;
            },
            cancellation);
        try
        {
            PlannedRecovery planned = RecoveryPlanner.Plan(
                new PlanRequest
                {
                    Target = RecoveryTarget.Immediate,
                    SetStore = setStore,
                    Archives = archives,
                    BackupId = set.Id,
                    Timeline = "current",
                    VerifiesFiles = false,
                    Random = random,
                },
                cancellation);
            records = planned.Plan.Records;
        }
        catch (PitrException problem)
        {
            problems.Add(problem);
        }
        return new VerifyReport(set.Id, problems, bytesRead, records);
    }
}
