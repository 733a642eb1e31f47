using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>Failures of administration: texts and hints, one factory a code.</summary>
internal static class AdminErrors
{
    public static RefusedException NotAuthorized() => new(
        ErrorCode.NotAuthorized,
        "The engine does not admit this client: the token is missing or is not its token.",
        "Run it as the user that runs `pitr serve`, or name the engine's token file with --token-file.");

    public static RefusedException RoleTooLow(AdminRole role) => new(
        ErrorCode.NotAuthorized,
        $"This needs the role of an operator; the token that was shown is that of a {role.ToString().ToLowerInvariant()}.",
        "Name an operator's token file with --token-file.");

    public static RefusedException Unintelligible(string why) => new(
        ErrorCode.FormatVersion,
        $"A message cannot be understood: {why}",
        "Use a `pitr` of the same release as the engine.");

    public static RefusedException ProtocolVersion(int version) => new(
        ErrorCode.FormatVersion,
        $"The client speaks version {version} of the administration protocol, the engine version {AdminProtocol.ProtocolVersion}.",
        "Use a `pitr` of the same release as the engine.");

    public static RefusedException TlsFile(string path, string why) => new(
        ErrorCode.SettingsInvalid,
        $"The file '{path}' can't be used for TLS: {why}.",
        "Name the PEM files of a certificate, of its key, and of the authority that signs those of the other side.");

    public static RefusedException NeedsTls(string address) => new(
        ErrorCode.SettingsInvalid,
        $"The address {address} can be reached from other machines, which needs TLS with certificates on both sides.",
        "Set tlsCertificate, tlsKey and tlsAuthority in pitr.json, or listen on a loopback address such as 127.0.0.1.");

    public static RefusedException ClientNeedsTls(string address) => new(
        ErrorCode.NotAuthorized,
        $"The engine at {address} is on another machine, or reached as if it were: that needs a certificate.",
        "Name the files with --tls-certificate, --tls-key and --tls-authority, or use a loopback address such as 127.0.0.1.");

    public static RefusedException HttpOnLoopback(string address, string http) => new(
        ErrorCode.NeedsRunningEngine,
        $"The engine at {address} has its data at {http}, which only its own machine reaches.",
        "Start it with --http HOST:PORT of the same host, or run this there.");

    public static RefusedException TooManySessions(int sessionsMax) => new(
        ErrorCode.NotAuthorized,
        $"The engine has {sessionsMax} sessions open and takes no more.",
        "Try again when other clients have ended.");

    public static ArgumentException NotAName(string name) => new(
        $"'{name}' is not a name: a to z, 0 to 9, _ and -, beginning with a letter, at most 63 characters.");

    public static ArgumentException RequestTooLong(int bytes, int bytesMax) => new(
        $"A request of {bytes} bytes is longer than a message may be, which is {bytesMax} bytes: name less in it.");

    public static RefusedException AnswerTooLong(int bytes, int bytesMax) => new(
        ErrorCode.AnswerTooLong,
        $"The answer has {bytes} bytes, and a message may have {bytesMax}. What was asked for was carried out.",
        "Look with `pitr status`, or ask on the engine's own machine, with the database's folder.");

    public static RefusedException PathOutsideRoots(string path) => new(
        ErrorCode.NotAuthorized,
        $"The path '{path}' does not lie under a root of this engine.",
        "Add its folder to \"roots\" in the database's pitr.json, or name another path.");

    public static RefusedException RootInACircle(string root) => new(
        ErrorCode.SettingsInvalid,
        $"The root '{root}' leads through more links than the system follows: they form a circle.",
        "Correct the links, or name another folder in \"roots\" of the database's pitr.json.");

    public static StorageFailedException ConnectionLost(string address, string why) => new(
        ErrorCode.ConnectionLost,
        $"The connection to the engine at {address} ended: {why}.",
        "See whether the engine runs (its log says why it stopped), then look at the data before doing it again.");

    public static StorageFailedException NoEngine(string address, string why) => new(
        ErrorCode.ConnectionLost,
        $"No engine answers at {address}: {why}.",
        "Start it with `pitr serve DIR`, or name its address with --host HOST:PORT.");

