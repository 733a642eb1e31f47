using System.Text.Json;
using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Hosting;

/// <summary>What is known of a schedule's last run.</summary>
/// <param name="Key">Of the schedule.</param>
/// <param name="Seen">Up to here its times are settled: run, or before the schedule was there.</param>
internal sealed record ScheduleNote(string Key, DateTimeOffset Seen)
{
    /// <summary>When the last run began; null if there was none.</summary>
    public DateTimeOffset? Began { get; init; }

    /// <summary>When it ended; null if it has not, or the process ended before.</summary>
    public DateTimeOffset? Ended { get; init; }

    /// <summary>Why it failed; null if it did not.</summary>
    public string? Failure { get; init; }
}

/// <summary>
/// The file <c>pitr.schedules</c> in the database's folder: which times of the schedules are settled, over restarts.
/// </summary>
/// <remarks>
/// Nothing else depends on it: one that is missing or can't be read is begun anew, and then no time counts as missed.
/// THREADS  any.
/// </remarks>
internal sealed class ScheduleNotes(IFileSystem files, string folder)
{
    public const string FileName = "pitr.schedules";

    private readonly Lock _gate = new(); // protects the notes and the file
    private readonly Dictionary<string, ScheduleNote> _notes = Read(files, Path.Combine(folder, FileName));

    public ScheduleNote? Of(string key)
    {
        lock (_gate)
            return _notes.GetValueOrDefault(key);
    }

    /// <summary>Notes it durably; forgets those of schedules that are not there any more.</summary>
    /// <exception cref="StorageFailedException">The disk said no: it is known until the process ends.</exception>
    public void Put(ScheduleNote note, IReadOnlyCollection<string> keys)
    {
        lock (_gate)
        {
            _notes[note.Key] = note;
            foreach (string gone in _notes.Keys.Except(keys).ToArray())
                _notes.Remove(gone);
            DurableReplace.Write(
                files, Path.Combine(folder, FileName),
                JsonSerializer.SerializeToUtf8Bytes(
                    _notes.Values.OrderBy(static one => one.Key, StringComparer.Ordinal).ToArray(),
                    ScheduleNotesJson.Default.ScheduleNoteArray));
        }
    }

    private static Dictionary<string, ScheduleNote> Read(IFileSystem files, string path)
    {
        var notes = new Dictionary<string, ScheduleNote>(StringComparer.Ordinal);
        try
        {
            if (files.Stat(path) is not { IsFolder: false })
                return notes;
            using IFileHandle file = files.Open(path, FileOpen.Read);
            byte[] bytes = new byte[file.LengthBytes];
            int read = file.Read(0, bytes);
            ScheduleNote?[] there = JsonSerializer.Deserialize(
                bytes.AsSpan(0, read), ScheduleNotesJson.Default.ScheduleNoteArray) ?? [];
            foreach (ScheduleNote note in there.OfType<ScheduleNote>().Where(static note => note.Key is not null))
                notes[note.Key] = note;
        }
        catch (Exception error) when (error is JsonException or StorageFailedException)
        {
            notes.Clear();
        }
        return notes;
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ScheduleNote[]))]
internal sealed partial class ScheduleNotesJson : JsonSerializerContext;
