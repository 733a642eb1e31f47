using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>A set that is none: unfinished, or unreadable.</summary>
/// <param name="BackupId">Its id.</param>
/// <param name="Why">What is wrong with it, for people.</param>
/// <param name="Damage">What is told of it where it is asked for; null if it is only unfinished.</param>
internal sealed record VoidSet(string BackupId, string Why, PitrException? Damage);

/// <summary>Which backup sets a store has: read once, when it is made.</summary>
internal sealed class BackupCatalog
{
    private const string Top = "top"; // a set without an id that could be read

    private readonly IArchiveStore _store;

    private BackupCatalog(IArchiveStore store, IReadOnlyList<BackupSet> sets, IReadOnlyList<VoidSet> others)
    {
        _store = store;
        Sets = sets;
        Others = others;
    }

    /// <summary>Complete sets, partial ones too, by the time of their stop. What they build on is there.</summary>
    public IReadOnlyList<BackupSet> Sets { get; }

    /// <summary>Sets without manifest, or whose label or manifest can't be read, or whose base is not there.</summary>
    public IReadOnlyList<VoidSet> Others { get; }

    public static BackupCatalog Read(IArchiveStore store) => ReadWhile(store, CancellationToken.None);

    /// <summary>Reads it, for who may be gone before its end.</summary>
    /// <exception cref="OperationCanceledException">Between two sets.</exception>
    public static BackupCatalog ReadWhile(IArchiveStore store, CancellationToken cancellation)
    {
        var sets = new List<BackupSet>();
        var others = new List<VoidSet>();
        if (store.Stat(BackupSet.ManifestName) is not null)
            Add(store, "", Top, sets, others);
        else if (store.Stat(BackupSet.LabelName) is not null || store.List(BackupSet.DatafileFolder).Count > 0)
            others.Add(new VoidSet(Top, "it has no manifest", RecoveryErrors.SetUnfinished(store.Name)));
        foreach (string backupId in Ids(store))
        {
            cancellation.ThrowIfCancellationRequested();
            Add(store, BackupSet.PrefixOf(backupId), backupId, sets, others);
        }
        if (store is TarStore && sets.Count + others.Count == 0) // cut off before its first object was whole
            others.Add(new VoidSet(Top, "it has no manifest", RecoveryErrors.SetUnfinished(store.Name)));
        sets.Sort((left, right) => left.Label.StopTime != right.Label.StopTime
            ? left.Label.StopTime.CompareTo(right.Label.StopTime)
            : string.CompareOrdinal(left.Id, right.Id));
        SetChains.Link(store.Name, sets, others);
        return new BackupCatalog(store, sets, others);
    }

    /// <summary>The set of this id.</summary>
    /// <exception cref="NotFoundException">BackupUnknown.</exception>
    /// <exception cref="RefusedException">BackupVoid: it has no manifest. BackupBaseLost.</exception>
    /// <exception cref="DamageException">BackupDamaged: label or manifest.</exception>
    public BackupSet Get(string backupId)
    {
        if (Sets.FirstOrDefault(set => set.Id == backupId) is { } found)
            return found;
        VoidSet other = Others.FirstOrDefault(set => set.BackupId == backupId)
            ?? throw RecoveryErrors.BackupUnknown(_store.Name, backupId);
        throw other.Damage ?? RecoveryErrors.BackupVoid(backupId, other.Why);
    }

    /// <summary>Registrations and intents in a store, own or archive (H35).</summary>
    public static IReadOnlyList<BackupIntent> Intents(IArchiveStore store)
    {
        var intents = new List<BackupIntent>();
        foreach (string backupId in Ids(store))
        {
            if (store.TryGet(BackupSet.PrefixOf(backupId) + BackupSet.IntentName) is { } bytes)
                intents.Add(BackupIntent.Parse(backupId, bytes.Span));
        }
        return intents;
    }

    private static SortedSet<string> Ids(IArchiveStore store)
    {
        var ids = new SortedSet<string>(StringComparer.Ordinal);
        foreach (string name in store.List(BackupSet.Folder))
        {
            int end = name.IndexOf('/', BackupSet.Folder.Length);
            if (end > 0)
                ids.Add(name[BackupSet.Folder.Length..end]);
        }
        return ids;
    }

    private static void Add(
        IArchiveStore store, string prefix, string backupId, List<BackupSet> sets, List<VoidSet> others)
    {
        try
        {
            if (store.TryGet(prefix + BackupSet.ManifestName) is not { } manifestBytes)
            {
                // An archive's registration of a set that lies in another store is no set here.
                if (store.TryGet(prefix + BackupSet.IntentName) is not { } intent
                    || store.List(prefix).Count > 1
                    || BackupIntent.Parse(backupId, intent.Span).SetStore == store.Name)
                    others.Add(new VoidSet(backupId, "it has no manifest, so it is unfinished", Damage: null));
                return;
            }
            BackupManifest manifest = BackupManifest.Parse(backupId, manifestBytes.Span);
            ReadOnlyMemory<byte> labelBytes = store.TryGet(prefix + BackupSet.LabelName)
                ?? throw RecoveryErrors.BackupDamaged(backupId, BackupSet.LabelName, "it is not there");
            BackupLabel label = BackupLabel.Parse(backupId, labelBytes.Span);
            if (label.BackupId != manifest.BackupId || (prefix.Length > 0 && label.BackupId != backupId))
            {
                throw RecoveryErrors.BackupDamaged(
                    backupId, BackupSet.LabelName, $"it is the label of set '{label.BackupId}'");
            }
            var set = new BackupSet(store, prefix, label, manifest);
            set.Verify(BackupSet.LabelName, CancellationToken.None);
            foreach (LabelledFile file in label.Files)
            {
                ManifestEntry? listed = manifest.Find(file.ObjectName);
                if (listed is null || (file.BaseGeneration is null && listed.LengthBytes != file.LengthBytes))
                    throw RecoveryErrors.BackupDamaged(
                        backupId, file.ObjectName, "label and manifest do not agree on it");
            }
            sets.Add(set);
        }
        catch (DamageException) when (store.Stat(prefix + BackupSet.ManifestName) is null)
        {
            others.Add(new VoidSet(backupId, "it was removed just now", Damage: null)); // an expire takes the manifest first
        }
        catch (DamageException damage)
        {
            others.Add(new VoidSet(backupId, damage.Message, damage));
        }
        catch (RefusedException newer) when (newer.Code == ErrorCode.FormatVersion)
        {
            others.Add(new VoidSet(backupId, newer.Message, newer));
        }
    }
}
