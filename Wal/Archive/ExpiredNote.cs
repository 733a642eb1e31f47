using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// WAL of a timeline that an expire has removed from a store, noted there before it goes: what is missing then is nobody's
/// loss, and nobody waits for it.
/// </summary>
/// <remarks>
/// A note bridges nothing: who needs what is missing is told that it is missing. What it names and is there counts; but
/// for a restore that begins within a day of the note: what is there may be about to go (H48).
/// By their names, since a note that cannot be read says as much.
/// </remarks>
internal static class ExpiredNote
{
    private const int Format = 1;

    /// <summary>Notes a stretch; notes that it touches become one with it.</summary>
    public static void Write(
        IArchiveStore store, SystemIdentifier system, ArchiveGap stretch, DateTimeOffset now)
    {
        List<(string Name, ArchiveGap Stretch)> touched = [.. Notes(store, stretch.Timeline)
            .Where(note => note.Stretch.From <= stretch.To && stretch.From <= note.Stretch.To)];
        ArchiveGap whole = touched.Aggregate(stretch, static (sum, note) => sum with
        {
            From = Lsn.Min(sum.From, note.Stretch.From),
            To = Lsn.Max(sum.To, note.Stretch.To),
        });
        string name = NameOf(whole);
        store.TryPutIfAbsent(name, BytesOf(system, whole, now));
        foreach ((string former, ArchiveGap _) in touched.Where(note => note.Name != name))
            store.Delete(former);
    }

    /// <summary>
    /// Notes a stretch by itself before anything of it goes; <see cref="Write"/> follows when it has gone. The result takes
    /// the note back as it was, for when nothing goes.
    /// </summary>
    public static Action Announce(
        IArchiveStore store, SystemIdentifier system, ArchiveGap stretch, DateTimeOffset now)
    {
        string name = NameOf(stretch);
        ReadOnlyMemory<byte>? before = store.TryGet(name); // of an expire that died
        store.Put(name, BytesOf(system, stretch, now));
        return () =>
        {
            if (before is { } former)
                store.Put(name, former);
            else
                store.Delete(name);
        };
    }

    /// <summary>
    /// What of a timeline was noted at a moment or after it, in order: it has gone, or is about to. A note that cannot be read
    /// may be as young.
    /// </summary>
    public static ImmutableArray<ArchiveGap> Since(IArchiveStore store, TimelineId timeline, DateTimeOffset moment)
    {
        ImmutableArray<ArchiveGap> young = [];
        foreach ((string name, ArchiveGap stretch) in Notes(store, timeline))
        {
            if (TimeOf(store, name) is not { } time || time >= moment)
                young = GapNote.Joined(young, stretch);
        }
        return young;
    }

    /// <summary>What has expired of a timeline, in order.</summary>
    public static ImmutableArray<ArchiveGap> Of(IArchiveStore store, TimelineId timeline)
    {
        ImmutableArray<ArchiveGap> all = [];
        foreach ((string _, ArchiveGap stretch) in Notes(store, timeline))
            all = GapNote.Joined(all, stretch);
        return all;
    }

    /// <summary>What of a stretch has not expired.</summary>
    public static IEnumerable<ArchiveGap> Without(ArchiveGap stretch, ImmutableArray<ArchiveGap> expired)
    {
        Lsn at = stretch.From;
        foreach (ArchiveGap gone in expired.Where(gone => gone.Timeline == stretch.Timeline && gone.To > stretch.From))
        {
            if (gone.From >= stretch.To)
                break;
            if (gone.From > at)
                yield return stretch with { From = at, To = gone.From };
            at = Lsn.Max(at, gone.To);
        }
        if (at < stretch.To)
            yield return stretch with { From = at };
    }

    private static string NameOf(ArchiveGap stretch) => ObjectName.Expired(stretch.Timeline, stretch.From, stretch.To);

    private static ReadOnlyMemory<byte> BytesOf(SystemIdentifier system, ArchiveGap stretch, DateTimeOffset now) =>
        SealedText.Seal(JsonSerializer.SerializeToUtf8Bytes(
            new ExpiredJson
            {
                Format = Format,
                System = system.ToString(),
                Timeline = stretch.Timeline.Value,
                From = stretch.From.ToString(),
                To = stretch.To.ToString(),
                Time = ArchiveJson.Text(now),
            }, ArchiveJson.Default.ExpiredJson));

    /// <summary>Null if the note cannot be read, or has become one with others just now.</summary>
    private static DateTimeOffset? TimeOf(IArchiveStore store, string name)
    {
        try
        {
            return store.TryGet(name) is { } bytes
                ? ArchiveJson.Read(
                    store.Name, name, bytes.Span, ArchiveJson.Default.ExpiredJson, Format, static json => json.Format,
                    static json => (DateTimeOffset?)ArchiveJson.Time(json.Time))
                : null;
        }
        catch (PitrException unreadable) when (unreadable is DamageException or RefusedException)
        {
            return null;
        }
    }

    private static IEnumerable<(string Name, ArchiveGap Stretch)> Notes(IArchiveStore store, TimelineId timeline)
    {
        foreach (string name in store.List(
            string.Create(CultureInfo.InvariantCulture, $"{ObjectName.ExpiredPrefix}{timeline.Value:X8}-")))
        {
            if (ObjectName.TryParseExpired(name, out _, out Lsn from, out Lsn to))
                yield return (name, new ArchiveGap(timeline, from, to));
        }
    }
}
