using System.Collections.Immutable;
using System.Text.Json;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// That a restore is being carried out: object <c>restores/ID.json</c> in every store that it reads from. Expire keeps what
/// it names while it is younger than <see cref="RetentionPlanner.RunningMax"/> (H48).
/// </summary>
internal sealed record RestoreIntent
{
    public required string RecoveryId { get; init; }
    public required SystemIdentifier SystemId { get; init; }

    /// <summary>The set that it copies; null: none.</summary>
    public string? BackupId { get; init; }

    /// <summary>The end of the path that it follows.</summary>
    public required TimelineId Timeline { get; init; }
    public required Lineage Lineage { get; init; }

    /// <summary>WAL of that path from here on is kept.</summary>
    public required Lsn FromLsn { get; init; }

    /// <summary>When it was begun, gone on with, or said last that it goes on.</summary>
    public required DateTimeOffset BeganAt { get; init; }

    /// <summary>Where it restores to: for people.</summary>
    public required string Folder { get; init; }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RecoveryJson.Default.RestoreIntent);
}

/// <summary>Keeps expire from what a restore needs while it is carried out.</summary>
/// <remarks>
/// ORDER  of a restore, into a new folder or in place: plan · <see cref="While"/>: <see cref="Register"/>,
/// <see cref="Require"/>, since an expire may have taken something between the plan and the note, or have noted that it is
/// about to, copy · replay, promote · <see cref="Remove"/>. Whoever goes on with one that died or was paused registers again
/// and requires the WAL that it has not replayed, for its note may have been too old. An expire that was planned before the note
/// looks for it before it removes anything, and at each set (<see cref="RetentionRun"/>). The recovery of one datafile does
/// the same before it takes the file over.
/// A restore that died, or is paused for longer than a day, holds nothing any more: then going on may be refused, and
/// nothing is lost.
/// BEST EFFORT  a store that can't be written to, a tar and a store of commands take no note: a restore needs to read only.
/// There, too, it is refused if something goes missing.
/// THREADS  one.
/// </remarks>
internal sealed class RestoreHold
{
    /// <summary>How often a long one says that it goes on.</summary>
    public static readonly TimeSpan RenewEvery = TimeSpan.FromHours(1);

    private readonly IReadOnlyList<IArchiveStore> _stores;
    private readonly TimeProvider _clock;
    private readonly string _name;
    private RestoreIntent _intent;
    private long _renewed;

    private RestoreHold(RestoreIntent intent, IEnumerable<IArchiveStore> stores, TimeProvider clock)
    {
        (_intent, _clock, _name) = (intent, clock, ObjectName.Restore(intent.RecoveryId));
        _stores = [.. stores.Where(static store => store.Abilities == StoreAbilities.All && store is not TarStore)
            .DistinctBy(static store => store.Place)];
    }

    /// <summary>Of a plan; nothing is written yet.</summary>
    /// <param name="plan">What is carried out.</param>
    /// <param name="folder">Where the database lies.</param>
    /// <param name="stores">What it reads from.</param>
    /// <param name="clock">For the age.</param>
    public static RestoreHold Of(
        RecoveryPlan plan, string folder, IEnumerable<IArchiveStore> stores, TimeProvider clock) => new(
        new RestoreIntent
        {
            RecoveryId = plan.RecoveryId,
            SystemId = plan.SystemId,
            BackupId = plan.BackupId,
            Timeline = plan.Timeline,
            Lineage = plan.Path[^1].Lineage,
            FromLsn = plan.StartLsn,
            BeganAt = clock.GetUtcNow(),
            Folder = folder,
        },
        stores, clock);

    /// <summary>From here on expire keeps what the restore needs; again: it goes on.</summary>
    public void Register()
    {
        _renewed = _clock.GetTimestamp();
        _intent = _intent with { BeganAt = _clock.GetUtcNow() };
        InEach(store => store.Put(_name, _intent.ToBytes()));
    }

    /// <summary>Says that it goes on, if it has not for an hour.</summary>
    public void RenewIfDue()
    {
        if (_clock.GetElapsedTime(_renewed) >= RenewEvery)
            Register();
    }

    /// <summary>It is over: expire is free again.</summary>
    public void Remove() => InEach(store => store.Delete(_name));

