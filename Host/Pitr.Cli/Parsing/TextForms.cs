using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Pitr.Actors;

namespace Pitr.Cli;

/// <summary>
/// The forms of the contract: SIZE, DURATION, NAME, TIME, LSN, keys. Each throws a FormatException that says the form.
/// </summary>
internal static partial class TextForms
{
    /// <summary>Bytes: a number, or one followed by KiB, MiB, GiB or TiB.</summary>
    public static long Size(string text) => SettingForms.Size(text);

    /// <summary>Bytes a second: a size that is more than zero.</summary>
    public static long SizePerSecond(string text) => Size(text) is > 0 and var bytes
        ? bytes
        : throw new FormatException("A rate of 0 bytes a second would never end. Leave it out for none.");

    /// <summary>A length of time: a number with ms, s, m, h or d; more than zero.</summary>
    public static TimeSpan Duration(string text) => SettingForms.Duration(text);

    /// <summary>A name of a table, datafile or restore point.</summary>
    public static string Name(string text) => Limits.IsName(text)
        ? text
        : throw new FormatException(
            $"'{text}' is not a NAME: a to z, 0 to 9, _ and -, beginning with a letter, at most 63 characters.");

    /// <summary>A moment with its offset from UTC.</summary>
    public static DateTimeOffset Time(string text)
    {
        Match match = TimeForm().Match(text);
        if (match.Success && match.Groups["offset"].Length == 0)
        {
            throw new FormatException(
                $"The TIME '{text}' has no offset, so it is not one moment: end it with Z for UTC, or with +hh:mm or -hh:mm.");
        }
        return match.Success
            && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.None, out DateTimeOffset time)
            ? time.ToUniversalTime()
            : throw new FormatException(
                $"'{text}' is not a TIME: ISO 8601 with an offset, such as 2026-11-22T14:05:00Z or 2026-11-22T15:05:00.25+01:00.");
    }

    /// <summary>A position in the WAL.</summary>
    public static Lsn Position(string text) => Lsn.Parse(text, CultureInfo.InvariantCulture);

    /// <summary>A transaction's number.</summary>
    public static TransactionId Transaction(string text) =>
        ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) && number > 0
            ? new TransactionId(number)
            : throw new FormatException($"'{text}' is not a transaction id: a whole number from 1.");

    /// <summary>A whole number from 1.</summary>
    public static long Count(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number > 0
            ? number
            : throw new FormatException($"'{text}' is not a whole number from 1.");

    /// <summary>A number of records a second, more than zero.</summary>
    public static double Rate(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number)
            && number is > 0 and < 1e12
            ? number
            : throw new FormatException($"'{text}' is not a rate: a number of records a second, more than 0.");

    /// <summary>The id of a fence.</summary>
    public static Guid Fence(string text) => Guid.TryParse(text, out Guid id)
        ? id
        : throw new FormatException($"'{text}' is not the id of a fence: `pitr status` shows them.");

    /// <summary>HOST:PORT; localhost is 127.0.0.1, so that one engine has one address.</summary>
    public static string Address(string text)
    {
        int colon = text.LastIndexOf(':');
        if (colon <= 0
            || !ushort.TryParse(
                text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port)
            || text.AsSpan(0, colon).IndexOfAny(" /@") >= 0)
            throw new FormatException($"'{text}' is not HOST:PORT, such as 127.0.0.1:4053.");
        string host = text[..colon];
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{(host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? "127.0.0.1" : host)}:{port}");
    }

    /// <summary>The folder of a datafile that lies elsewhere now: OLD=NEW.</summary>
    public static KeyValuePair<string, string> Mapping(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        return equals > 0 && equals < text.Length - 1
            ? new KeyValuePair<string, string>(text[..equals], text[(equals + 1)..])
            : throw new FormatException($"'{text}' is not OLD=NEW.");
    }

    /// <summary>Bytes of a key or value: UTF-8 text, or hexadecimal digits under <c>--hex</c>.</summary>
    public static byte[] Bytes(string text, bool isHex)
    {
        if (!isHex)
            return Strict.GetBytes(text);
        try
        {
            return Convert.FromHexString(text);
        }
        catch (FormatException)
        {
            throw new UsageException(
                $"'{text}' is not hexadecimal.", "Under --hex, keys and values are pairs of digits 0-9, a-f.");
        }
    }

    /// <summary>The text of a key or value, as <see cref="Bytes"/> reads it.</summary>
    public static string Text(ReadOnlySpan<byte> bytes, bool isHex)
    {
        if (isHex)
            return Convert.ToHexStringLower(bytes);
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException cause)
        {
            throw new VerbFailedException(
                $"The bytes {Convert.ToHexStringLower(bytes[..Math.Min(bytes.Length, 16)])}… are not UTF-8 text.",
                "Read them with --hex.", cause);
        }
    }

    /// <summary>A moment in the contract's form: ISO 8601 UTC with seven digits.</summary>
    public static string Time(DateTimeOffset time) =>
        time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fffffff'Z'", CultureInfo.InvariantCulture);

    private static readonly UTF8Encoding Strict =
        new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    [GeneratedRegex(
        @"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,7})?)?(?<offset>Z|[+-][0-9]{2}:[0-9]{2})?\z",
        RegexOptions.CultureInvariant)]
    private static partial Regex TimeForm();
}
