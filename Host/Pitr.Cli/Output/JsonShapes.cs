using System.Text.Json;
using Pitr.Actors;

namespace Pitr.Cli;

/// <summary>The JSON documents of the contract, member by member; Golden files of the tests hold the same.</summary>
internal static class JsonShapes
{
    public static void Commit(Utf8JsonWriter json, CommitResult commit)
    {
        json.WriteStartObject();
        json.WriteString("lsn", commit.Lsn.ToString());
        json.WriteString("time", TextForms.Time(commit.Time));
        json.WriteNumber("transactionId", commit.TransactionId.Value);
        json.WriteEndObject();
    }

    public static void Status(Utf8JsonWriter json, EngineStatus status)
    {
        json.WriteStartObject();
        json.WriteString("systemId", status.SystemId.ToString());
        json.WriteString("state", status.State);
        json.WriteNumber("timeline", status.Timeline.Value);
        json.WriteString("currentLsn", status.CurrentLsn.ToString());
        json.WriteString("flushedLsn", status.FlushedLsn.ToString());
        json.WriteString("redoLsn", status.RedoLsn.ToString());
        json.WriteStartArray("datafiles");
        foreach (DatafileStatus file in status.Datafiles)
            Datafile(json, file);
        json.WriteEndArray();
        json.WritePropertyName("archive");
        Archive(json, status.Archive);
        if (status.RecoveryWindow is { } window)
        {
            json.WriteStartObject("recoveryWindow");
            json.WriteString("from", TextForms.Time(window.From));
            json.WriteString("to", TextForms.Time(window.To));
            json.WriteString("verifiedAt", window.VerifiedAt is { } verified ? TextForms.Time(verified) : null);
            json.WriteEndObject();
        }
        else
        {
            json.WriteNull("recoveryWindow");
        }
        json.WriteStartArray("disks");
        foreach (DiskStatus disk in status.Disks)
        {
            json.WriteStartObject();
            json.WriteString("path", disk.Path);
            json.WriteNumber("freeBytes", disk.FreeBytes);
            json.WriteNumber("reserveBytes", disk.ReserveBytes);
            json.WriteBoolean("refusesCommits", disk.RefusesCommits);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("schedules");
        foreach (ScheduleStatus schedule in status.Schedules)
        {
            json.WriteStartObject();
            json.WriteString("run", TextShapes.WorkOf(schedule));
            json.WriteString("cron", schedule.Cron);
            json.WriteString("store", schedule.Store);
            json.WriteBoolean("running", schedule.IsRunning);
            json.WriteString("nextAt", schedule.NextAt is { } next ? TextForms.Time(next) : null);
            json.WriteString("lastBeganAt", schedule.LastBeganAt is { } last ? TextForms.Time(last) : null);
            if (schedule.LastSeconds is { } seconds)
                json.WriteNumber("lastSeconds", seconds);
            else
                json.WriteNull("lastSeconds");
            json.WriteString("lastError", schedule.LastError);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    public static void Archive(Utf8JsonWriter json, IEnumerable<ArchiveStatus> stores)
    {
        json.WriteStartArray();
        foreach (ArchiveStatus store in stores)
            Store(json, store);
        json.WriteEndArray();
    }

    public static void Store(Utf8JsonWriter json, ArchiveStatus store)
    {
        json.WriteStartObject();
        json.WriteString("store", store.Store);
        json.WriteString("lastSegment", store.LastSegment);
        json.WriteNumber("lagSegments", store.LagSegments);
        json.WriteNumber("lagBytes", store.LagBytes);
        json.WriteNumber("lagSeconds", store.LagSeconds);
        json.WriteNumber("lagBytesMax", store.LagBytesMax);
        json.WriteBoolean("refusesCommits", store.RefusesCommits);
        json.WriteBoolean("unclaimed", store.IsUnclaimed);
        json.WriteString("dropped", store.Dropped);
        json.WriteString("lastError", store.LastError);
        json.WriteEndObject();
    }

    private static void Datafile(Utf8JsonWriter json, DatafileStatus file)
    {
        json.WriteStartObject();
        json.WriteString("name", file.Name);
        json.WriteString("path", file.Path);
        json.WriteString("state", file.State);
        json.WriteString("checkpointLsn", file.CheckpointLsn.ToString());
        json.WriteNumber("bytes", file.Bytes);
        json.WriteNumber("tables", file.Tables);
        json.WriteNumber("bufferedBytes", file.BufferedBytes);
        json.WriteNumber("liveBytes", file.LiveBytes);
        json.WriteNumber("freeBytes", file.FreeBytes);
        json.WriteNumber("pinnedBytes", file.PinnedBytes);
        json.WriteStartArray("fences");
        foreach (FenceStatus fence in file.Fences)
        {
            json.WriteStartObject();
            json.WriteString("fenceId", fence.FenceId);
            json.WriteString("holder", fence.Holder);
            json.WriteString("reason", fence.Reason);
            json.WriteString("since", TextForms.Time(fence.Since));
            json.WriteString("until", TextForms.Time(fence.Until));
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    public static void Checkpoint(Utf8JsonWriter json, CheckpointResult result)
    {
        json.WriteStartObject();
        json.WriteString("redoLsn", result.RedoLsn.ToString());
        json.WriteString("checkpointLsn", result.CheckpointLsn.ToString());
        Names(json, "flushed", result.Flushed);
        Names(json, "skipped", result.Skipped);
        json.WriteEndObject();
    }

    public static void RestorePoint(Utf8JsonWriter json, RestorePoint point)
    {
        json.WriteStartObject();
        json.WriteString("name", point.Name);
        json.WriteString("lsn", point.Lsn.ToString());
        json.WriteString("time", TextForms.Time(point.Time));
        json.WriteEndObject();
    }

    public static void Fence(Utf8JsonWriter json, FenceGrant fence)
    {
        json.WriteStartObject();
        json.WriteString("fenceId", fence.FenceId);
        json.WriteString("datafile", fence.Datafile);
        json.WriteString("path", fence.Path);
        json.WriteNumber("length", fence.LengthBytes);
        json.WriteString("checkpointLsn", fence.CheckpointLsn.ToString());
        json.WriteString("until", TextForms.Time(fence.Until));
        json.WriteEndObject();
    }

    public static void Unfence(Utf8JsonWriter json, UnfenceResult result)
    {
        json.WriteStartObject();
        json.WriteString("datafile", result.Datafile);
        json.WriteString("flushedLsn", result.FlushedLsn.ToString());
        json.WriteNumber("holdersRemaining", result.HoldersRemaining);
        json.WriteEndObject();
    }

    /// <summary>What a backup set is, by the set that it builds on.</summary>
    public static string KindOf(string? baseId) => baseId is null ? "full" : "incremental";

    public static void Backup(Utf8JsonWriter json, BackupResult backup)
    {
        json.WriteStartObject();
        json.WriteString("backupId", backup.BackupId);
        json.WriteString("kind", KindOf(backup.BaseId));
        json.WriteString("baseId", backup.BaseId);
        json.WriteString("startLsn", backup.StartLsn.ToString());
        json.WriteString("stopLsn", backup.StopLsn.ToString());
        json.WriteNumber("bytes", backup.Bytes);
        json.WriteNumber("files", backup.Files);
        json.WriteNumber("filesResumed", backup.FilesResumed);
        json.WriteNumber("seconds", Seconds(backup.Seconds));
        json.WriteEndObject();
    }

    public static void Move(Utf8JsonWriter json, MoveResult move)
    {
        json.WriteStartObject();
        json.WriteString("datafile", move.Datafile);
        json.WriteString("from", move.From);
        json.WriteString("to", move.To);
        json.WriteNumber("bytes", move.Bytes);
        json.WriteNumber("seconds", Seconds(move.Seconds));
        json.WriteNumber("fencedSeconds", Seconds(move.FencedSeconds));
        json.WriteEndObject();
    }

    public static void RecoveredDatafile(Utf8JsonWriter json, DatafileRecoveryResult result)
    {
        json.WriteStartObject();
        json.WriteString("datafile", result.Datafile);
        json.WriteString("path", result.Path);
        json.WriteString("backupId", result.BackupId);
        json.WriteString("startLsn", result.StartLsn.ToString());
        json.WriteString("lsn", result.Lsn.ToString());
        json.WriteNumber("recordsReplayed", result.RecordsReplayed);
        json.WriteNumber("bytes", result.Bytes);
        json.WriteNumber("seconds", Seconds(result.Seconds));
        json.WriteStartArray("findings");
        foreach (string finding in result.Findings)
            json.WriteStringValue(finding);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    public static void Compact(Utf8JsonWriter json, CompactResult done)
    {
        json.WriteStartObject();
        json.WriteString("datafile", done.Datafile);
        json.WriteString("path", done.Path);
        json.WriteNumber("bytesBefore", done.BytesBefore);
        json.WriteNumber("bytesAfter", done.BytesAfter);
        json.WriteNumber("seconds", Seconds(done.Seconds));
        json.WriteNumber("fencedSeconds", Seconds(done.FencedSeconds));
        json.WriteEndObject();
    }

    public static void Restore(Utf8JsonWriter json, RestoreResult result)
    {
        json.WriteStartObject();
        json.WriteString("backupId", result.BackupId);
        json.WriteNumber("timeline", result.Timeline.Value);
        json.WriteString("startLsn", result.StartLsn.ToString());
        json.WriteStartObject("stoppedAt");
        json.WriteString("lsn", result.StoppedAt.Lsn.ToString());
        json.WriteString("time", TextForms.Time(result.StoppedAt.Time));
        json.WriteNumber("transactionId", result.StoppedAt.TransactionId.Value);
        json.WriteEndObject();
        json.WriteNumber("recordsReplayed", result.RecordsReplayed);
        json.WriteNumber("seconds", Seconds(result.Seconds));
        Names(json, "findings", result.Findings);
        json.WriteEndObject();
    }

    public static void Tables(Utf8JsonWriter json, IEnumerable<TableEntry> tables)
    {
        json.WriteStartArray();
        foreach (TableEntry table in tables)
            Table(json, table);
        json.WriteEndArray();
    }

    public static void Table(Utf8JsonWriter json, TableEntry table)
    {
        json.WriteStartObject();
        json.WriteString("name", table.Name);
        json.WriteString("datafile", table.Datafile);
        json.WriteEndObject();
    }

    public static void Datafiles(Utf8JsonWriter json, IEnumerable<DatafileEntry> datafiles)
    {
        json.WriteStartArray();
        foreach (DatafileEntry datafile in datafiles)
            Datafile(json, datafile);
        json.WriteEndArray();
    }

    public static void Datafile(Utf8JsonWriter json, DatafileEntry datafile)
    {
        json.WriteStartObject();
        json.WriteString("name", datafile.Name);
        json.WriteString("path", datafile.Path);
        json.WriteEndObject();
    }

    /// <summary>A name that something was done to.</summary>
    public static Action<Utf8JsonWriter> Named(string member, string name) => json =>
    {
        json.WriteStartObject();
        json.WriteString(member, name);
        json.WriteEndObject();
    };

    public static void Names(Utf8JsonWriter json, string member, IEnumerable<string> names)
    {
        json.WriteStartArray(member);
        foreach (string name in names)
            json.WriteStringValue(name);
        json.WriteEndArray();
    }

    /// <summary>Seconds to the microsecond: more digits are noise.</summary>
    public static double Seconds(double seconds) => Math.Round(seconds, 6);
}
