using System.CommandLine;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr fence NAME</c>, <c>begin-backup</c>: hold a datafile still. It outlives this process.</summary>
internal static class FenceCommand
{
    private static readonly TimeSpan LeaseDefault = TimeSpan.FromMinutes(10);

    public static Command Create(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The datafile.", TextForms.Name);
        Option<TimeSpan?> lease = CliContext.OptionOf<TimeSpan?>(
            "--lease", "DURATION", "How long it may last (10m).", text => TextForms.Duration(text));
        var reason = new Option<string?>("--reason") { HelpName = "TEXT", Description = "Why, for status and log." };
        Command command = cli.EngineVerb(
            "fence", "Hold a datafile still, so that any tool may copy it.", [name, lease, reason],
            async (target, parsed, cancellationToken) =>
            {
                FenceGrant fence = await target.FenceAsync(
                    parsed.GetRequiredValue(name),
                    parsed.GetValue(lease) ?? LeaseDefault,
                    parsed.GetValue(reason) ?? "pitr fence",
                    cancellationToken).ConfigureAwait(false);
                return new Answer(json => JsonShapes.Fence(json, fence), console =>
                {
                    console.WriteLine(
                        $"{fence.Datafile} is fenced until {TextForms.Time(fence.Until)}: copy {fence.Path}");
                    console.WriteLine(
                        $"{TextShapes.Bytes(fence.LengthBytes)}, every change to {fence.CheckpointLsn}; "
                        + $"end it with: pitr unfence {fence.Datafile}");
                });
            });
        command.Aliases.Add("begin-backup");
        return command;
    }
}
