using System.CommandLine;
using System.CommandLine.Parsing;
using Pitr.Actors;
using Pitr.Hosting;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Cli;

/// <summary>Opens what a verb works on; tests have their own.</summary>
internal interface ITargets
{
    /// <summary>Opens the database in this process.</summary>
    Task<IDatabaseTarget> OpenLocalAsync(string folder, CancellationToken cancellationToken);

    /// <summary>Creates a database.</summary>
    Task<SystemIdentifier> InitAsync(
        string folder, int walSegmentBytes, IReadOnlyList<string> stores, CancellationToken cancellationToken);

    /// <summary>Restores into a new folder; the options say which stores there are.</summary>
    Task<RestoreResult> RestoreAsync(
        RestoreRequest request, PitrOptions stores, CancellationToken cancellationToken);

    /// <summary>Goes on with a restore that is paused or not finished.</summary>
    Task<RestoreResult> RecoverAsync(
        string folder, RecoveryTarget? target, bool promote, CancellationToken cancellationToken);

    /// <summary>Recovers a database where it lies, with the control file of a backup set.</summary>
    Task<RestoreResult> RecoverInPlaceAsync(InPlaceRecoveryRequest request, CancellationToken cancellationToken);

    /// <summary>What a verb that opens no database in a folder reads its stores by.</summary>
    PitrOptions OptionsFor(string folder);

    /// <summary>Runs the engine until it is told to end, or fails.</summary>
    Task ServeAsync(ServeRequest request, CliConsole console, Interruption interruption);

    /// <summary>
    /// Opens a session with a running engine.
    /// </summary>
    Task<IDatabaseTarget> OpenRemoteAsync(
        string address, PitrAdminOptions options, CancellationToken cancellationToken);
}

/// <summary>What the verbs share: the global options, the console, and how a verb is run.</summary>
internal sealed class CliContext(CliConsole console, ITargets targets, Interruption interruption)
{
    private readonly Option<string?> _database = new("--database")
    {
        Recursive = true,
        HelpName = "DIR",
        Description = "Open the database in this process (else PITR_DATABASE).",
    };

    private readonly Option<string?> _host = OptionOf(
        "--host", "HOST:PORT", "Talk to a running engine (else PITR_HOST).", TextForms.Address);

    private readonly Option<bool> _json = new("--json")
    {
        Recursive = true,
        Description = "One JSON document on standard output.",
    };

    private readonly Option<string?> _tokenFile = new("--token-file")
    {
        Recursive = true,
        HelpName = "FILE",
        Description = "The running engine's token (else the one in the user's runtime folder).",
    };

    private readonly Option<string?> _tlsCertificate = TlsOption(
        "--tls-certificate", "This client's certificate, for an engine on another machine (else PITR_TLS_CERTIFICATE).");

    private readonly Option<string?> _tlsKey = TlsOption("--tls-key", "Its private key (else PITR_TLS_KEY).");

    private readonly Option<string?> _tlsAuthority = TlsOption(
        "--tls-authority", "Who signed the engine's certificate (else PITR_TLS_AUTHORITY).");

    /// <summary>The process's surroundings.</summary>
    public CliConsole Console { get; } = console;

    /// <summary>Opens databases.</summary>
    public ITargets Targets { get; } = targets;

    /// <summary>Signals.</summary>
    public Interruption Interruption { get; } = interruption;

    /// <summary>Where the token is, or where serve writes it.</summary>
    public Option<string?> TokenFileOption => _tokenFile;

    /// <summary>May stand before or after the verb.</summary>
    public IEnumerable<Option> GlobalOptions
    {
        get
        {
            _host.Recursive = true;
            return [_database, _host, _json, _tokenFile, _tlsCertificate, _tlsKey, _tlsAuthority];
        }
    }

    /// <summary>An option with a form of its own; the form's FormatException becomes the usage error.</summary>
    public static Option<T?> OptionOf<T>(string name, string form, string description, Func<string, T> parse) =>
        new(name)
        {
            HelpName = form,
            Description = description,
            CustomParser = result => Parse(result, parse),
        };

