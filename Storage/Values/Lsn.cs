using System.Globalization;

namespace Pitr;

/// <summary>
/// A position in the WAL stream, in bytes from its beginning. The LSN of a record is the position just past its last
/// byte and a multiple of 8; <see cref="Zero"/> is below every record and means "none".
/// </summary>
/// <remarks>
/// An LSN is a notion of the WAL; it lives in Storage because pages and meta pages carry it. The text form is
/// <c>HIGH/LOW</c>: two hexadecimal halves of 32 bits, as in PostgreSQL.
/// </remarks>
/// <param name="Value">Bytes from the beginning of the WAL stream.</param>
public readonly record struct Lsn(ulong Value) : IComparable<Lsn>, IComparable, IParsable<Lsn>
{
    /// <summary>Before the first record: "none".</summary>
    public static Lsn Zero => default;

    /// <summary>Above every record.</summary>
    public static Lsn MaxValue => new(ulong.MaxValue);

    /// <summary>True if this is <see cref="Zero"/>.</summary>
    public bool IsZero => Value == 0;

    /// <summary>The lesser of two.</summary>
    public static Lsn Min(Lsn left, Lsn right) => left.Value <= right.Value ? left : right;

    /// <summary>The greater of two.</summary>
    public static Lsn Max(Lsn left, Lsn right) => left.Value >= right.Value ? left : right;

    /// <inheritdoc/>
    public int CompareTo(Lsn other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public int CompareTo(object? obj) => obj is Lsn other ? CompareTo(other) : 1;

    /// <summary>Reads <c>HIGH/LOW</c>, each half one to eight hexadecimal digits.</summary>
    /// <exception cref="FormatException">The text is not of that form.</exception>
    public static Lsn Parse(string s, IFormatProvider? provider = null) =>
        TryParse(s, provider, out Lsn result)
            ? result
            : throw new FormatException(
                $"'{s}' is not an LSN: it has the form HIGH/LOW in hexadecimal, such as 0/16B3F80.");

    /// <inheritdoc/>
    public static bool TryParse(string? s, IFormatProvider? provider, out Lsn result)
    {
        result = default;
        int slash = s?.IndexOf('/', StringComparison.Ordinal) ?? -1;
        if (slash is < 1 or > 8 || s!.Length - slash - 1 is < 1 or > 8)
            return false;
        if (!uint.TryParse(
            s.AsSpan(0, slash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint high)
            || !uint.TryParse(
                s.AsSpan(slash + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint low))
            return false;
        result = new Lsn(((ulong)high << 32) | low);
        return true;
    }

    /// <summary>Bytes from <paramref name="right"/> to <paramref name="left"/>.</summary>
    public static long operator -(Lsn left, Lsn right) => (long)(left.Value - right.Value);

    /// <summary>The position <paramref name="bytes"/> further on.</summary>
    public static Lsn operator +(Lsn left, long bytes) => new(left.Value + (ulong)bytes);

    /// <summary>Bytes from another position to this one.</summary>
    public static long Subtract(Lsn left, Lsn right) => left - right;

    /// <summary>The position some bytes further on.</summary>
    public static Lsn Add(Lsn left, long bytes) => left + bytes;

    /// <summary>Comparison by position.</summary>
    public static bool operator <(Lsn left, Lsn right) => left.Value < right.Value;

    /// <summary>Comparison by position.</summary>
    public static bool operator >(Lsn left, Lsn right) => left.Value > right.Value;

    /// <summary>Comparison by position.</summary>
    public static bool operator <=(Lsn left, Lsn right) => left.Value <= right.Value;

    /// <summary>Comparison by position.</summary>
    public static bool operator >=(Lsn left, Lsn right) => left.Value >= right.Value;

    /// <summary><c>HIGH/LOW</c> in upper-case hexadecimal without leading zeros.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{(uint)(Value >> 32):X}/{(uint)Value:X}");
}
