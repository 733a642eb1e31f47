using System.CommandLine;
using System.CommandLine.Help;
using System.Text;
using Pitr.Actors;

namespace Pitr.Cli;

/// <summary>The whole command line: verbs, global options, failures as two lines and an exit code.</summary>
internal static class CommandLine
{
    /// <summary>Parses and runs one command line of `pitr`; returns the exit code.</summary>
    public static Task<int> RunAsync(
        string[] args, CliConsole console, ITargets targets, Interruption interruption) =>
        RunAsync("pitr", args, console, Root(new CliContext(console, targets, interruption)), interruption);

    /// <summary>The same of `pgtar`.</summary>
    public static Task<int> RunPgtarAsync(
        string[] args, CliConsole console, ITargets targets, Interruption interruption) =>
        RunAsync(
            "pgtar", args, console, PgtarCommand.Create(new CliContext(console, targets, interruption)), interruption);

    private static async Task<int> RunAsync(
        string program, string[] args, CliConsole console, RootCommand root, Interruption interruption)
    {
        ParseResult parsed = root.Parse(args, new ParserConfiguration
        {
            ResponseFileTokenReplacer = null, // a key may begin with @
            EnablePosixBundling = false,
        });
        if (parsed.Errors.Count > 0 && parsed.Action is not HelpAction)
        {
            string verb = VerbPath(program, parsed.CommandResult.Command, root);
            string message = args.Length == 0 ? "A verb is missing."
                : parsed.UnmatchedTokens.Count > 0 ? $"'{parsed.UnmatchedTokens[0]}' is not understood here."
                : parsed.Errors[0].Message;
            return Report(program, console, Sentence(message), $"See `{verb} --help`.", ExitCodes.Usage);
        }
        try
        {
            using var text = new StringWriter();
            var invocation = new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
                Output = text,
                Error = console.Error,
            };
            int exitCode = await parsed.InvokeAsync(invocation, interruption.Orderly).ConfigureAwait(false);
            if (text.GetStringBuilder().Length > 0) // help, version
                await console.Output.WriteAsync(Encoding.UTF8.GetBytes(text.ToString())).ConfigureAwait(false);
            return exitCode;
        }
        catch (Exception failure) when (Describe(program, failure, interruption) is { } description)
        {
            return Report(program, console, description.Message, description.Hint, description.ExitCode);
        }
    }

    private static RootCommand Root(CliContext cli)
    {
        var root = new RootCommand("Pitr: an embedded key-value store that goes back to any moment.");
        root.Directives.Clear();
        foreach (Option option in cli.GlobalOptions)
            root.Options.Add(option);
        foreach (Command command in new[]
        {
            InitCommand.Create(cli), ServeCommand.Create(cli), StatusCommand.Create(cli), CheckpointCommand.Create(cli),
            SwitchWalCommand.Create(cli), RestorePointCommand.Create(cli), ShutdownCommand.Create(cli),
            DatafileCommand.Create(cli), DrainCommand.Create(cli), TableCommand.Create(cli), PutCommand.Create(cli),
            GetCommand.Create(cli),
            DeleteCommand.Create(cli), ScanCommand.Create(cli), CountCommand.Create(cli), LoadCommand.Create(cli),
            DumpCommand.Create(cli), FenceCommand.Create(cli), UnfenceCommand.Create(cli), BackupCommand.Create(cli),
            BackupsCommand.Create(cli), VerifyCommand.Create(cli), PinCommand.Pin(cli),
            PinCommand.Unpin(cli), ExpireCommand.Create(cli), RestoreCommand.Create(cli),
            RecoverCommand.Create(cli),
            ArchiveCommand.Create(cli), WalCommand.Create(cli), CheckCommand.Create(cli), TourCommand.Create(cli),
        })
            root.Subcommands.Add(command);
        return root;
    }

    /// <summary>
    /// What is said of a failure; null for one that nobody foresaw while a debugger would like to see it.
    /// </summary>
    private static (string Message, string Hint, int ExitCode)? Describe(
        string program, Exception failure, Interruption interruption) =>
        (failure is AggregateException { InnerExceptions.Count: 1 } only ? only.InnerException : failure) switch
        {
            PitrException known => (known.Message, known.Hint, known.ExitCode),
            UsageException usage => (usage.Message, usage.Hint, ExitCodes.Usage),
            VerbFailedException verb => (verb.Message, verb.Hint, ExitCodes.Failed),
            OperationCanceledException when interruption.Orderly.IsCancellationRequested =>
                ("Interrupted.", "What was acknowledged is durable; look at the data before doing it again.",
                    ExitCodes.Failed),
            ArgumentException wrong => (WithoutParameter(wrong), $"See `{program} --help`.", ExitCodes.Usage),
            FormatException wrong => (wrong.Message, $"See `{program} --help`.", ExitCodes.Usage),
            UnauthorizedAccessException denied =>
                (denied.Message, "Run it as the user that owns the files.", ExitCodes.Failed),
            IOException io =>
                (io.Message, "See whether the file or the pipe is there, has room and may be used.", ExitCodes.Failed),
            { } unforeseen => (
                $"{unforeseen.GetType().Name}: {unforeseen.Message}",
                $"This is a bug of {program}: report this text and what was run.",
                ExitCodes.Failed),
            _ => null,
        };

    /// <summary>Two lines on standard error, whatever the texts hold.</summary>
    private static int Report(string program, CliConsole console, string message, string hint, int exitCode)
    {
        console.Error.WriteLine($"{program}: {OneLine(message)}");
        console.Error.WriteLine($"hint: {OneLine(hint, " · ")}");
        console.Error.Flush();
        return exitCode;
    }

    /// <summary>The name of a parameter says nothing to who typed a command.</summary>
    private static string WithoutParameter(ArgumentException wrong) => wrong.ParamName is { } name
        ? wrong.Message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal)
        : wrong.Message;

    /// <summary>What is of several lines, such as a hint that has a choice, on one.</summary>
    private static string OneLine(string text, string between = " ") =>
        string.Join(
            between, text.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    private static string Sentence(string text) => text.EndsWith('.') ? text : text + ".";

    private static string VerbPath(string program, Command command, RootCommand root)
    {
        var names = new List<string>();
        for (Command? at = command; at is not null && at != root; at = at.Parents.OfType<Command>().FirstOrDefault())
            names.Insert(0, at.Name);
        names.Insert(0, program);
        return string.Join(' ', names);
    }
}
