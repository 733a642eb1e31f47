using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Carries out a plan of retention, exactly.</summary>
/// <remarks>
/// ORDER  each deletion durable before the next (S4 of IArchiveStore)
/// <code>
///   1. no backup was begun or ended, nothing pinned, no restore begun or gone on with since the plan was made
///                                                                                 else refused, nothing removed
///   2. of each set that goes: once more, that no restore was begun; its manifest, incremental ones before their bases: there
///      is no such set any more. Then again: one that was begun just before may read it, so the manifest is put back
///   3. of each set that goes: its objects, and last its intent
///   4. registrations of sets that are no more, restores that ended long ago
///   5. WAL, of each timeline: once more, that no restore was begun; the note of what goes (ExpiredNote); then again, for
///      one that was begun just before may read it: the note is taken back. Then the WAL, the oldest first
/// </code>
/// A crash between any two leaves what a second expire finds and removes: a set without manifest is unfinished, WAL that
/// is left is older than what is needed, or lies behind a gap that is told. Of an unfinished set the intent goes first,
/// then its manifest is looked for: a backup that ends just then writes its manifest, then looks for its intent, so one of
/// both gives way (H35).
/// THREADS  one. FAILURE  StorageFailedException: what was removed is removed; expire again.
/// </remarks>
internal static class RetentionRun
{
    /// <summary>Removes what the plan says.</summary>
    /// <param name="plan">What to remove.</param>
    /// <param name="request">What it was made from: its stores.</param>
    /// <param name="cancellation">Ends it between two deletions.</param>
    /// <exception cref="RefusedException">RetentionOutdated: make the plan again; nothing more was removed.</exception>
    public static void CarryOut(RetentionPlan plan, RetentionRequest request, CancellationToken cancellation)
    {
        RequireUnchanged(plan, request);
        IArchiveStore store = request.SetStore;
        RetainedSet[] gone = [.. plan.Sets.Where(set => set.IsRemoved).OrderByDescending(set => set.StopTime)];
        foreach (RetainedSet set in gone)
        {
            cancellation.ThrowIfCancellationRequested();
            string prefix = BackupSet.PrefixOf(set.BackupId);
            if (set.State == "unfinished")
            {
                store.Delete(prefix + BackupSet.IntentName);
                if (store.Stat(prefix + BackupSet.ManifestName) is not null)
                    throw RecoveryErrors.RetentionOutdated($"backup {set.BackupId} ended just now");
                continue;
            }
            if (store.Stat(prefix + BackupSet.PinName) is not null)
                throw RecoveryErrors.RetentionOutdated($"set {set.BackupId} is pinned");
            RemoveManifest(plan, store, prefix + BackupSet.ManifestName, request.Now);
        }
        foreach (RetainedSet set in gone)
            RemoveObjects(store, BackupSet.PrefixOf(set.BackupId), cancellation);
        foreach (Registration old in plan.Registrations)
        {
            cancellation.ThrowIfCancellationRequested();
            StoreOf(request, old.Store).Delete(BackupSet.PrefixOf(old.BackupId) + BackupSet.IntentName);
        }
        foreach (Registration old in plan.EndedRestores)
        {
            cancellation.ThrowIfCancellationRequested();
            RequireNoRestore(plan, StoreOf(request, old.Store), request.Now);
            StoreOf(request, old.Store).Delete(ObjectName.Restore(old.BackupId));
        }
        foreach (RemovedWal wal in plan.Wal)
        {
            IArchiveStore archive = StoreOf(request, wal.Store);
            Announce(plan, archive, wal.Stretches, request.Now);
            foreach (string name in wal.Objects)
            {
                cancellation.ThrowIfCancellationRequested();
                archive.Delete(name);
            }
            foreach (ArchiveGap stretch in wal.Stretches)
                ExpiredNote.Write(archive, plan.SystemId!.Value, stretch, request.Now);
        }
    }

    /// <summary>
    /// A restore notes itself and then looks for notes of WAL that goes; here that is noted and then restores are looked for:
    /// so one of both gives way (H48).
    /// </summary>
    private static void Announce(
        RetentionPlan plan, IArchiveStore archive, IReadOnlyList<ArchiveGap> stretches, DateTimeOffset now)
    {
        RequireNoRestore(plan, archive, now);
        var back = new List<Action>();
        foreach (ArchiveGap stretch in stretches)
            back.Add(ExpiredNote.Announce(archive, plan.SystemId!.Value, stretch, now));
        try
        {
            RequireNoRestore(plan, archive, now);
        }
        catch (PitrException because) when (because is RefusedException or DamageException) // a note that can't be read, too
        {
            back.ForEach(static takeBack => takeBack());
            throw;
        }
    }

    /// <summary>
    /// A restore notes itself and then looks for the manifest; here it goes and then the notes are looked for: so one of
    /// both gives way, and no object goes that is being read (H48).
    /// </summary>
    private static void RemoveManifest(RetentionPlan plan, IArchiveStore sets, string name, DateTimeOffset now)
    {
        RequireNoRestore(plan, sets, now); // before each one: those before it may have taken long
        ReadOnlyMemory<byte>? manifest = sets.TryGet(name);
        sets.Delete(name);
        try
        {
            RequireNoRestore(plan, sets, now);
        }
        catch (PitrException because)
            when (manifest is not null && because is RefusedException or DamageException) // a note that can't be read, too
        {
            sets.Put(name, manifest!.Value);
            throw;
        }
    }

    private static void RemoveObjects(IArchiveStore store, string prefix, CancellationToken cancellation)
    {
        string last = prefix + BackupSet.IntentName;
        foreach (string name in store.List(prefix))
        {
            cancellation.ThrowIfCancellationRequested();
            if (name != last)
                store.Delete(name);
        }
        store.Delete(last);
    }

    private static void RequireUnchanged(RetentionPlan plan, RetentionRequest request)
    {
        HashSet<Registration> seen = [.. plan.Seen];
        foreach (IArchiveStore store in request.Archives.ThatList().Append(request.SetStore).DistinctBy(store => store.Name))
        {
            foreach (BackupIntent intent in BackupCatalog.Intents(store))
            {
                if (!seen.Contains(new Registration(store.Name, intent.BackupId)))
                    throw RecoveryErrors.RetentionOutdated($"backup {intent.BackupId} was begun since");
            }
            RequireNoRestore(plan, store, request.Now);
        }
    }

    private static void RequireNoRestore(RetentionPlan plan, IArchiveStore store, DateTimeOffset now)
    {
        foreach (RestoreIntent restore in RestoreHold.All(store))
        {
            var noted = new Registration(store.Name, restore.RecoveryId);
            if (!plan.SeenRestores.Contains(noted))
                throw RecoveryErrors.RetentionOutdated($"restore {restore.RecoveryId} was begun since");
            if (plan.EndedRestores.Contains(noted) && !RestoreHold.HasEnded(restore, now))
                throw RecoveryErrors.RetentionOutdated($"restore {restore.RecoveryId} was gone on with since");
        }
    }

    private static IArchiveStore StoreOf(RetentionRequest request, string name) =>
        request.Archives.Append(request.SetStore).First(store => store.Name == name);
}
