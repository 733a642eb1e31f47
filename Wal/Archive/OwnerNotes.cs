using System.Text.Json;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>An owner object as it was seen first.</summary>
/// <param name="Store">The place of the store.</param>
/// <param name="Timeline">Whose owner.</param>
/// <param name="StartId">Of the start that owned it.</param>
/// <param name="Renewed">When it had renewed last, by its own clock.</param>
/// <param name="Since">When it was seen: a timestamp of this machine's clock that never steps, which begins with the boot.</param>
internal sealed record SeenOwner(
    string Store, TimelineId Timeline, ulong StartId, DateTimeOffset Renewed, long Since);

/// <summary>
/// Keeps in the database's folder what <see cref="OwnerWatch"/> has seen, so that engine starts that are each too short to
/// wait for an owner wait together.
/// </summary>
/// <remarks>
/// The file <c>pitr.owners</c> holds for one boot: that of another one, one that is missing, and one that can't be read say
/// nothing, and the wait begins anew. Where no boot is known, nothing is kept. What is lost in a crash costs a wait.
/// THREADS  any; one engine start at a time, under the database lock. FAILURE  none: what can't be written is not kept.
/// </remarks>
internal sealed class OwnerNotes
{
    public const string FileName = "pitr.owners";
    private const int Format = 1;
    private readonly Lock _lock = new();
    private readonly IFileSystem _files;
    private readonly string _path;
    private readonly string _bootId;
    private List<SeenOwner>? _seen; // null: not read yet

    public OwnerNotes(IFileSystem files, string folder, string bootId) =>
        (_files, _path, _bootId) = (files, Path.Combine(folder, FileName), bootId);

    /// <summary>What this boot has seen of the owner of a timeline first; null if nothing.</summary>
    public SeenOwner? Find(string store, TimelineId timeline)
    {
        lock (_lock)
        {
            _seen ??= Read();
            return _seen.Find(one => one.Store == store && one.Timeline == timeline);
        }
    }

    /// <summary>Keeps what was seen first.</summary>
    public void Add(SeenOwner seen)
    {
        lock (_lock)
        {
            _seen ??= Read();
            _seen.Add(seen);
            if (_bootId.Length > 0)
                Write();
        }
    }

    private List<SeenOwner> Read()
    {
        try
        {
            if (_bootId.Length == 0 || _files.Stat(_path) is not { IsFolder: false })
                return [];
            using IFileHandle file = _files.Open(_path, FileOpen.Read);
            byte[] text = new byte[file.LengthBytes];
            int read = file.Read(0, text);
            OwnerNotesJson? json = JsonSerializer.Deserialize(
                text.AsSpan(0, read), StrictJson.Of(ArchiveJson.Default.OwnerNotesJson));
            return json is { Format: <= Format } && json.Boot == _bootId
                ? [.. json.Seen.Select(static one => new SeenOwner(
                    one.Store, new TimelineId(one.Timeline), ArchiveJson.Id(one.Start), ArchiveJson.Time(one.Renewed),
                    one.Since))]
                : [];
        }
        catch (Exception unreadable)
            when (unreadable is StorageFailedException or JsonException or FormatException or OverflowException)
        {
            return [];
        }
    }

    private void Write()
    {
        var json = new OwnerNotesJson
        {
            Format = Format,
            Boot = _bootId,
            Seen =
            [
                .. _seen!.Select(static one => new OwnerNotesJson.SeenJson
                {
                    Store = one.Store,
                    Timeline = one.Timeline.Value,
                    Start = one.StartId.ToString("X16", null),
                    Renewed = ArchiveJson.Text(one.Renewed),
                    Since = one.Since,
                }),
            ],
        };
        try
        {
            DurableReplace.Write(
                _files, _path, JsonSerializer.SerializeToUtf8Bytes(json, ArchiveJson.Default.OwnerNotesJson));
        }
        catch (StorageFailedException)
        {
            // The next start waits from its own beginning.
        }
    }
}
