using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>How reading a log ended.</summary>
internal enum WalEndReason
{
    /// <summary>There are no more records, and nothing that says that there were.</summary>
    End,
    /// <summary>
    /// The rest of a group that was never acknowledged lies behind; the log ends before its first bad record.
    /// </summary>
    TornTail,
    /// <summary>Bytes are missing.</summary>
    Gap,
    /// <summary>Bytes are not what was written.</summary>
    Damage,
}

/// <summary>What lies where the next record should be.</summary>
internal enum FoundAtEnd
{
    /// <summary>No byte: the segments end there.</summary>
    Nothing,
    /// <summary>Zeroes.</summary>
    Zeroes,
    /// <summary>Bytes that are no record, or one that does not chain to the one before it.</summary>
    BadRecord,
    /// <summary>The beginning of a record whose rest has no bytes.</summary>
    CutRecord,
    /// <summary>A record that reaches over the LSN at which reading was to stop.</summary>
    CrossesStop,
    /// <summary>The LSN at which reading was to stop.</summary>
    Stop,
    /// <summary>The bytes are there and cannot be read.</summary>
    Unreadable,
}

/// <summary>What lies behind that place, up to the end of the existing segments.</summary>
internal enum FoundBehind
{
    /// <summary>Nothing but zeroes.</summary>
    Nothing,
    /// <summary>Other bytes, but no good record of a later group.</summary>
    Remains,
    /// <summary>
    /// A good record of a group that began behind that place: it was written only after what is missing had been
    /// synced.
    /// </summary>
    LaterGroup,
    /// <summary>A hole, and segments behind it.</summary>
    LaterSegment,
    /// <summary>Bytes that cannot be read.</summary>
    Unreadable,
}

/// <summary>What the decision rests on.</summary>
/// <param name="Found">What lies where the next record should be.</param>
/// <param name="Behind">What lies behind it.</param>
/// <param name="IsBelowKnownEnd">A clean shutdown, a checkpoint or an archive says that the log goes on there.</param>
/// <param name="MayEndInRecord">The bytes come from an archive, which ends at a segment's or part's end.</param>
internal readonly record struct EndFacts(
    FoundAtEnd Found, FoundBehind Behind, bool IsBelowKnownEnd, bool MayEndInRecord);

/// <summary>The end of a log, as decided.</summary>
/// <param name="Reason">What it is.</param>
/// <param name="At">The first LSN that is not good; a gap begins, or the damage lies, there.</param>
/// <param name="Row">The label of the row that decided.</param>
/// <param name="Why">Half a sentence for messages.</param>
/// <param name="Path">The file or object of that place.</param>
/// <param name="Offset">The byte in it.</param>
/// <param name="Cause">What the source threw, if it did.</param>
internal sealed record WalEnd(
    WalEndReason Reason, Lsn At, string Row, string Why, string Path, long Offset, PitrException? Cause = null)
{
    /// <summary>True if everything up to <see cref="At"/> is the whole log.</summary>
    public bool IsWhole => Reason is WalEndReason.End or WalEndReason.TornTail;

    /// <summary>The failure that a gap or damage is.</summary>
    public PitrException ToException() => Cause ?? (Reason == WalEndReason.Gap
        ? WalErrors.Gap(At, Path)
        : WalErrors.WalDamaged(Path, Offset, At, $"{Why} (case {Row})"));
}

/// <summary>The table that tells the end of the log from damage (design §8, H6).</summary>
/// <remarks>
/// Within the last group the disk may have kept later sectors and lost earlier ones: it was not synced, so nothing of
/// it was acknowledged. A later group is written only after the earlier one was synced, so a good record of one proves
/// that what lies before it was durable once. Exactly one row fits any facts; its label is in log, errors and tests.
/// </remarks>
internal static class EndOfWal
{
    internal sealed record Row(string Label, Func<EndFacts, bool> Fits, WalEndReason Reason, string Why);

    public static readonly IReadOnlyList<Row> Rows =
    [
        new("E1", f => f.Found == FoundAtEnd.Stop,
            WalEndReason.End, "reading was to stop here"),
        new("E2", f => f.Found == FoundAtEnd.CrossesStop,
            WalEndReason.Damage, "a record reaches over the LSN at which the log must end"),
        new("E3", f => f.Found == FoundAtEnd.Unreadable || (f.Behind == FoundBehind.Unreadable && !IsStop(f)),
            WalEndReason.Damage, "the bytes cannot be read"),
        new("E4", f => IsOut(f) && f.Behind is FoundBehind.LaterSegment or FoundBehind.LaterGroup,
            WalEndReason.Gap, "a segment is missing, and later ones are there"),
        new("E5", f => IsOut(f) && IsAlone(f) && f.IsBelowKnownEnd && !IsCutOfArchive(f),
            WalEndReason.Gap, "the segments end before the log does"),
        new("E6", f => f.Found == FoundAtEnd.CutRecord && IsAlone(f) && !f.IsBelowKnownEnd && !f.MayEndInRecord,
            WalEndReason.Gap, "a record goes on in a segment that is missing"),
        new("E7", f => f.Found == FoundAtEnd.Nothing && IsAlone(f) && !f.IsBelowKnownEnd,
            WalEndReason.End, "the segments end here"),
        new("E8", f => IsCutOfArchive(f) && IsAlone(f),
            WalEndReason.End, "the rest of the next record was not shipped"),
        new("E9", f => IsBad(f) && f.IsBelowKnownEnd && f.Behind != FoundBehind.Unreadable,
            WalEndReason.Damage, "the bytes are no record of this log, which is known to go on there"),
        new("E10", f => IsBad(f) && !f.IsBelowKnownEnd && f.Behind == FoundBehind.LaterGroup,
            WalEndReason.Damage, "the bytes are no record of this log, and a later group follows"),
        new("E11", f =>
            f.Found == FoundAtEnd.Zeroes && !f.IsBelowKnownEnd && IsQuiet(f) && f.Behind != FoundBehind.Remains,
            WalEndReason.End, "only zeroes follow"),
        new("E12", f => IsBad(f) && !f.IsBelowKnownEnd && IsQuiet(f)
                && (f.Found == FoundAtEnd.BadRecord || f.Behind == FoundBehind.Remains),
            WalEndReason.TornTail, "the rest of a group that was not acknowledged follows"),
    ];

    /// <summary>The one row that fits.</summary>
    public static Row Decide(EndFacts facts)
    {
        Row? decided = null;
        foreach (Row row in Rows)
        {
            if (!row.Fits(facts))
                continue;
            Invariant.Require(decided is null, "E", $"Rows {decided?.Label} and {row.Label} both fit {facts}.");
            decided = row;
        }
        Invariant.Require(decided is not null, "E", $"No row fits {facts}.");
        return decided;
    }

    private static bool IsStop(EndFacts f) => f.Found is FoundAtEnd.Stop or FoundAtEnd.CrossesStop;

    private static bool IsOut(EndFacts f) => f.Found is FoundAtEnd.Nothing or FoundAtEnd.CutRecord;

    private static bool IsBad(EndFacts f) => f.Found is FoundAtEnd.Zeroes or FoundAtEnd.BadRecord;

    private static bool IsCutOfArchive(EndFacts f) => f.Found == FoundAtEnd.CutRecord && f.MayEndInRecord;

    private static bool IsAlone(EndFacts f) => f.Behind is FoundBehind.Nothing or FoundBehind.Remains;

    private static bool IsQuiet(EndFacts f) =>
        f.Behind is FoundBehind.Nothing or FoundBehind.Remains or FoundBehind.LaterSegment;
}
