using System.Globalization;
using System.Text.Json;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// Who makes a set: a backup that was cut off is continued by another one, of the same set, and from then on by no other.
/// </summary>
/// <remarks>
/// <code>
///   backups/ID/attempts/N.json   created if absent by who goes on as the N-th (from 2 on), or by who removes the set
/// </code>
/// INVARIANTS
///   A1  Of all who have begun a set only the last can finish it: whoever finds the next number taken, before or after his
///       manifest, has a set that is void; whoever takes a number and then finds a manifest leaves the set alone.
///   A2  Only who has taken the next number removes what is there: nobody goes on with a set that is being removed.
///   A3  An attempt writes under names of its own: nobody writes over a copy that another one counts.
/// THREADS  one.
/// </remarks>
internal sealed class SetAttempt(IArchiveStore store, string backupId, int number)
{
    private const string Folder = "attempts/";

    private readonly string _prefix = BackupSet.PrefixOf(backupId);

    /// <summary>Goes on with the set; false if somebody else has begun to, or has finished it (A1).</summary>
    public bool TryBegin(DateTimeOffset now)
    {
        if (number == 1)
            return true;
        if (!store.TryPutIfAbsent(_prefix + NameOf(number), Note(now)))
            return false;
        return store.Stat(_prefix + BackupSet.ManifestName) is null;
    }

    /// <exception cref="RefusedException">BackupVoid: another backup goes on with the set.</exception>
    public void RequireLast()
    {
        if (store.Stat(_prefix + NameOf(number + 1)) is not null)
            throw RecoveryErrors.BackupVoid(backupId, "another backup has gone on with it meanwhile");
    }

    /// <summary>Nobody goes on with the set from here on; false if somebody has begun to (A2).</summary>
    public bool TryEnd(DateTimeOffset now) => store.TryPutIfAbsent(_prefix + NameOf(number + 1), Note(now));

    /// <summary>After all else of a set that is removed.</summary>
    public void RemoveEnd() => store.Delete(_prefix + NameOf(number + 1));

    /// <summary>A name of this attempt's own (A3).</summary>
    /// <param name="name">That of the first: <c>datafiles/NAME.pitr</c>.</param>
    public string Own(string name) => number == 1
        ? name
        : name.Insert(name.LastIndexOf('.'), string.Create(CultureInfo.InvariantCulture, $".{number}"));

    /// <summary>What <see cref="TryEnd"/> has made.</summary>
    public bool IsEnd(string name) => name == NameOf(number + 1);

    public static bool IsOne(string name) => name.StartsWith(Folder, StringComparison.Ordinal);

    /// <summary>The number of the last attempt among the objects of a set.</summary>
    public static int LastOf(IEnumerable<string> names) => names
        .Where(IsOne)
        .Select(static name => int.TryParse(
            Path.GetFileNameWithoutExtension(name.AsSpan(Folder.Length)), CultureInfo.InvariantCulture, out int number)
                ? number : 1)
        .Append(1).Max();

    private static string NameOf(int number) =>
        string.Create(CultureInfo.InvariantCulture, $"{Folder}{number}.json");

    private static byte[] Note(DateTimeOffset now) => JsonSerializer.SerializeToUtf8Bytes(
        new AttemptNote { BeganAt = now }, RecoveryJson.Default.AttemptNote);
}

/// <summary>The content of an attempt; that the object is there is what counts.</summary>
internal sealed record AttemptNote
{
    public required DateTimeOffset BeganAt { get; init; }
}
