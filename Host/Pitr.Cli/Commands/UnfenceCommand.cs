using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr unfence NAME | --fence ID</c>, <c>end-backup</c>: exit 0 means that the copy is good.</summary>
internal static class UnfenceCommand
{
    public static Command Create(CliContext cli)
    {
        var name = new Argument<string?>("NAME") { Description = "The datafile.", Arity = ArgumentArity.ZeroOrOne };
        Option<Guid?> fence = CliContext.OptionOf<Guid?>(
            "--fence", "ID", "The fence, where a datafile has several.", text => TextForms.Fence(text));
        Command command = cli.EngineVerb(
            "unfence", "End a fence; exit 0 means that the copy is good.", [name, fence],
            async (target, parsed, cancellationToken) =>
            {
                string? datafile = parsed.GetValue(name);
                Guid? id = parsed.GetValue(fence);
                if (datafile is null == id is null)
                    throw new UsageException("One of NAME and --fence ID must be given.", "See `pitr unfence --help`.");
                UnfenceResult result = await target
                    .UnfenceAsync(datafile is null ? null : TextForms.Name(datafile), id, cancellationToken)
                    .ConfigureAwait(false);
                return Answer.Line(
                    json => JsonShapes.Unfence(json, result),
                    $"{result.Datafile}: the copy is good; durable in the file to {result.FlushedLsn}; "
                    + $"fences left: {result.HoldersRemaining}");
            });
        command.Aliases.Add("end-backup");
        return command;
    }
}
