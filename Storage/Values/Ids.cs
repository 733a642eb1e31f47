using System.Globalization;

namespace Pitr;

/// <summary>Number of a transaction, given in commit order along a timeline; 0 is "none".</summary>
/// <param name="Value">The number.</param>
public readonly record struct TransactionId(ulong Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>
/// Number of a branch of WAL history; the first is 1. Unique only together with its <see cref="Lineage"/>.
/// </summary>
/// <param name="Value">The number.</param>
public readonly record struct TimelineId(uint Value)
{
    /// <summary>The timeline of a database that was never recovered.</summary>
    public static TimelineId First => new(1);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>The random identifier that makes a timeline unique, whatever number it took (H14, H33).</summary>
/// <param name="Value">Random, never 0.</param>
public readonly record struct Lineage(ulong Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString("X16", CultureInfo.InvariantCulture);
}

/// <summary>Random number of a database, in every file that belongs to it; never 0.</summary>
/// <param name="Value">Random, never 0.</param>
public readonly record struct SystemIdentifier(ulong Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString("X16", CultureInfo.InvariantCulture);
}

/// <summary>Number of a datafile within its database; never given twice (H43). <c>main</c> is 1.</summary>
/// <param name="Value">The number, from 1.</param>
public readonly record struct FileId(uint Value)
{
    /// <summary>The datafile that always exists.</summary>
    public static FileId Main => new(1);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>Number of a table within its database; never given twice (H43). It is the key prefix in the tree.</summary>
/// <param name="Value">The number, from 1.</param>
public readonly record struct TableId(uint Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>
/// Random number of a datafile, new when it is created, restored or recovered from a copy (H15); never 0.
/// </summary>
/// <param name="Value">Random, never 0.</param>
public readonly record struct Incarnation(ulong Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString("X16", CultureInfo.InvariantCulture);
}

/// <summary>A position that leaves the database: valid only on the path, at or below each fork (H33).</summary>
/// <param name="Lineage">The timeline's random identifier.</param>
/// <param name="Lsn">The position on it.</param>
public readonly record struct Position(Lineage Lineage, Lsn Lsn)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Lineage}:{Lsn}";
}
