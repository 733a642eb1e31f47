using System.CommandLine;
using System.Text.Json;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Wal;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr expire STORE --window DURATION</c>: removes only what no moment of the window needs; prints it first.
/// </summary>
internal static class ExpireCommand
{
    public static Command Create(CliContext cli)
    {
        var store = new Argument<string>("STORE") { Description = "The store of the backup sets." };
        Option<TimeSpan?> window = CliContext.OptionOf<TimeSpan?>(
            "--window", "DURATION", "The promise: any moment of so much time up to the last one, such as 14d.",
            text => TextForms.Duration(text));
        window.Required = true;
        var archive = new Option<string[]>("--archive")
        {
            HelpName = "STORE",
            Description = "A store whose WAL goes too; STORE itself, if it is an archive, anyway.",
        };
        var plan = new Option<bool>("--plan") { Description = "Show what would be removed; remove nothing." };
        return cli.Verb(
            "expire", "Remove backup sets and WAL that no moment of a promised window needs.",
            [store, window, archive, plan], async (parsed, cancellation) =>
            {
                PitrOptions settings = await cli.StoreOptionsAsync(parsed, cancellation).ConfigureAwait(false);
                IArchiveStore sets = OfflineStores.Open(cli.Console.FullStore(parsed.GetRequiredValue(store)), settings);
                var request = new RetentionRequest
                {
                    SetStore = sets,
                    Archives = ArchivesOf(
                        sets, (parsed.GetValue(archive) ?? [])
                            .Select(text => OfflineStores.Open(cli.Console.FullStore(text), settings))),
                    Window = parsed.GetValue(window)!.Value,
                    Now = settings.Clock.GetUtcNow(),
                    OpenStore = name => OpenOther(name, settings),
                };
                RetentionPlan planned = await Task
                    .Run(() => RetentionPlanner.Plan(request, cancellation), cancellation).ConfigureAwait(false);
                if (parsed.GetValue(plan))
                {
                    return new Answer(
                        json => Write(json, planned, isDone: false), console => console.Write(planned.ToText()));
                }
                cli.Console.Error.Write(planned.ToText()); // before anything goes
                await cli.Console.Error.FlushAsync(cancellation).ConfigureAwait(false);
                await Task.Run(() => RetentionRun.CarryOut(planned, request, cancellation), cancellation)
                    .ConfigureAwait(false);
                return Answer.Line(json => Write(json, planned, isDone: true), Summary(planned));
            });
    }

    private static IArchiveStore[] ArchivesOf(IArchiveStore sets, IEnumerable<IArchiveStore> others)
    {
        IEnumerable<IArchiveStore> own = ArchiveIdentity.Read(sets) is null ? [] : [sets];
        return [.. own.Concat(others).DistinctBy(store => store.Name)];
    }

    private static IArchiveStore? OpenOther(string name, PitrOptions settings)
    {
        try
        {
            return OfflineStores.Open(name, settings);
        }
        catch (RefusedException)
        {
            return null;
        }
    }

    private static string Summary(RetentionPlan plan) => plan.RemovesNothing
        ? "nothing to remove"
        : $"removed {plan.Sets.Count(set => set.IsRemoved)} sets and {plan.Wal.Sum(wal => wal.Objects.Count)} objects of WAL";

    private static void Write(Utf8JsonWriter json, RetentionPlan plan, bool isDone)
    {
        json.WriteStartObject();
        json.WriteString("store", plan.Store);
        json.WriteNumber("window", plan.Window.TotalSeconds);
        json.WriteString("from", TextForms.Time(plan.From));
        json.WriteBoolean("done", isDone);
        json.WriteStartArray("sets");
        foreach (RetainedSet set in plan.Sets)
        {
            json.WriteStartObject();
            json.WriteString("backupId", set.BackupId);
            json.WriteString("state", set.State);
            if (set.StopTime is { } stop)
                json.WriteString("stopTime", TextForms.Time(stop));
            json.WriteNumber("bytes", set.Bytes);
            json.WriteBoolean("removed", set.IsRemoved);
            json.WriteString("why", set.Why);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("wal");
        foreach (RemovedWal wal in plan.Wal)
        {
            json.WriteStartObject();
            json.WriteString("store", wal.Store);
            json.WriteNumber("timeline", wal.Timeline.Value);
            json.WriteString("fromSegment", new SegmentName(wal.Timeline, wal.From).ToString());
            json.WriteString("toSegment", new SegmentName(wal.Timeline, wal.To).ToString());
            json.WriteNumber("objects", wal.Objects.Count);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("forgotten");
        foreach (Registration gone in plan.Registrations)
        {
            json.WriteStartObject();
            json.WriteString("store", gone.Store);
            json.WriteString("backupId", gone.BackupId);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        JsonShapes.Names(json, "findings", plan.Findings);
        json.WriteEndObject();
    }
}
