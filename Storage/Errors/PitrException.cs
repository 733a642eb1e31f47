namespace Pitr;

/// <summary>The base of all failures that Pitr reports: what happened, and what to do now.</summary>
public abstract class PitrException : Exception
{
    private protected PitrException(ErrorCode code, string message, string hint, Exception? inner = null)
        : base(message, inner) => (Code, Hint) = (code, hint);

    /// <summary>Stable, documented in <c>docs/reference/errors.md</c>; safe to match on.</summary>
    public ErrorCode Code { get; }

    /// <summary>What the reader can do now. Never empty; following it never destroys data.</summary>
    public string Hint { get; }

    /// <summary>The exit code of the command line for this kind.</summary>
    public abstract int ExitCode { get; }

    /// <inheritdoc/>
    public override string ToString() =>
        $"PITR-{(int)Code}: {Message}{Environment.NewLine}HINT: {Hint}{Environment.NewLine}{base.ToString()}";
}
