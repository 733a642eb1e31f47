namespace Pitr.Cli;

/// <summary>What the process says when it ends; scripts depend on it.</summary>
internal static class ExitCodes
{
    /// <summary>It was done.</summary>
    public const int Done = 0;

    /// <summary>It was not done: the disk, a store, the connection, or a bug.</summary>
    public const int Failed = 1;

    /// <summary>The command line is wrong.</summary>
    public const int Usage = 2;

    /// <summary>A key, table, datafile, backup or database is not there.</summary>
    public const int NotFound = 3;

    /// <summary>The state does not allow it.</summary>
    public const int Refused = 4;

    /// <summary>Damage was found.</summary>
    public const int Damage = 5;
}