    public static StorageFailedException NotAnEngine(string what) => new(
        ErrorCode.ConnectionLost,
        $"What answers is no engine of this release: it sent {what}.",
        "See whether the address is that of `pitr serve`, and that no proxy answers in its place.");

    public static StorageFailedException StreamCutOff(string address, long rowCount) => new(
        ErrorCode.ConnectionLost,
        $"The stream from {address} ended after {rowCount} rows without its closing mark.",
        "Do not use what was read: it is not whole. See whether the engine runs, and read again.");

    public static RefusedException NeedsRunningEngine(string verb) => new(
        ErrorCode.NeedsRunningEngine,
        $"'{verb}' needs a running engine.",
        "Start one with `pitr serve DIR` and name it with --host HOST:PORT.");

    public static RefusedException WalElsewhere(string host, string folder) => new(
        ErrorCode.NeedsRunningEngine,
        $"The engine at {host} has its database in '{folder}' of another machine, and WAL is read from the disk.",
        "Run it on the engine's machine, or look into a store of its WAL: --archive STORE");

    public static NotFoundException TableNotInWal(string table) => new(
        ErrorCode.TableUnknown,
        $"Nothing in this WAL names a table '{table}'.",
        "Give its number (tableId in the dump), or look into a store or a segment that holds a checkpoint since it was made.");

    public static NotFoundException KeyNotInWal(string table, string key, bool onlyDeleted) => new(
        ErrorCode.KeyUnknown,
        $"No transaction in this WAL {(onlyDeleted ? "deleted" : "touched")} key '{key}' of table '{table}'.",
        onlyDeleted
            ? "Leave --deleted out for what set it, or look further back: --archive STORE"
            : "See how the key is written (--hex, and case), or look further back: --archive STORE");

    public static NotFoundException KeyUnknown(string table, string key) => new(
        ErrorCode.KeyUnknown,
        $"Table '{table}' has no key '{key}'.",
        $"List its keys with `pitr scan {table}`.");
}

/// <summary>
/// Failures as data and back: what crosses the wire is a code, a kind, a text and a hint, never an exception.
/// </summary>
internal static class AdminProblems
{
    private const int TextCharactersMax = 4000; // of 3 bytes at most: a problem fits into a message

    /// <summary>The data of a failure; what it says in more than 4,000 characters is cut.</summary>
    public static AdminProblem Of(Exception failure)
    {
        AdminProblem whole = WholeOf(failure);
        return whole with { Message = Cut(whole.Message), Hint = Cut(whole.Hint) };
    }

    private static string Cut(string text) =>
        text.Length <= TextCharactersMax ? text : string.Concat(text.AsSpan(0, TextCharactersMax), "…");

    private static AdminProblem WholeOf(Exception failure) =>
        (failure is AggregateException { InnerException: { } inner } ? inner : failure) switch
        {
            PitrException known => new AdminProblem((int)known.Code, known.ExitCode, known.Message, known.Hint),
            OperationCanceledException => new AdminProblem(
                (int)ErrorCode.ConnectionLost, 1, "The request was given up: its client left, or did not wait any more.", "Send it again."),
            ArgumentException wrong => new AdminProblem(0, 2, wrong.Message, "Correct the request."),
            { } unknown => new AdminProblem(
                (int)ErrorCode.InvariantBroken, 1, $"{unknown.GetType().Name}: {unknown.Message}",
                "Look into the engine's log, and report this text."),
        };

    /// <summary>The failure of some data.</summary>
    public static Exception ToException(AdminProblem problem)
    {
        var code = (ErrorCode)problem.Code;
        return problem.ExitCode switch
        {
            2 => new ArgumentException(problem.Message),
            3 => new NotFoundException(code, problem.Message, problem.Hint),
            4 when code == ErrorCode.Conflict => new ConflictException(code, problem.Message, problem.Hint),
            4 => new RefusedException(code, problem.Message, problem.Hint),
            5 => new DamageException(code, problem.Message, problem.Hint) { Path = "" },
            _ => new StorageFailedException(code, problem.Message, problem.Hint),
        };
    }
}
