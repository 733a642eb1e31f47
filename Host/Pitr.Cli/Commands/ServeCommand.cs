using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr serve DIR</c>: the engine, until a signal or <c>pitr shutdown</c>; then an orderly end.</summary>
internal static class ServeCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "The database's folder." };
        Option<string?> listen = CliContext.OptionOf(
            "--listen", "HOST:PORT", $"Administration ({ProcessTargets.ListenDefault}); port 0: any.", TextForms.Address);
        Option<string?> http = CliContext.OptionOf(
            "--http", "HOST:PORT", $"Data ({ProcessTargets.HttpDefault}); port 0: any.", TextForms.Address);
        return cli.Verb("serve", "Run the engine until a signal.", [folder, listen, http], async (parsed, _) =>
        {
            await cli.Targets.ServeAsync(
                cli.Console.FullPath(parsed.GetRequiredValue(folder)),
                parsed.GetValue(listen),
                parsed.GetValue(http),
                parsed.GetValue(cli.TokenFileOption) is { } file ? cli.Console.FullPath(file) : null,
                cli.Console,
                cli.Interruption).ConfigureAwait(false);
            return Answer.Streamed;
        });
    }
}
