using System.CommandLine;
using Pitr.Actors;
using Pitr.Recovery;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr recover DIR</c>: a database that is not running goes on with a restore that is paused or that died, to a
/// later target, or to its end; or, with the control file that it has, gets back the datafiles that it lacks; or is
/// recovered with another control file (<see cref="ControlFileOptions"/>).
/// </summary>
internal static class RecoverCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "A database that is not running." };
        var promote = new Option<bool>("--promote")
        {
            Description = "Begin the new timeline there; the database is ready for serve then.",
        };
        var from = new Option<string?>("--from")
        {
            HelpName = "STORE",
            Description = "Where the backup sets of lost datafiles are (else the database's stores).",
        };
        var archive = new Option<string?>("--archive")
        {
            HelpName = "STORE",
            Description = "Where WAL is that neither the database nor its stores have.",
        };
        var plan = new Option<bool>("--plan")
        {
            Description = "Show what would be done, also of a restore that is paused or not finished; write nothing.",
        };
        var target = new TargetOptions();
        var controlFile = new ControlFileOptions();
        return cli.FolderVerb(
            "recover", "Go on with a restore that is paused or not finished, or recover a database where it lies.",
            [folder, .. controlFile.Symbols, .. target.Symbols, promote, from, archive, plan],
            async (parsed, cancellationToken) =>
            {
                string database = cli.Console.FullPath(parsed.GetRequiredValue(folder));
                RecoveryTarget asked = target.Read(parsed);
                bool isOfRestore = asked.Kind != RecoveryTarget.Form.Latest || parsed.GetValue(promote);
                var files = new LostFiles(
                    parsed.GetValue(from) is { } sets ? cli.Console.FullStore(sets) : null,
                    parsed.GetValue(archive) is { } store ? cli.Console.FullStore(store) : null, parsed.GetValue(plan));
                if (controlFile.IsOther(parsed))
                {
                    // With that of a backup set a timeline is begun anyway: --promote says no more than that.
                    return await controlFile.RunAsync(
                        cli, parsed, database, asked, (files.Store, files.Archive), parsed.GetValue(promote), files.IsPlan,
                        cancellationToken).ConfigureAwait(false);
                }

                if (controlFile.IsMoved(
                    parsed, isAlone: !isOfRestore && files.Store is null && files.Archive is null))
                    return await ControlFileOptions.NoteMovedAsync(cli, database, files.IsPlan, cancellationToken)
                        .ConfigureAwait(false);
                controlFile.RequireNothingElse(parsed, hasTarget: asked.Kind != RecoveryTarget.Form.Latest);
                if (isOfRestore && files.IsSaid)
                    throw new UsageException(
                        "A target or --promote goes on with a restore, from the places that it began with.",
                        "Leave out --from, --archive and --plan; or the target, to bring lost datafiles back. To go back to an "
                        + "earlier moment in this folder give --control-file backup.");
                if (files.IsPlan)
                    return await PlanAsync(cli, database, files, cancellationToken).ConfigureAwait(false);
                if (files.IsSaid)
                    return await BringBackAsync(cli, database, files, cancellationToken).ConfigureAwait(false);
                try
                {
                    RestoreResult result = await cli.Targets.RecoverAsync(
                        database, asked.Kind == RecoveryTarget.Form.Latest ? null : asked, parsed.GetValue(promote),
                        cancellationToken).ConfigureAwait(false);
                    return Told(result);
                }
                catch (RefusedException none) when (none.Code == ErrorCode.NotInRecovery && !isOfRestore)
                {
                    return await BringBackAsync(cli, database, files, cancellationToken).ConfigureAwait(false);
                }
            });
    }

    /// <summary>Where it stands after a recovery.</summary>
    public static Answer Told(RestoreResult result) => Told(
        result,
        $"{TextShapes.Number(result.RecordsReplayed)} records replayed in {TextShapes.Seconds(result.Seconds)}");

    /// <summary>What was done, where it stands, and what its plan noted.</summary>
    public static Answer Told(RestoreResult result, string done) => Answer.Line(
        json => JsonShapes.Restore(json, result),
        $"{done}; it stands at {result.StoppedAt.Lsn} ({TextForms.Time(result.StoppedAt.Time)}, "
        + $"transaction {result.StoppedAt.TransactionId}) on timeline {result.Timeline}") with
    {
        Notes = result.Findings,
    };

    /// <summary>What would be done; the database is not opened.</summary>
    private static async Task<Answer> PlanAsync(
        CliContext cli, string folder, LostFiles files, CancellationToken cancellationToken)
    {
        IReadOnlyList<RecoveryPlan> plans = await PitrRecovery.PlanRecoveryAsync(
            folder, files.Store, files.Archive, cli.Targets.OptionsFor(folder), cancellationToken).ConfigureAwait(false);
        return new Answer(
            json =>
            {
                json.WriteStartArray();
                foreach (RecoveryPlan plan in plans)
                    json.WriteRawValue(plan.ToJson());
                json.WriteEndArray();
            },
            console => console.Write(string.Join('\n', plans.Select(plan => plan.ToText()))));
    }

    /// <summary>Each datafile that needs recovery, to the end of the WAL, on the same timeline.</summary>
    private static async Task<Answer> BringBackAsync(
        CliContext cli, string folder, LostFiles files, CancellationToken cancellationToken)
    {
        IDatabaseTarget database = await cli.Targets.OpenLocalAsync(folder, cancellationToken).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            EngineStatus status = await database.GetStatusAsync(cancellationToken).ConfigureAwait(false);
            string[] lost =
                [.. status.Datafiles.Where(file => file.State == "needsRecovery").Select(file => file.Name)];
            if (lost.Length == 0)
                throw EngineErrors.NotInRecovery(folder);
            using var progress = new ProgressLine(cli.Console);
            foreach (string name in lost) // all of them can be, before the first is touched
                await database.PlanDatafileRecoveryAsync(files.Of(name, null), cancellationToken).ConfigureAwait(false);
            var results = new List<DatafileRecoveryResult>();
            foreach (string name in lost)
                results.Add(await database.RecoverDatafileAsync(files.Of(name, progress), cancellationToken)
                    .ConfigureAwait(false));
            return Answer.Line(
                json =>
                {
                    json.WriteStartArray();
                    foreach (DatafileRecoveryResult result in results)
                        JsonShapes.RecoveredDatafile(json, result);
                    json.WriteEndArray();
                },
                string.Join('\n', results.Select(TextShapes.Recovered)));
        }
    }

    private sealed record LostFiles(string? Store, string? Archive, bool IsPlan)
    {
        public bool IsSaid => Store is not null || Archive is not null || IsPlan;

        public DatafileRecoveryRequest Of(string name, IProgress<JobProgress>? progress) =>
            new() { Datafile = name, Store = Store, Archive = Archive, Progress = progress };
    }
}
