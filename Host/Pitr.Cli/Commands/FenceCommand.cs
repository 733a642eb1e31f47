using System.CommandLine;
using Pitr.Actors;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr fence NAME</c>, <c>begin-backup</c>: hold a datafile still. It outlives this process, but with <c>--hold</c>,
/// where the process is the holder: its end by a signal unfences, any other end breaks the fence.
/// </summary>
internal static class FenceCommand
{
    private static readonly TimeSpan LeaseDefault = TimeSpan.FromMinutes(10);

    /// <summary>With --hold a fence that broke is told within this.</summary>
    private static readonly TimeSpan RenewEveryMax = TimeSpan.FromSeconds(5);

    public static Command Create(CliContext cli)
    {
        var name = new Argument<string?>("NAME") { Description = "The datafile.", Arity = ArgumentArity.ZeroOrOne };
        Option<TimeSpan?> lease = CliContext.OptionOf<TimeSpan?>(
            "--lease", "DURATION", "How long it may last (10m).", text => TextForms.Duration(text));
        var reason = new Option<string?>("--reason") { HelpName = "TEXT", Description = "Why, for status and log." };
        Option<Guid?> renew = CliContext.OptionOf<Guid?>(
            "--renew", "ID", "Prolong this fence by --lease from now on, instead of taking one.",
            text => TextForms.Fence(text));
        var hold = new Option<bool>("--hold")
        {
            Description = "Stay until Ctrl-C or SIGTERM, then unfence; the fence breaks if this process dies before.",
        };
        Command command = cli.EngineVerb(
            "fence", "Hold a datafile still, so that any tool may copy it.", [name, lease, reason, hold, renew],
            async (target, parsed, cancellationToken) =>
            {
                string? datafile = parsed.GetValue(name);
                TimeSpan lasts = parsed.GetValue(lease) ?? LeaseDefault;
                string why = parsed.GetValue(reason) ?? "pitr fence";
                if (datafile is null == parsed.GetValue(renew) is null)
                    throw new UsageException("One of NAME and --renew ID must be given.", "See `pitr fence --help`.");
                if (parsed.GetValue(renew) is { } id)
                    return Renewed(
                        id, await target.RenewFenceAsync(id, lasts, cancellationToken).ConfigureAwait(false));
                datafile = TextForms.Name(datafile!);
                if (parsed.GetValue(hold))
                    return await HoldAsync(cli, target, parsed, datafile, lasts, why, cancellationToken)
                        .ConfigureAwait(false);
                FenceGrant fence = await target.FenceAsync(datafile, lasts, why, cancellationToken)
                    .ConfigureAwait(false);
                return Granted(fence, $"end it with: pitr unfence {fence.Datafile}");
            });
        command.Aliases.Add("begin-backup");
        return command;
    }

    /// <summary>
    /// Renews the fence until a signal comes, then leaves it: 0 means that the copy is good. If it breaks, it fails at once.
    /// </summary>
    private static async Task<Answer> HoldAsync(
        CliContext cli, IDatabaseTarget target, ParseResult parsed, string datafile, TimeSpan lease, string reason,
        CancellationToken interrupted)
    {
        var broken = new TaskCompletionSource<BrokenFence>(TaskCreationOptions.RunContinuationsAsynchronously);
        using IFenceHolder holder = target.HoldFences("pitr fence", fence => broken.TrySetResult(fence));
        FenceGrant fence = await holder.FenceAsync(datafile, lease, reason, interrupted).ConfigureAwait(false);
        Granted(fence, "held until Ctrl-C").WriteTo(cli.Console, cli.AsJson(parsed));
        TimeSpan every = lease / 3 < RenewEveryMax ? lease / 3 : RenewEveryMax;
        try
        {
            while (true)
            {
                Task passing = Task.Delay(every, interrupted);
                if (await Task.WhenAny(passing, broken.Task).ConfigureAwait(false) == broken.Task)
                    throw (await broken.Task.ConfigureAwait(false)).Why;
                await passing.ConfigureAwait(false);
                await target.RenewFenceAsync(fence.FenceId, lease, interrupted).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (interrupted.IsCancellationRequested)
        {
            UnfenceResult result = await target.UnfenceAsync(null, fence.FenceId, cli.Interruption.Forced)
                .ConfigureAwait(false);
            await cli.Console.Error.WriteLineAsync(
                $"{datafile}: the copy is good; durable in the file to {result.FlushedLsn}").ConfigureAwait(false);
            return Answer.Streamed;
        }
    }

    private static Answer Granted(FenceGrant fence, string end) => new(json => JsonShapes.Fence(json, fence), console =>
    {
        console.WriteWhole($"{fence.Datafile} is fenced until {TextForms.Time(fence.Until)}: copy {fence.Path}");
        console.WriteWhole($"{TextShapes.Bytes(fence.LengthBytes)}, every change to {fence.CheckpointLsn}; {end}");
    });

    private static Answer Renewed(Guid id, DateTimeOffset until) => Answer.Line(
        json =>
        {
            json.WriteStartObject();
            json.WriteString("fenceId", id);
            json.WriteString("until", TextForms.Time(until));
            json.WriteEndObject();
        },
        $"fenced until {TextForms.Time(until)}");
}
