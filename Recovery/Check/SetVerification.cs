using System.Text.Json;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>That a set was verified, and when: object <c>verified.json</c> of the set.</summary>
/// <remarks>
/// For people: nothing is decided by it. It says when the verification began that proved the set; a set that was damaged
/// since is found by the next one. THREADS  any; of two at a time for one store one result is the last.
/// </remarks>
internal static class SetVerification
{
    /// <summary>Notes it in each set that restores; takes it away from each that does not.</summary>
    /// <remarks>Best effort: who verifies need not be allowed to write, and a tar can't be written into.</remarks>
    /// <param name="store">The store of the sets.</param>
    /// <param name="reports">What was found.</param>
    /// <param name="began">When the verification began.</param>
    public static void Note(IArchiveStore store, IEnumerable<VerifyReport> reports, DateTimeOffset began)
    {
        try
        {
            Dictionary<string, BackupSet> sets = BackupCatalog.Read(store).Sets
                .Where(static set => set.Prefix.Length > 0).ToDictionary(static set => set.Id, StringComparer.Ordinal);
            foreach (VerifyReport report in reports)
            {
                if (!sets.TryGetValue(report.BackupId, out BackupSet? set))
                    continue;
                var note = new VerifiedSet { BackupId = set.Id, VerifiedAt = began };
                if (report.Restores)
                    store.Put(NameOf(set), JsonSerializer.SerializeToUtf8Bytes(note, RecoveryJson.Default.VerifiedSet));
                // Expire removes the manifest first: nothing is left beside what it removes meanwhile.
                if (!report.Restores || store.Stat(set.Prefix + BackupSet.ManifestName) is null)
                    store.Delete(NameOf(set));
            }
        }
        catch (StorageFailedException)
        {
            // The answer is what counts.
        }
    }

    /// <summary>When the set was verified last; null if it was not, or nobody could note it.</summary>
    public static DateTimeOffset? Of(BackupSet set)
    {
        try
        {
            return set.Prefix.Length > 0 && set.Store.TryGet(NameOf(set)) is { } bytes
                && JsonSerializer.Deserialize(bytes.Span, RecoveryJson.Default.VerifiedSet) is { } note
                && note.BackupId == set.Id
                ? note.VerifiedAt
                : null;
        }
        catch (Exception error) when (error is JsonException or PitrException and not BugException)
        {
            return null;
        }
    }

    private static string NameOf(BackupSet set) => set.Prefix + BackupSet.VerifiedName;
}

/// <summary>The content of such a note.</summary>
internal sealed record VerifiedSet
{
    public required string BackupId { get; init; }
    public required DateTimeOffset VerifiedAt { get; init; }
}
