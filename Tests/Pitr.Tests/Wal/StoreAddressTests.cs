using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What an operator writes for a store, and what it stands for.</summary>
public sealed class StoreAddressTests
{
    [Theory]
    [InlineData("/backup/orders/", "/backup/orders")]
    [InlineData("backup", "/home/db/backup")]
    [InlineData("../backup", "/home/backup")]
    [InlineData("file:///backup/my%20orders", "/backup/my orders")]
    public void Addresses_of_folders_are_read(string text, string folder)
    {
        StoreAddress address = StoreAddress.Parse(text, "/home/db");
        Assert.True(address.IsFolder);
        Assert.Equal((folder, folder), (address.Folder, address.Place));
    }

    [Theory]
    [InlineData("s3://bucket", "s3", "bucket", "", "s3://bucket")]
    [InlineData("S3://bucket/a/b/", "s3", "bucket", "a/b/", "s3://bucket/a/b")]
    [InlineData("azblob://box/x", "azblob", "box", "x/", "azblob://box/x")]
    [InlineData(
        "s3://b/p?region=eu&endpoint=http://127.0.0.1:9", "s3", "b", "p/",
        "s3://b/p?endpoint=http%3A%2F%2F127.0.0.1%3A9&region=eu")]
    public void Addresses_of_services_are_read(
        string text, string scheme, string authority, string prefix, string place)
    {
        StoreAddress address = StoreAddress.Parse(text, "/home/db");
        Assert.Equal(
            (scheme, authority, prefix, place), (address.Scheme, address.Authority, address.Prefix, address.Place));
        Assert.Equal(place, StoreAddress.Parse(place, "/").Place);
    }

    [Fact]
    public void A_command_has_a_name() => Assert.Equal("push", StoreAddress.Parse("command:push", "/").Path);

    [Theory]
    [InlineData("")]
    [InlineData("file://host/x")]
    [InlineData("ftp://x")]
    [InlineData("s3://")]
    [InlineData("s3:bucket")]
    [InlineData("s3://bucket/../x")]
    [InlineData("s3://bucket/a b")]
    [InlineData("s3://bucket/a?endpoint")]
    [InlineData("s3://bucket/a?x=1&x=2")]
    [InlineData("s3://bucket/a?x=%0A")]
    [InlineData("command:")]
    [InlineData("command:/usr/bin/push")]
    [InlineData("command:a;rm")]
    public void What_is_no_address_is_refused(string text) =>
        Assert.Equal(ErrorCode.StoreAddressInvalid,
            Assert.Throws<RefusedException>(() => StoreAddress.Parse(text, "/home/db")).Code);

    [Theory]
    [InlineData("s3://bucket/prefix")]
    [InlineData("azblob://container/prefix")]
    public void A_kind_that_the_program_was_not_given_is_told_from_a_typing_error(string text)
    {
        var refused = Assert.Throws<RefusedException>(
            () => StoreFactory.Of(new PitrOptions()).Open(StoreAddress.Parse(text, "/")));
        Assert.Equal(ErrorCode.StoreKindUnavailable, refused.Code);
    }

    [Fact]
    public void A_store_that_is_named_twice_is_one() =>
        Assert.Equal(
            ["/a", "b"],
            StoreFactory.Of(new PitrOptions()).OpenAll(["/a", "file:///a", "b", "/db/b/"], "/db").Select(store => store.Name));
}
