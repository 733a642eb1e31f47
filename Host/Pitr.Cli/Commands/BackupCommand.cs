using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr backup --to STORE</c>: a backup set, while everything goes on.</summary>
internal static class BackupCommand
{
    public static Command Create(CliContext cli)
    {
        var to =
            new Option<string>("--to") { HelpName = "STORE", Description = "Where the set goes.", Required = true };
        var incremental = new Option<bool>("--incremental")
        {
            Description = "Only what changed since the newest set there that it can build on.",
        };
        Option<long?> jobs =
            CliContext.OptionOf<long?>("--jobs", "N", "Datafiles at a time (1).", text => TextForms.Count(text));
        Option<long?> rate =
            CliContext.OptionOf<long?>("--rate", "SIZE", "Bytes a second at most.", text => TextForms.SizePerSecond(text));
        return cli.TargetVerb(
            "backup", "Make a backup set while everything goes on.", [to, incremental, jobs, rate],
            async (target, parsed, cancellationToken) =>
            {
                using var progress = new ProgressLine(cli.Console);
                BackupResult backup = await target.BackupAsync(
                    new BackupRequest
                    {
                        Store = cli.Console.FullStore(parsed.GetRequiredValue(to)),
                        Incremental = parsed.GetValue(incremental),
                        Jobs = (int)Math.Min(parsed.GetValue(jobs) ?? 1, 64),
                        BytesPerSecondMax = parsed.GetValue(rate),
                        Progress = progress,
                    },
                    cancellationToken).ConfigureAwait(false);
                return new Answer(
                    json => JsonShapes.Backup(json, backup),
                    console =>
                    {
                        console.WriteWhole(
                            $"backup {backup.BackupId}: {backup.Files} datafiles, {TextShapes.Bytes(backup.Bytes)} in "
                            + $"{TextShapes.Seconds(backup.Seconds)}, from {backup.StartLsn} to {backup.StopLsn}");
                        if (backup.BaseId is not null)
                            console.WriteWhole($"it builds on {backup.BaseId}");
                        if (backup.FilesResumed > 0)
                            console.WriteWhole($"it went on with one that was cut off: {backup.FilesResumed} datafiles were there");
                        if (backup.WhyFull is not null)
                            console.WriteWhole($"it builds on no other set: {backup.WhyFull}");
                    });
            });
    }
}
