using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr recover DIR --promote</c>: finish a restore that stays at its target.</summary>
internal static class RecoverCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "A database that was restored with --action pause." };
        var promote = new Option<bool>("--promote") { Description = "Begin the new timeline; the database is ready for serve then." };
        return cli.Verb("recover", "Finish a restore that is paused.", [folder, promote], async (parsed, cancellationToken) =>
        {
            if (!parsed.GetValue(promote))
                throw new UsageException("It is not said what to do.", "Give --promote to end the pause.");
            string path = cli.Console.FullPath(parsed.GetRequiredValue(folder));
            TimelineId timeline = await cli.Targets.PromoteAsync(path, cancellationToken).ConfigureAwait(false);
            return Answer.Line(
                json =>
                {
                    json.WriteStartObject();
                    json.WriteNumber("timeline", timeline.Value);
                    json.WriteEndObject();
                },
                $"recovery is finished; the database goes on with timeline {timeline}");
        });
    }
}
