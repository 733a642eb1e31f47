using System.Text.Json;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// A copy of a datafile that is whole and was certified, though its set is not finished: object <c>copied/NAME.json</c>,
/// written after its fence ended well.
/// </summary>
internal sealed record CopyNote
{
    public const string Folder = "copied/";

    public required LabelledFile File { get; init; }

    /// <summary>As the manifest would list it.</summary>
    public required ManifestEntry Object { get; init; }

    /// <summary>Of the set that it builds on; null: it has all.</summary>
    public string? BaseDigest { get; init; }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RecoveryJson.Default.CopyNote);
}

/// <summary>A set that a backup has begun, which was cut off, and that another one may go on with.</summary>
/// <param name="BackupId">Its id.</param>
/// <param name="Attempts">How many have worked on it.</param>
/// <param name="Copies">What of it is whole and can be a part of a set that ends now, one for each datafile.</param>
/// <remarks>
/// A set that may be gone on with
/// <code>
///   has an intent, no manifest, and a copy that can be used       else there is nothing to go on with
///   is of this database, timeline and lineage, in this store      else it is somebody else's
///   builds on the same set                                        else its intent keeps another base (H35)
///   was begun in the half day before                              else expire may take it for dead meanwhile
/// </code>
/// A copy that can be used (H39): never one that was cut off itself
/// <code>
///   its note is there: its fence held until it was whole          else nobody knows what it is
///   the datafile is there, of the same incarnation                else it is another file (H15)
///   its (lineage, checkpoint LSN) lies on the path                (H14)
///   no datafile or table was made or dropped since                else replay from there would need what the catalogue
///                                                                 has forgotten (H23, H43)
///   the WAL from its checkpoint LSN on is there                   else what came after it is lost
/// </code>
/// So it need not be the state of now: it is older than the other copies, and replay begins with it.
/// </remarks>
internal sealed record UnfinishedSet(string BackupId, int Attempts, IReadOnlyList<CopyNote> Copies)
{
    public static readonly TimeSpan AgeMax = RetentionPlanner.RunningMax / 2;

    /// <summary>From where on its copies need WAL.</summary>
    public Lsn NeedsFromLsn => Copies.Min(static copy => copy.File.CheckpointLsn);

    /// <summary>The newest that this backup may go on with; null if there is none.</summary>
    /// <param name="store">The set's store.</param>
    /// <param name="control">The database now.</param>
    /// <param name="older">What the backup builds on.</param>
    /// <param name="before">When the backup began: what was begun later is another one's.</param>
    /// <param name="hasWalFrom">True if all WAL from there to now is there.</param>
    public static UnfinishedSet? Find(
        IArchiveStore store, ControlFile control, BackupSet? older, DateTimeOffset before, Func<Lsn, bool> hasWalFrom)
    {
        foreach (IGrouping<string, string> set in store.List(BackupSet.Folder)
            .Where(static name => name.IndexOf('/', BackupSet.Folder.Length) > 0)
            .GroupBy(static name => name[BackupSet.Folder.Length..name.IndexOf('/', BackupSet.Folder.Length)])
            .OrderByDescending(static set => set.Key, StringComparer.Ordinal))
        {
            string prefix = BackupSet.PrefixOf(set.Key);
            string[] names = [.. set.Select(name => name[prefix.Length..])];
            if (names.Contains(BackupSet.ManifestName) || !names.Any(IsNote)
                || IntentOf(store, set.Key) is not { } intent || !IsOf(intent, store, control, older, before))
                continue;
            CopyNote[] copies =
            [
                .. NotesOf(store, prefix, names).Where(note => CanBeUsed(note, control, older) && hasWalFrom(note.File.CheckpointLsn))
                    .GroupBy(static note => note.File.Id)
                    .Select(static notes => notes.MaxBy(static note => note.File.CheckpointLsn)!),
            ];
            if (copies.Length > 0)
                return new UnfinishedSet(set.Key, SetAttempt.LastOf(names), copies);
        }

        return null;
    }

    private static bool IsOf(
        BackupIntent intent, IArchiveStore store, ControlFile control, BackupSet? older, DateTimeOffset before) =>
        intent.SystemId == control.SystemId && intent.Timeline == control.Timeline && intent.Lineage == control.Lineage
        && intent.SetStore == store.Name && intent.BaseId == older?.Id
        && intent.BeganAt < before && before - intent.BeganAt <= AgeMax;

    private static bool CanBeUsed(CopyNote note, ControlFile control, BackupSet? older) =>
        control.Catalogue.File(note.File.Id) is { } now && now.Name == note.File.Name
        && now.Incarnation == note.File.Incarnation && now.Generation >= note.File.Generation
        && control.Catalogue.Lsn <= note.File.CheckpointLsn
        && TimelineHistory.Of(control.SystemId, control.History)
            .PathContains(note.File.Lineage, note.File.CheckpointLsn)
        && (note.File.BaseGeneration is null || note.BaseDigest == older?.Manifest.Digest);

    private static bool IsNote(string name) => name.StartsWith(CopyNote.Folder, StringComparison.Ordinal);

    private static BackupIntent? IntentOf(IArchiveStore store, string backupId)
    {
        try
        {
            return store.TryGet(BackupSet.PrefixOf(backupId) + BackupSet.IntentName) is { } bytes
                ? BackupIntent.Parse(backupId, bytes.Span)
                : null;
        }
        catch (DamageException)
        {
            return null; // nobody knows whose it is; expire says so
        }
    }

    private static IEnumerable<CopyNote> NotesOf(IArchiveStore store, string prefix, IEnumerable<string> names)
    {
        foreach (string name in names.Where(IsNote))
        {
            CopyNote? note = null;
            try
            {
                if (store.TryGet(prefix + name) is { } bytes)
                    note = SetJson.Parse(prefix, name, bytes.Span, RecoveryJson.Default.CopyNote);
            }
            catch (DamageException)
            {
                continue; // its copy is made anew
            }

            if (note is not null && ObjectName.IsValid(note.Object.Name))
                yield return note;
        }
    }
}