    /// <summary>
    /// Copies what was planned while expire keeps it: what it reads is there still, or nothing is copied. When it
    /// returns the note stays, for what comes after the copies; if it fails the note is taken back.
    /// </summary>
    /// <param name="set">The set that is copied; null: none.</param>
    /// <param name="wal">What comes out of the stores.</param>
    /// <param name="stores">Where all of that is.</param>
    /// <param name="copy">Calls <see cref="RenewIfDue"/> as it goes on.</param>
    /// <exception cref="PitrException">As <see cref="Require"/>, and what the copying throws.</exception>
    public void While(
        BackupSet? set, IEnumerable<PlannedWal> wal, IReadOnlyList<IArchiveStore> stores, Action<RestoreHold> copy)
    {
        Register();
        try
        {
            Require(set, wal, stores, _clock.GetUtcNow());
            copy(this);
        }
        catch
        {
            Remove();
            throw;
        }
    }

    /// <summary>What was planned is there still, and no expire is about to take it.</summary>
    /// <remarks>
    /// What an expire that died has noted and not taken is refused for a day: nobody can tell it from one that goes on.
    /// </remarks>
    /// <exception cref="PitrException">RefusedException WalGap; NotFoundException BackupUnknown.</exception>
    public static void Require(
        BackupSet? set, IEnumerable<PlannedWal> wal, IReadOnlyList<IArchiveStore> stores, DateTimeOffset now)
    {
        if (set is not null && set.Store.Stat(set.Prefix + BackupSet.ManifestName) is null)
            throw RecoveryErrors.BackupUnknown(set.Store.Name, set.Id);
        PlannedWal[] needed = [.. wal];
        if (needed.Length == 0)
            return;
        // First the notes: of what is noted after that, this restore is found; of what has gone before it, the names are gone.
        Dictionary<TimelineId, ImmutableArray<ArchiveGap>[]> going = needed.Select(static part => part.Timeline).Distinct()
            .ToDictionary(static of => of, of => stores.Select(
                store => ExpiredNote.Since(store, of, now - RetentionPlanner.RunningMax)).ToArray());
        ArchiveCatalog? own = set is { Label.IncludesWal: true } ? ArchiveCatalog.Load(set.AsStore()) : null;
        ArchiveCatalog[] catalogs = [.. stores.Select(ArchiveCatalog.Load)];
        foreach (PlannedWal part in needed)
        {
            if (own is not null && IsIn(own, part))
                continue;
            int[] having = [.. Enumerable.Range(0, catalogs.Length).Where(i => IsIn(catalogs[i], part))];
            if (having.Length == 0)
                throw RecoveryErrors.WalGap(part.Timeline, part.FromLsn, part.ToLsn, part.Source);
            if (having.All(i => IsIn(going[part.Timeline][i], part)))
                throw RecoveryErrors.WalExpiring(part.Timeline, part.FromLsn, part.ToLsn, stores[having[0]].Name);
        }
    }

    private static bool IsIn(ArchiveCatalog catalog, PlannedWal part) =>
        catalog.Source(part.Timeline, part.Number, part.FromLsn, part.ToLsn) is { } there && there.To >= part.ToLsn;

    private static bool IsIn(ImmutableArray<ArchiveGap> going, PlannedWal part) =>
        going.Any(stretch => stretch.From < part.ToLsn && part.FromLsn < stretch.To);

    /// <summary>It has not said for a day that it goes on: what it read may go.</summary>
    public static bool HasEnded(RestoreIntent restore, DateTimeOffset now) => now - restore.BeganAt > RetentionPlanner.RunningMax;

    /// <summary>The restores that a store knows of.</summary>
    /// <exception cref="DamageException">One can't be read, so what it protects is not known.</exception>
    public static IReadOnlyList<RestoreIntent> All(IArchiveStore store)
    {
        var intents = new List<RestoreIntent>();
        foreach (string name in store.List(ObjectName.RestorePrefix))
        {
            if (store.TryGet(name) is { } bytes)
                intents.Add(SetJson.Parse(store.Name, name, bytes.Span, RecoveryJson.Default.RestoreIntent));
        }
        return intents;
    }

    private void InEach(Action<IArchiveStore> step)
    {
        foreach (IArchiveStore store in _stores)
        {
            try
            {
                step(store);
            }
            catch (StorageFailedException)
            {
                // Best effort: who may only read restores all the same.
            }
        }
    }
}
