using System.Globalization;
using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// Where replay stops. Built by <c>Including(x)</c> (x is the last thing that is there) or <c>Before(x)</c> (x is the
/// first thing that is not), or one of <see cref="Latest"/> and <see cref="Immediate"/>.
/// </summary>
/// <remarks>
/// A target is what was asked for; the cut, the LSN of the last record that is applied, is what
/// <see cref="TargetSearch"/> makes of it along one path of timelines. Every cut is a transaction boundary, since a
/// transaction is one record. Immutable; any thread.
/// </remarks>
public sealed record RecoveryTarget
{
    /// <summary>The forms of a target.</summary>
    public enum Form
    {
        /// <summary>The end of contiguous WAL.</summary>
        Latest,
        /// <summary>The stop of the backup set: the first moment at which it is whole.</summary>
        Immediate,
        /// <summary>A position in the WAL.</summary>
        Lsn,
        /// <summary>A commit time.</summary>
        Time,
        /// <summary>A transaction.</summary>
        Transaction,
        /// <summary>A named LSN.</summary>
        RestorePoint,
    }

    [JsonConstructor]
    internal RecoveryTarget() { }

    /// <summary>What the target names.</summary>
    public required Form Kind { get; init; }

    /// <summary>True for <c>Including</c>: what is named is part of the result.</summary>
    public bool IsInclusive { get; init; } = true;

    /// <summary>The position, if <see cref="Kind"/> is <see cref="Form.Lsn"/>.</summary>
    public Lsn Lsn { get; init; }

    /// <summary>The time (UTC), if <see cref="Kind"/> is <see cref="Form.Time"/>.</summary>
    public DateTimeOffset Time { get; init; }

    /// <summary>The transaction, if <see cref="Kind"/> is <see cref="Form.Transaction"/>.</summary>
    public TransactionId TransactionId { get; init; }

    /// <summary>
    /// The restore point's name, if <see cref="Kind"/> is <see cref="Form.RestorePoint"/>; else empty.
    /// </summary>
    public string Name { get; init; } = "";

    /// <summary>The end of contiguous WAL. WAL beyond a gap is a refusal, not an end.</summary>
    public static RecoveryTarget Latest { get; } = new() { Kind = Form.Latest };

    /// <summary>The stop of the backup set.</summary>
    public static RecoveryTarget Immediate { get; } = new() { Kind = Form.Immediate };

    /// <summary>Every record whose LSN is at or below this one.</summary>
    /// <param name="lsn">A position in the WAL; it need not be the end of a record.</param>
    public static RecoveryTarget Including(Lsn lsn) => new() { Kind = Form.Lsn, Lsn = lsn };

    /// <summary>Every record whose LSN is below this one.</summary>
    /// <param name="lsn">A position in the WAL; it need not be the end of a record.</param>
    public static RecoveryTarget Before(Lsn lsn) => Including(lsn) with { IsInclusive = false };

    /// <summary>Every transaction that committed at or before this time.</summary>
    /// <param name="time">Compared with commit times, which are UTC and grow along a timeline.</param>
    public static RecoveryTarget Including(DateTimeOffset time) =>
        new() { Kind = Form.Time, Time = time.ToUniversalTime() };

    /// <summary>Every transaction that committed before this time.</summary>
    /// <param name="time">Compared with commit times, which are UTC and grow along a timeline.</param>
    public static RecoveryTarget Before(DateTimeOffset time) => Including(time) with { IsInclusive = false };

    /// <summary>Everything up to this transaction, with it.</summary>
    /// <param name="transaction">Its number, as the commit returned it.</param>
    public static RecoveryTarget Including(TransactionId transaction) =>
        new() { Kind = Form.Transaction, TransactionId = transaction };

    /// <summary>Everything up to this transaction, without it.</summary>
    /// <param name="transaction">Its number, as the commit returned it.</param>
    public static RecoveryTarget Before(TransactionId transaction) =>
        Including(transaction) with { IsInclusive = false };

    /// <summary>Everything up to the restore point of this name.</summary>
    /// <param name="name">As it was given to <c>pitr restore-point</c>.</param>
    public static RecoveryTarget IncludingRestorePoint(string name) => new() { Kind = Form.RestorePoint, Name = name };

    /// <summary>
    /// Everything before the restore point's own record; holds the same data as <see cref="IncludingRestorePoint"/>.
    /// </summary>
    /// <param name="name">As it was given to <c>pitr restore-point</c>.</param>
    public static RecoveryTarget BeforeRestorePoint(string name) =>
        IncludingRestorePoint(name) with { IsInclusive = false };

    /// <summary>For people: <c>before 0/16B3F80</c>, <c>including restore point "monday"</c>.</summary>
    public override string ToString()
    {
        string side = IsInclusive ? "including" : "before";
        return Kind switch
        {
            Form.Latest => "the end of the WAL",
            Form.Immediate => "the stop of the backup set",
            Form.Lsn => $"{side} {Lsn}",
            Form.Time => $"{side} {UtcText.Of(Time)}",
            Form.Transaction => $"{side} transaction {TransactionId}",
            Form.RestorePoint => $"{side} restore point '{Name}'",
            _ => throw new BugException($"There is no text for a target of the form {Kind}."),
        };
    }
}

/// <summary>Times as text: ISO 8601, UTC, seven digits.</summary>
internal static class UtcText
{
    public const string Format = "yyyy-MM-ddTHH:mm:ss.fffffffZ";

    public static string Of(DateTimeOffset time) => time.UtcDateTime.ToString(Format, CultureInfo.InvariantCulture);

    public static string Of(long ticks) => Of(new DateTimeOffset(ticks, TimeSpan.Zero));
}