    /// <summary>An argument with a form of its own.</summary>
    public static Argument<T> ArgumentOf<T>(string name, string description, Func<string, T> parse) => new(name)
    {
        Description = description,
        CustomParser = result => Parse(result, parse)!,
    };

    /// <summary>A verb that needs no database.</summary>
    public Command Verb(
        string name, string description, Symbol[] symbols, Func<ParseResult, CancellationToken, Task<Answer>> run)
    {
        var command = new Command(name, description);
        foreach (Symbol symbol in symbols)
        {
            if (symbol is Argument argument)
                command.Arguments.Add(argument);
            else
                command.Options.Add((Option)symbol);
        }
        command.SetAction(async (parsed, cancellationToken) =>
        {
            Answer answer = await run(parsed, cancellationToken).ConfigureAwait(false);
            answer.WriteTo(Console, AsJson(parsed));
            return answer.ExitCode;
        });
        return command;
    }

    /// <summary>A verb that works in this process alone, on a folder that no engine has open: nothing to ask an engine.</summary>
    public Command FolderVerb(
        string name, string description, Symbol[] symbols, Func<ParseResult, CancellationToken, Task<Answer>> run) =>
        Verb(name, description, symbols, (parsed, cancellationToken) => parsed.GetValue(_host) is { } host
            ? throw new UsageException(
                $"'{name}' works in this process, on a folder that no engine has open; no engine such as {host} can do it.",
                "Leave --host out, and run it on the machine of the folder.")
            : run(parsed, cancellationToken));

    /// <summary>A verb that works on a database, in this process or behind an address.</summary>
    public Command TargetVerb(
        string name,
        string description,
        Symbol[] symbols,
        Func<IDatabaseTarget, ParseResult, CancellationToken, Task<Answer>> run) =>
        Verb(name, description, symbols, async (parsed, cancellationToken) =>
        {
            IDatabaseTarget target = await OpenTargetAsync(parsed, cancellationToken).ConfigureAwait(false);
            await using (target.ConfigureAwait(false))
                return await run(target, parsed, cancellationToken).ConfigureAwait(false);
        });

    /// <summary>A verb that makes sense only while an engine runs elsewhere.</summary>
    public Command EngineVerb(
        string name,
        string description,
        Symbol[] symbols,
        Func<IDatabaseTarget, ParseResult, CancellationToken, Task<Answer>> run) =>
        Verb(name, description, symbols, async (parsed, cancellationToken) =>
        {
            (string? _, string? host) = Where(parsed);
            if (host is null)
                throw AdminErrors.NeedsRunningEngine(name);
            IDatabaseTarget target = await Targets
                .OpenRemoteAsync(host, RemoteOptions(parsed), cancellationToken).ConfigureAwait(false);
            await using (target.ConfigureAwait(false))
                return await run(target, parsed, cancellationToken).ConfigureAwait(false);
        });

    /// <summary>True if the answer is wanted as JSON.</summary>
    public bool AsJson(ParseResult parsed) => parsed.GetValue(_json);

