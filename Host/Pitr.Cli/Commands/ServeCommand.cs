using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr serve DIR</c>: the engine, until a signal or <c>pitr shutdown</c>; then an orderly end.</summary>
internal static class ServeCommand
{
    private const string ListenDefault = "127.0.0.1:4053";
    private const string HttpDefault = "127.0.0.1:8053";

    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "The database's folder." };
        Option<string?> listen = CliContext.OptionOf(
            "--listen", "HOST:PORT", $"Administration ({ListenDefault}); port 0: any.", TextForms.Address);
        Option<string?> http = CliContext.OptionOf(
            "--http", "HOST:PORT", $"Data ({HttpDefault}); port 0: any.", TextForms.Address);
        return cli.Verb("serve", "Run the engine until a signal.", [folder, listen, http], async (parsed, _) =>
        {
            await cli.Targets.ServeAsync(
                cli.Console.FullPath(parsed.GetRequiredValue(folder)),
                parsed.GetValue(listen) ?? ListenDefault,
                parsed.GetValue(http) ?? HttpDefault,
                parsed.GetValue(cli.TokenFileOption) is { } file ? cli.Console.FullPath(file) : null,
                cli.Console,
                cli.Interruption).ConfigureAwait(false);
            return Answer.Streamed;
        });
    }
}
