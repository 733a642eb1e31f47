using System.Text.Encodings.Web;
using System.Text.Json;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// Changes which stores <c>pitr.json</c> names, and nothing else in it: comments, order and members that this program
/// does not know stay as the operator wrote them.
/// </summary>
/// <remarks>
/// ORDER  the new text is read back before it replaces the old one in one rename (<see cref="DurableReplace"/>); when a
/// method returns, the change is durable.
/// FAILURE  RefusedException SettingsInvalid: the file is not JSON of the known form; then it stays as it is.
/// StorageFailedException: it may say either, now and after a crash; the same change once more, or the contrary one,
/// makes it say one of both.
/// </remarks>
internal static class StoresInSettings
{
    private const string Name = "stores";

    /// <summary>Adds one at the end, unless one is there that is meant; writes in any case.</summary>
    public static void Add(IFileSystem files, string folder, string store, Predicate<string> isMeant) =>
        Change(files, folder, stores => stores.Any(known => isMeant(known)) ? [.. stores] : [.. stores, store]);

    /// <summary>Takes out all that are meant; false if there is none: then it writes only if the last change failed.</summary>
    public static bool Remove(IFileSystem files, string folder, Predicate<string> isMeant, bool lastHasFailed = false)
    {
        bool isNamed = (DatabaseSettings.Read(files, folder).Stores ?? []).Any(store => isMeant(store));
        if (!isNamed && !lastHasFailed)
            return false;
        Change(files, folder, stores => [.. stores.Where(store => !isMeant(store))]);
        return isNamed;
    }

    private static void Change(IFileSystem files, string folder, Func<IReadOnlyList<string>, string[]> change)
    {
        DatabaseSettings before = DatabaseSettings.Read(files, folder);
        string[] stores = change(before.Stores ?? []);
        string path = Path.Combine(folder, DatabaseSettings.FileName);
        if (files.Stat(path) is null)
        {
            (before with { Stores = stores }).Write(files, folder);
            return;
        }

        byte[] text;
        using (IFileHandle file = files.Open(path, FileOpen.Read))
        {
            text = new byte[file.LengthBytes];
            text = text[..file.Read(0, text)];
        }
        byte[] changed = Replaced(text, stores);
        Invariant.Require(
            DatabaseSettings.Parse(changed).Stores?.SequenceEqual(stores) is true, "B1",
            $"'{path}' would not say what it is to say of its stores.");
        DurableReplace.Write(files, path, changed);
    }

    /// <summary>The text with another list of stores in the place of the one that it has.</summary>
    public static byte[] Replaced(ReadOnlySpan<byte> text, IReadOnlyList<string> stores)
    {
        byte[] list = ListOf(stores);
        (int begin, int end) = PlaceOf(text, out bool isThere, out bool hasMembers);
        byte[] piece = isThere ? list
            : [.. "\n  \"stores\": "u8, .. list, .. hasMembers ? ","u8 : "\n"u8];
        return [.. text[..begin], .. piece, .. text[end..]];
    }

    private static byte[] ListOf(IReadOnlyList<string> stores)
    {
        var list = new List<byte> { (byte)'[' };
        foreach (string store in stores)
        {
            list.AddRange(list.Count > 1 ? ", "u8 : ""u8);
            list.Add((byte)'"');
            list.AddRange(JsonEncodedText.Encode(store, JavaScriptEncoder.UnsafeRelaxedJsonEscaping).EncodedUtf8Bytes);
            list.Add((byte)'"');
        }
        list.Add((byte)']');
        return [.. list];
    }

    /// <summary>From where to where the list stands; if it does not, the place just inside of the object.</summary>
    private static (int Begin, int End) PlaceOf(ReadOnlySpan<byte> text, out bool isThere, out bool hasMembers)
    {
        var reader = new Utf8JsonReader(text, new JsonReaderOptions
        {
            CommentHandling = JsonCommentHandling.Skip,
            AllowTrailingCommas = true,
        });
        (isThere, hasMembers) = (false, false);
        int inside = -1;
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.StartObject && inside < 0)
                inside = (int)reader.BytesConsumed;
            if (reader.TokenType != JsonTokenType.PropertyName || reader.CurrentDepth != 1)
                continue;
            hasMembers = true;
            bool isMeant = reader.ValueTextEquals(Name);
            reader.Read();
            int begin = (int)reader.TokenStartIndex;
            reader.Skip();
            if (isMeant)
            {
                isThere = true;
                return (begin, (int)reader.BytesConsumed);
            }
        }
        return (inside, inside);
    }
}
