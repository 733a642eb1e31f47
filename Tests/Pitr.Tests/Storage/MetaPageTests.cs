using Pitr.Storage;

namespace Pitr.Tests;

public sealed class MetaPageTests
{
    internal static MetaPage Sample(ulong generation = 6) => new()
    {
        SystemId = new SystemIdentifier(0x1111),
        FileId = new FileId(3),
        Incarnation = new Incarnation(0x2222),
        Generation = generation,
        CheckpointLsn = new Lsn(0x16B3F80),
        Lineage = new Lineage(0x3333),
        Root = new TreeRoot(17, 3, 5, 1_000_000),
        FreeChain = 40,
        FreeChainGeneration = 5,
        FreeChainPages = 2,
        FreePages = 12,
        PageCount = 100,
        RestoreStamp = new Guid("00112233-4455-6677-8899-aabbccddeeff"),
    };

    [Fact]
    public void What_is_written_reads_back()
    {
        byte[] page = new byte[PageLayout.PageBytes];
        Sample().Write(page);
        Assert.Equal(Sample(), MetaPage.TryRead(page, 0, out _));
    }

    [Fact]
    public void Its_bytes_are_those_of_the_format()
    {
        byte[] page = new byte[PageLayout.PageBytes];
        Sample().Write(page);
        Assert.Equal(
            "0000000001000000" + "0600000000000000" + "0000000000000000" +
            "5049545244415441" + "0100000000200000" + "1111000000000000" + "0300000001000000" +
            "2222000000000000" + "0600000000000000" + "803F6B0100000000" + "3333000000000000" +
            "1100000003000000" + "0500000000000000" + "40420F0000000000" + "2800000064000000" +
            "0500000000000000" + "0200000000000000" + "0C00000000000000" + "33221100554477668899AABBCCDDEEFF",
            Convert.ToHexString(page.AsSpan(8, 160)));
    }

    [Fact]
    public void Any_changed_byte_makes_it_invalid()
    {
        byte[] page = new byte[PageLayout.PageBytes];
        for (int at = 0; at < PageLayout.PageBytes; at += 61)
        {
            Sample().Write(page);
            page[at] ^= 1;
            Assert.Null(MetaPage.TryRead(page, 0, out string why));
            Assert.NotEmpty(why);
        }
    }

    [Fact]
    public void It_is_valid_only_in_the_slot_of_its_generation()
    {
        byte[] page = new byte[PageLayout.PageBytes];
        Sample(7).Write(page);
        Assert.Null(MetaPage.TryRead(page, 0, out string why));
        Assert.Equal("says that it is page 1", why);
        PageChecksum.Stamp(page, 0, 7);
        Assert.Null(MetaPage.TryRead(page, 0, out why));
        Assert.Equal("has generation 7 in the wrong place", why);
    }

    [Fact]
    public void A_newer_format_is_told_from_damage()
    {
        byte[] page = new byte[PageLayout.PageBytes];
        (Sample() with { FormatVersion = 2 }).Write(page);
        Assert.Equal(2u, MetaPage.TryRead(page, 0, out _)!.FormatVersion);
    }

    [Fact]
    public void One_that_names_a_page_outside_of_the_file_is_invalid()
    {
        byte[] page = new byte[PageLayout.PageBytes];
        (Sample() with { PageCount = 40 }).Write(page);
        Assert.Null(MetaPage.TryRead(page, 0, out string why));
        Assert.Equal("names a page outside of the file", why);
    }
}
