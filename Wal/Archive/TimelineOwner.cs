using System.Text.Json;

namespace Pitr.Wal;

/// <summary>What the newest owner object of a timeline says.</summary>
internal sealed record OwnerState(
    SystemIdentifier System, TimelineId Timeline, Lineage Lineage, EngineStart Start,
    DateTimeOffset Taken, DateTimeOffset Renewed, DateTimeOffset? Released);

/// <summary>
/// Which engine start may push a timeline into a store: a copy of a database has the same lineage as its source, and is
/// told apart here (H26).
/// </summary>
/// <remarks>
/// STATE  in the store: the objects <c>owner/TIMELINE-TAKE</c>. Take numbers only grow; an object is created by a
/// conditional create, and afterwards written only by the start that created it. The highest take owns the timeline. So
/// taking over needs no conditional replace, and of two that take over at once exactly one succeeds.
///
/// WHO MAY TAKE OVER  (the highest take is another start's)
///   released                                     yes: it was stopped in order, and perhaps moved or copied
///   same machine, boot, device and inode         yes: the database lock proves that the earlier start is over
///   same machine and inode, another boot, or one once it has not renewed for a while (<see cref="OwnerWatch"/>): after a
///     that is not known                            reboot it is over; on a clone of the machine it goes on
///   any other, fresh or stale                    no: staleness cannot be known, the owner may only be paused
///
/// INVARIANT  O1  Nothing is pushed by a start that has not taken the timeline in this store, and has not found itself
///            the highest take since its last push began.
/// </remarks>
internal sealed class TimelineOwner
{
    /// <summary>How often an owner notes that it is alive.</summary>
    public static TimeSpan RenewEvery => TimeSpan.FromMinutes(1);

    private const int Format = 1;
    private readonly IArchiveStore _store;
    private readonly ulong _take;
    private OwnerState _mine;

    private TimelineOwner(IArchiveStore store, ulong take, OwnerState mine) =>
        (_store, _take, _mine) = (store, take, mine);

    /// <summary>The state as last written by this start.</summary>
    public OwnerState State => _mine;

    /// <summary>Takes the timeline for this engine start.</summary>
    /// <param name="store">Where.</param>
    /// <param name="system">The database.</param>
    /// <param name="timeline">Its timeline.</param>
    /// <param name="lineage">The timeline's lineage.</param>
    /// <param name="start">Who takes it.</param>
    /// <param name="now">For people who look at the store.</param>
    /// <param name="watch">What this start has seen of owners so far; null: nothing.</param>
    /// <exception cref="RefusedException">ArchiveOwned: another place owns it, or may do so, or the number has another
    /// lineage.</exception>
    public static TimelineOwner Take(
        IArchiveStore store, SystemIdentifier system, TimelineId timeline, Lineage lineage, EngineStart start,
        DateTimeOffset now, OwnerWatch? watch = null)
    {
        var mine = new OwnerState(system, timeline, lineage, start, now, now, null);
        ulong highest = HighestTake(store, timeline);
        if (highest > 0)
        {
            OwnerState owner = Read(store, timeline, highest);
            RequireSameBranch(store, mine, owner);
            OwnerVerdict verdict = watch?.Look(owner, start) ?? OwnerWatch.AtOnce(owner, start);
            if (verdict == OwnerVerdict.Elsewhere)
                throw ArchiveErrors.Owned(store.Name, timeline, start.ToString(), Describe(owner));
            if (verdict == OwnerVerdict.Watched)
                throw ArchiveErrors.OwnerWatched(
                    store.Name, timeline, start.ToString(), Describe(owner), OwnerWatch.Wait);
        }
        string name = ObjectName.Owner(timeline, highest + 1);
        if (!store.TryPutIfAbsent(name, Encode(mine)))
        {
            OwnerState faster = Read(store, timeline, highest + 1);
            throw ArchiveErrors.Owned(store.Name, timeline, start.ToString(), Describe(faster));
        }
        var taken = new TimelineOwner(store, highest + 1, mine);
        taken.RequireStillMine();
        foreach (string older in store.List(ObjectName.OwnerPrefix))
        {
            // Takes below the last two can never be the highest again.
            if (ObjectName.TryParseOwner(older, out TimelineId of, out ulong take) && of == timeline
                && take + 1 <= highest)
                store.Delete(older);
        }
        return taken;
    }