    /// <summary>
    /// The same; of a running engine the folder that it says, if it lies on this machine: for verbs that only read there.
    /// </summary>
    /// <exception cref="RefusedException">NeedsRunningEngine: the engine is on another machine.</exception>
    public async Task<string?> ReadableFolderAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        (string? folder, string? host) = Where(parsed);
        if (host is null)
            return folder;
        (string there, bool isHere) = await FolderOfEngineAsync(host, parsed, cancellationToken).ConfigureAwait(false);
        return isHere ? there : throw AdminErrors.WalElsewhere(host, there);
    }

    /// <summary>
    /// What a verb reads stores by that works on them without an engine: the commands and the key that the settings of
    /// the named database have, that of <c>--host</c> too if it lies on this machine. PITR_HOST does not concern it.
    /// </summary>
    /// <exception cref="UsageException">The engine of <c>--host</c> is on another machine.</exception>
    public async Task<PitrOptions> StoreOptionsAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        (string? folder, string? host) = Where(parsed);
        if (host is null || parsed.GetValue(_host) is null)
            return StoreKinds.OptionsOf(Console, folder);
        (string there, bool isHere) = await FolderOfEngineAsync(host, parsed, cancellationToken).ConfigureAwait(false);
        return isHere
            ? StoreKinds.OptionsOf(Console, there)
            : throw new UsageException(
                $"The engine at {host} has its settings in '{there}' of another machine, and stores are read by this one.",
                "Leave --host out, to read the store without the settings of a database, or run it on the engine's machine.");
    }

    private async Task<(string Folder, bool IsHere)> FolderOfEngineAsync(
        string host, ParseResult parsed, CancellationToken cancellationToken)
    {
        IDatabaseTarget target =
            await Targets.OpenRemoteAsync(host, RemoteOptions(parsed), cancellationToken).ConfigureAwait(false);
        await using (target.ConfigureAwait(false))
        {
            EngineStatus status = await target.GetStatusAsync(cancellationToken).ConfigureAwait(false);
            string there = target is PitrAdmin engine ? engine.Folder : "";
            var control = new ControlFileStore(EngineFactory.FileSystemOf(new PitrOptions()), there);
            return (there, ListenAddress.Parse(host).IsLoopback && there.Length > 0 && control.Exists
                && control.ReadAny().SystemId == status.SystemId);
        }
    }

    /// <summary>Opens what the options and variables name.</summary>
    public Task<IDatabaseTarget> OpenTargetAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        (string? folder, string? host) = Where(parsed);
        return folder is not null
            ? Targets.OpenLocalAsync(folder, cancellationToken)
            : Targets.OpenRemoteAsync(
                host ?? throw new UsageException(
                    "It is not said which database.",
                    "Name its folder with --database DIR or a running engine with --host HOST:PORT (or set PITR_DATABASE or PITR_HOST)."),
                RemoteOptions(parsed), cancellationToken);
    }

    private (string? Folder, string? Host) Where(ParseResult parsed)
    {
        string? folder = parsed.GetValue(_database);
        string? host = parsed.GetValue(_host);
        if (folder is not null && host is not null)
            throw new UsageException("Both --database and --host are given.", "Give one of them.");
        if (folder is null && host is null)
        {
            folder = NotEmpty(Console.Variable("PITR_DATABASE"));
            if (folder is null && NotEmpty(Console.Variable("PITR_HOST")) is { } named)
                host = TextForms.Address(named);
        }
        return (folder is null ? null : Console.FullPath(folder), host);
    }

    /// <summary>How a running engine is told who asks.</summary>
    private PitrAdminOptions RemoteOptions(ParseResult parsed)
    {
        string? certificate = PathOf(parsed, _tlsCertificate, "PITR_TLS_CERTIFICATE");
        string? key = PathOf(parsed, _tlsKey, "PITR_TLS_KEY");
        string? authority = PathOf(parsed, _tlsAuthority, "PITR_TLS_AUTHORITY");
        return new PitrAdminOptions
        {
            TokenFile = parsed.GetValue(_tokenFile) is { } file ? Console.FullPath(file) : null,
            Tls = (certificate, key, authority) switch
            {
                (null, null, null) => null,
                ({ } shown, { } itsKey, { } signer) => new TlsFiles(shown, itsKey, signer),
                _ => throw new UsageException(
                    "Of the certificate, its key and the authority only some are named.",
                    "Give --tls-certificate, --tls-key and --tls-authority together, or none of them."),
            },
            Variable = Console.Variable,
        };
    }

    private string? PathOf(ParseResult parsed, Option<string?> option, string variable) =>
        (parsed.GetValue(option) ?? NotEmpty(Console.Variable(variable))) is { } path ? Console.FullPath(path) : null;

    private static Option<string?> TlsOption(string name, string description) => new(name)
    {
        Recursive = true,
        HelpName = "FILE",
        Description = description,
    };

    private static string? NotEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static T? Parse<T>(ArgumentResult result, Func<string, T> parse)
    {
        try
        {
            return parse(result.Tokens[0].Value);
        }
        catch (FormatException wrong)
        {
            result.AddError(wrong.Message);
            return default;
        }
    }
}
