using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr status</c>: what the engine is doing, once or followed.</summary>
internal static class StatusCommand
{
    private static readonly TimeSpan IntervalDefault = TimeSpan.FromSeconds(1);

    public static Command Create(CliContext cli)
    {
        var watch = new Option<bool>("--watch") { Description = "Look again and again, until Ctrl-C." };
        Option<TimeSpan?> interval = CliContext.OptionOf<TimeSpan?>(
            "--interval", "DURATION", "How long between two looks of --watch (1s).", text => TextForms.Duration(text));
        Option<long?> count = CliContext.OptionOf<long?>(
            "--count", "N", "Looks of --watch (no end).", text => TextForms.Count(text));
        return cli.TargetVerb(
            "status", "Show datafiles, fences, the WAL and the archive.", [watch, interval, count],
            async (target, parsed, cancellationToken) =>
            {
                if (parsed.GetValue(watch))
                {
                    await new StatusWatch(cli.Console, target, parsed.GetValue(interval) ?? IntervalDefault, parsed.GetValue(count))
                        .RunAsync(cli.AsJson(parsed), cancellationToken).ConfigureAwait(false);
                    return Answer.Streamed;
                }

                EngineStatus status = await target.GetStatusAsync(cancellationToken).ConfigureAwait(false);
                return new Answer(json => JsonShapes.Status(json, status), console =>
                {
                    if (cli.Console.IsScreen)
                        console.Write(StatusScreen.Of(status, TimeProvider.System.GetUtcNow(), console.Profile.Width, []));
                    else
                        TextShapes.Status(console, status);
                });
            });
    }
}
