namespace Pitr.Cli;

/// <summary>The command line is wrong in a way that only the verb can tell. Exit code 2.</summary>
internal sealed class UsageException(string message, string hint) : Exception(message)
{
    /// <summary>What to write instead.</summary>
    public string Hint { get; } = hint;
}

/// <summary>
/// A verb could not be done for a reason that is neither the engine's nor the command line's. Exit code 1.
/// </summary>
internal sealed class VerbFailedException(string message, string hint, Exception? inner = null)
    : Exception(message, inner)
{
    /// <summary>What to do now.</summary>
    public string Hint { get; } = hint;
}