    /// <summary>What the store says of a timeline's owner; null if none ever took it.</summary>
    public static OwnerState? Read(IArchiveStore store, TimelineId timeline) =>
        HighestTake(store, timeline) is var take and > 0 ? Read(store, timeline, take) : null;

    /// <summary>O1: called before each push.</summary>
    /// <exception cref="RefusedException">ArchiveOwned: another start has taken the timeline since.</exception>
    public void RequireStillMine()
    {
        ulong highest = HighestTake(_store, _mine.Timeline);
        OwnerState? owner = highest >= _take ? Read(_store, _mine.Timeline, highest) : null;
        if (highest != _take || owner!.Start != _mine.Start)
            throw ArchiveErrors.Owned(_store.Name, _mine.Timeline, _mine.Start.ToString(),
                owner is null ? "nobody any more (its owner object is gone)" : Describe(owner));
    }

    /// <summary>Notes that this start is alive, for people who look at the store.</summary>
    public void Renew(DateTimeOffset now)
    {
        RequireStillMine();
        Write(_mine with { Renewed = now });
    }

    /// <summary>Notes an orderly end: whoever starts the database next, wherever it then lies, takes over.</summary>
    public void Release(DateTimeOffset now)
    {
        RequireStillMine();
        Write(_mine with { Renewed = now, Released = now });
    }

    private void Write(OwnerState state)
    {
        _store.Put(ObjectName.Owner(state.Timeline, _take), Encode(state));
        _mine = state;
    }

    private static void RequireSameBranch(IArchiveStore store, OwnerState mine, OwnerState owner)
    {
        if (owner.System != mine.System)
            throw ArchiveErrors.ForeignSystem(store.Name, mine.System, owner.System);
        if (owner.Lineage != mine.Lineage)
            throw ArchiveErrors.TimelineTaken(store.Name, mine.Timeline, mine.Lineage, owner.Lineage);
    }

    private static string Describe(OwnerState owner) => owner.Released is { } released
        ? $"{owner.Start}, released {ArchiveJson.Text(released)}"
        : $"{owner.Start}, renewed {ArchiveJson.Text(owner.Renewed)}";

    private static ulong HighestTake(IArchiveStore store, TimelineId timeline)
    {
        ulong highest = 0;
        foreach (string name in store.List($"{ObjectName.OwnerPrefix}{timeline.Value:X8}-"))
        {
            if (ObjectName.TryParseOwner(name, out _, out ulong take))
                highest = Math.Max(highest, take);
        }
        return highest;
    }

    private static OwnerState Read(IArchiveStore store, TimelineId timeline, ulong take)
    {
        string name = ObjectName.Owner(timeline, take);
        OwnerState state = ArchiveJson.Read(
            store.Name, name, store.Get(name).Span, ArchiveJson.Default.OwnerJson, Format, static json => json.Format,
            static json => new OwnerState(
                new SystemIdentifier(ArchiveJson.Id(json.System)), new TimelineId(json.Timeline),
                new Lineage(ArchiveJson.Id(json.Lineage)),
                new EngineStart(
                    ArchiveJson.Id(json.Start), json.Machine, json.Boot ?? "", json.Folder, json.Device, json.Inode),
                ArchiveJson.Time(json.Taken), ArchiveJson.Time(json.Renewed),
                json.Released is { } released ? ArchiveJson.Time(released) : null));
        return state.Timeline == timeline
            ? state
            : throw ArchiveErrors.Damaged(store.Name, name, $"it is an owner object of timeline {state.Timeline}");
    }

    private static ReadOnlyMemory<byte> Encode(OwnerState state) => SealedText.Seal(JsonSerializer.SerializeToUtf8Bytes(
        new OwnerJson
        {
            Format = Format,
            System = state.System.ToString(),
            Timeline = state.Timeline.Value,
            Lineage = state.Lineage.ToString(),
            Start = state.Start.StartId.ToString("X16", null),
            Machine = state.Start.Machine,
            Boot = state.Start.BootId.Length == 0 ? null : state.Start.BootId,
            Folder = state.Start.Folder,
            Device = state.Start.Device,
            Inode = state.Start.Inode,
            Taken = ArchiveJson.Text(state.Taken),
            Renewed = ArchiveJson.Text(state.Renewed),
            Released = state.Released is { } released ? ArchiveJson.Text(released) : null,
        }, ArchiveJson.Default.OwnerJson));
}
