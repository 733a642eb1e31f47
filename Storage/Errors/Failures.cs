namespace Pitr;

// The kinds of failure. Code catches kinds; people look up codes. Messages and hints are made in one static factory
// per code, in the `…Errors` class of the layer that reports it.

/// <summary>
/// The state does not allow it: fenced, locked, offline, shutting down, target not reachable. Exit code 4.
/// </summary>
public class RefusedException : PitrException
{
    internal RefusedException(ErrorCode code, string message, string hint, Exception? inner = null)
        : base(code, message, hint, inner) { }

    /// <inheritdoc/>
    public override int ExitCode => 4;
}

/// <summary>A transaction that cannot be serialized: run it again. Exit code 4.</summary>
public sealed class ConflictException : RefusedException
{
    internal ConflictException(ErrorCode code, string message, string hint) : base(code, message, hint) { }
}

/// <summary>A key, table, datafile, backup or database is not there. Exit code 3.</summary>
public sealed class NotFoundException : PitrException
{
    internal NotFoundException(ErrorCode code, string message, string hint) : base(code, message, hint) { }

    /// <inheritdoc/>
    public override int ExitCode => 3;
}

/// <summary>Bytes are not what was written. Exit code 5.</summary>
public sealed class DamageException : PitrException
{
    internal DamageException(ErrorCode code, string message, string hint, Exception? inner = null)
        : base(code, message, hint, inner) { }

    /// <inheritdoc/>
    public override int ExitCode => 5;

    /// <summary>The file or object.</summary>
    public required string Path { get; init; }

    /// <summary>In bytes from the start of the file; −1 if the damage has no place.</summary>
    public long Offset { get; init; } = -1;
}

/// <summary>The disk or a store said no. Exit code 1.</summary>
public sealed class StorageFailedException : PitrException
{
    internal StorageFailedException(ErrorCode code, string message, string hint, Exception? inner = null)
        : base(code, message, hint, inner) { }

    /// <inheritdoc/>
    public override int ExitCode => 1;

    /// <summary>The file or object.</summary>
    public string Path { get; init; } = "";

    /// <summary>The operating system's error number; 0 if there is none.</summary>
    public int Errno { get; init; }

    /// <summary>True if there was no room on the disk.</summary>
    public bool IsDiskFull => Code == ErrorCode.DiskFull;
}

/// <summary>An invariant of Pitr does not hold: a bug. Exit code 1.</summary>
public sealed class BugException : PitrException
{
    internal BugException(string message)
        : base(
            ErrorCode.InvariantBroken, message, "Stop the engine, keep the folder as it is, and report this text.")
    { }

    /// <inheritdoc/>
    public override int ExitCode => 1;
}
