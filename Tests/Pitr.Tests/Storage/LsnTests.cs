using Pitr;

namespace Pitr.Tests;

public sealed class LsnTests
{
    [Theory]
    [InlineData("0/16B3F80", 0x16B3F80UL)]
    [InlineData("0/0", 0UL)]
    [InlineData("FFFFFFFF/FFFFFFF8", 0xFFFFFFFFFFFFFFF8UL)]
    public void Its_text_reads_back_to_the_same_position(string text, ulong value)
    {
        Assert.Equal(new Lsn(value), Lsn.Parse(text));
        Assert.Equal(text, new Lsn(value).ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("1")]
    [InlineData("0/")]
    [InlineData("0/123456789")]
    [InlineData("0/-1")]
    [InlineData("0/ 1")]
    public void Text_of_another_form_is_refused(string text) =>
        Assert.Throws<FormatException>(() => Lsn.Parse(text));
}
