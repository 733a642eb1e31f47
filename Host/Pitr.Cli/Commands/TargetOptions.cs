using System.CommandLine;
using Pitr.Recovery;

namespace Pitr.Cli;

/// <summary>The options that say where a recovery stops; at most one of them.</summary>
internal sealed class TargetOptions
{
    private readonly Option<DateTimeOffset?> _time = CliContext.OptionOf<DateTimeOffset?>(
        "--target-time", "T", "To this moment, with its offset from UTC.", text => TextForms.Time(text));

    private readonly Option<Lsn?> _lsn = CliContext.OptionOf<Lsn?>(
        "--target-lsn", "L", "To this LSN.", text => TextForms.Position(text));

    private readonly Option<TransactionId?> _transaction = CliContext.OptionOf<TransactionId?>(
        "--target-xid", "X", "To this transaction.", text => TextForms.Transaction(text));

    private readonly Option<string?> _name = CliContext.OptionOf(
        "--target-name", "N", "To this restore point.", TextForms.Name);

    private readonly Option<bool> _immediate =
        new("--target-immediate") { Description = "To the end of the backup set." };

    private readonly Option<bool> _exclusive =
        new("--exclusive") { Description = "Stop just before the target instead of after it." };

    /// <summary>All of them.</summary>
    public Symbol[] Symbols => [_time, _lsn, _transaction, _name, _immediate, _exclusive];

    /// <summary>The target; without any option the end of the archive.</summary>
    public RecoveryTarget Read(ParseResult parsed)
    {
        bool isExclusive = parsed.GetValue(_exclusive);
        var targets = new List<RecoveryTarget>();
        if (parsed.GetValue(_time) is { } time)
            targets.Add(isExclusive ? RecoveryTarget.Before(time) : RecoveryTarget.Including(time));
        if (parsed.GetValue(_lsn) is { } lsn)
            targets.Add(isExclusive ? RecoveryTarget.Before(lsn) : RecoveryTarget.Including(lsn));
        if (parsed.GetValue(_transaction) is { } transaction)
            targets.Add(isExclusive ? RecoveryTarget.Before(transaction) : RecoveryTarget.Including(transaction));
        if (parsed.GetValue(_name) is { } name)
            targets.Add(isExclusive ? RecoveryTarget.BeforeRestorePoint(name)
                : RecoveryTarget.IncludingRestorePoint(name));
        if (parsed.GetValue(_immediate))
            targets.Add(RecoveryTarget.Immediate);
        if (targets.Count > 1)
            throw new UsageException("More than one target is given.",
                "Give one of the --target options, or none for the end of the archive.");
        if (isExclusive && (targets.Count == 0 || parsed.GetValue(_immediate)))
            throw new UsageException("--exclusive has no target to stop before.",
                "Give --target-time, --target-lsn, --target-xid or --target-name.");
        return targets.Count == 0 ? RecoveryTarget.Latest : targets[0];
    }
}
