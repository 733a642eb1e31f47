using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// What each incremental set builds on: found in the same store, by its id, and only if it is the very set that was built
/// on (the digest of its manifest, which has that of its label, which has that of the next manifest).
/// </summary>
/// <remarks>THREADS  one; nothing is written.</remarks>
internal static class SetChains
{
    /// <summary>Sets that a restore reads at the most, the whole one at the bottom among them.</summary>
    public const int LengthMax = 32;

    /// <summary>
    /// Gives each incremental set its base. One whose base is not there, or not what it was, is none, and says why.
    /// </summary>
    public static void Link(string store, List<BackupSet> sets, List<VoidSet> others)
    {
        var found = new Dictionary<string, BackupSet>(StringComparer.Ordinal);
        foreach (BackupSet set in sets)
            found.TryAdd(set.Id, set);
        var linked = new Dictionary<string, (BackupSet? Set, PitrException? Why)>(StringComparer.Ordinal);
        for (int i = 0; i < sets.Count; i++)
        {
            (BackupSet? set, PitrException? why) = LinkOf(store, sets[i], found, linked, others);
            if (set is null)
                others.Add(new VoidSet(sets[i].Id, why!.Message, why));
            else
                sets[i] = set;
        }

        sets.RemoveAll(set => set.Label.BaseId is not null && set.Base is null);
    }

    /// <summary>That a set is still there, the same; asked by a backup that builds on it (H35).</summary>
    /// <exception cref="RefusedException">BackupBaseLost.</exception>
    public static void RequireThere(IArchiveStore store, string backupId, BackupSet older)
    {
        if (store.TryGet(older.Prefix + BackupSet.ManifestName) is not { } bytes)
            throw RecoveryErrors.BackupBaseLost(backupId, older.Id, "that one is gone");
        if (BackupManifest.Parse(older.Id, bytes.Span).Digest != older.Manifest.Digest)
            throw RecoveryErrors.BackupBaseLost(backupId, older.Id, "that one is not what it was");
    }

    /// <summary>
    /// From the set down to one whose base is known, or that has none; then upwards again, so that no chain is too long
    /// for the stack, and a circle ends.
    /// </summary>
    private static (BackupSet? Set, PitrException? Why) LinkOf(
        string store, BackupSet set, Dictionary<string, BackupSet> found,
        Dictionary<string, (BackupSet? Set, PitrException? Why)> linked, List<VoidSet> others)
    {
        var way = new Stack<BackupSet>();
        (BackupSet? Set, PitrException? Why) below = (null, null);
        for (BackupSet? at = set; at is not null;)
        {
            if (linked.TryGetValue(at.Id, out below))
                break;
            way.Push(at);
            if (at.Label.BaseId is not { } baseId)
                break;
            if (way.Count > found.Count)
                below.Why = RecoveryErrors.BackupBaseLost(at.Id, baseId, "in the end that one builds on it");
            else if (!found.ContainsKey(baseId))
                below.Why = others.FirstOrDefault(other => other.BackupId == baseId) is { } other
                    ? other.Damage ?? RecoveryErrors.BackupBaseLost(at.Id, baseId, "that one was never finished")
                    : RecoveryErrors.BackupBaseLost(at.Id, baseId, $"store '{store}' does not have that one");
            at = below.Why is null ? found[baseId] : null;
        }

        while (way.TryPop(out BackupSet? at))
            linked[at.Id] = below = at.Label.BaseId is null ? (at, null) : Build(at, below);
        return below;
    }

    private static (BackupSet? Set, PitrException? Why) Build(BackupSet set, (BackupSet? Set, PitrException? Why) below)
    {
        if (below.Set is not { } older)
            return (null, below.Why);
        string? why = null;
        if (older.Manifest.Digest != set.Label.BaseDigest)
            why = $"the digest of that one's manifest is {older.Manifest.Digest} instead of {set.Label.BaseDigest}";
        else if (older.Label.SystemId != set.Label.SystemId)
            why = "that one is of another database";
        else if (older.Bases.Count() + 2 > LengthMax)
            why = $"that one builds on others itself, so that more than {LengthMax} sets would have to be read";
        if (why is not null)
            return (null, RecoveryErrors.BackupBaseLost(set.Id, older.Id, why));
        BackupSet linked = set with { Base = older };
        LabelledFile? odd = set.Label.Files.FirstOrDefault(file => file.BaseGeneration is { } generation
            && (linked.BaseOf(file) is not { } copy || copy.Incarnation != file.Incarnation
                || copy.Generation != generation));
        return odd is null
            ? (linked, null)
            : (null, RecoveryErrors.BackupBaseLost(
                set.Id, older.Id, $"that one has no copy of '{odd.Name}' that it could build on"));
    }
}
