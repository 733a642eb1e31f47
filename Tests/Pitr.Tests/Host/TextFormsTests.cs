using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>The forms of the command line's contract.</summary>
public sealed class TextFormsTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("123", 123)]
    [InlineData("64KiB", 65536)]
    [InlineData("16MiB", 16777216)]
    [InlineData("2GiB", 2147483648)]
    public void A_size_is_a_number_of_bytes_or_of_binary_units(string text, long bytes) =>
        Assert.Equal(bytes, TextForms.Size(text));

    [Theory]
    [InlineData("")]
    [InlineData("-1")]
    [InlineData("1MB")]
    [InlineData("1 MiB")]
    [InlineData("1.5MiB")]
    [InlineData("9999999999999999999")]
    [InlineData("9999999999GiB")]
    public void What_is_no_size_is_refused(string text) => Assert.Throws<FormatException>(() => TextForms.Size(text));

    [Theory]
    [InlineData("250ms", 0.25)]
    [InlineData("90s", 90)]
    [InlineData("10m", 600)]
    [InlineData("2h", 7200)]
    [InlineData("14d", 1209600)]
    public void A_duration_has_its_unit(string text, double seconds) =>
        Assert.Equal(seconds, TextForms.Duration(text).TotalSeconds);

    [Theory]
    [InlineData("10")]
    [InlineData("0s")]
    [InlineData("-5m")]
    [InlineData("1w")]
    [InlineData("999999999d")]
    public void What_is_no_duration_is_refused(string text) =>
        Assert.Throws<FormatException>(() => TextForms.Duration(text));

    [Theory]
    [InlineData("2026-11-22T14:05:00Z", "2026-11-22T14:05:00.0000000Z")]
    [InlineData("2026-11-22T15:05:00.1234567+01:00", "2026-11-22T14:05:00.1234567Z")]
    [InlineData("2026-11-22 14:05-02:30", "2026-11-22T16:35:00.0000000Z")]
    public void A_time_becomes_utc(string text, string utc) => Assert.Equal(utc, TextForms.Time(TextForms.Time(text)));

    [Theory]
    [InlineData("2026-11-22T14:05:00", "no offset")]
    [InlineData("2026-11-22 14:05", "no offset")]
    [InlineData("2026-11-22", "not a TIME")]
    [InlineData("now", "not a TIME")]
    [InlineData("2026-13-22T14:05:00Z", "not a TIME")]
    [InlineData("2026-11-22T14:05:00.12345678Z", "not a TIME")]
    public void A_time_without_an_offset_is_refused(string text, string why) =>
        Assert.Contains(
            why, Assert.Throws<FormatException>(() => TextForms.Time(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("orders", true)]
    [InlineData("a-b_9", true)]
    [InlineData("Orders", false)]
    [InlineData("9a", false)]
    [InlineData("", false)]
    [InlineData("a.b", false)]
    public void A_name_is_plain(string text, bool isName)
    {
        if (isName)
            Assert.Equal(text, TextForms.Name(text));
        else
            Assert.Throws<FormatException>(() => TextForms.Name(text));
    }

    [Fact]
    public void Localhost_and_its_number_are_one_address() =>
        Assert.Equal("127.0.0.1:4053", TextForms.Address("localhost:4053"));

    [Theory]
    [InlineData("4053")]
    [InlineData("host:")]
    [InlineData("host:99999")]
    [InlineData("a/b:1")]
    public void What_is_no_address_is_refused(string text) =>
        Assert.Throws<FormatException>(() => TextForms.Address(text));
}
