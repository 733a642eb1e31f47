using Azure.Storage.Blobs;
using Microsoft.Extensions.Time.Testing;
using Pitr.Archive.AzureBlob;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// Azure Blob Storage beyond the contract that every store keeps, against Azurite; skipped, with the reason, without it.
/// </summary>
public sealed class AzureBlobStoreTests
{
    [AzuriteFact]
    public void The_contract_of_the_stores_is_asked_of_it() => Assert.Contains("azblob", StoreUnderTest.Kinds);

    [AzuriteFact]
    public void Objects_lie_under_the_prefix_and_those_of_others_are_not_seen()
    {
        BlobContainerClient container = Azurite.NewContainer();
        IArchiveStore store = Open(container.Name);
        store.Put("wal/a", Bytes(3, 1));
        Assert.Equal(Bytes(3, 1), container.GetBlobClient("db/wal/a").DownloadContent().Value.Content.ToArray());
        container.UploadBlob("db2/wal/b", BinaryData.FromBytes([1]));
        container.UploadBlob("db/.hidden", BinaryData.FromBytes([1]));
        Assert.Equal(["wal/a"], store.List(""));
    }

    [AzuriteFact]
    public void A_listing_of_several_pages_is_whole()
    {
        IArchiveStore store = Open(Azurite.NewContainer().Name);
        string[] names = [.. Enumerable.Range(0, 60).Select(number => $"wal/{number:D3}")];
        foreach (string name in names)
            store.Put(name, Bytes(1, 1));
        Assert.Equal(names, store.List("wal/"));
    }

    [AzuriteFact]
    public void A_missing_container_is_a_store_that_fails_and_no_store_without_objects()
    {
        IArchiveStore missing = Open("not-there");
        foreach (Action ask in new Action[]
        {
            missing.CreateRoot, () => missing.TryGet("a"), () => missing.Stat("a"), () => missing.List(""),
            () => missing.Put("a", Bytes(1, 1)), () => missing.TryPutIfAbsent("a", Bytes(1, 1)),
        })
            Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(ask).Code);
    }

    [Fact]
    public void A_service_that_is_not_there_is_a_store_that_fails()
    {
        IArchiveStore away = Of("DefaultEndpointsProtocol=http;AccountName=a;AccountKey=QQ==;BlobEndpoint=http://127.0.0.1:9/a;")
            .Open(StoreAddress.Parse("azblob://box/db?timeout=5", "/"));
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => away.TryPutIfAbsent("a", Bytes(1, 1))).Code);
        IArchiveStore nonsense = Of("no connection string").Open(StoreAddress.Parse("azblob://box/db", "/"));
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => nonsense.List("")).Code);
    }

    [Theory]
    [InlineData("azblob://b/p?key=secret")]
    [InlineData("azblob://b/p?account=not.a.name")]
    [InlineData("azblob://b/p?endpoint=https://x/?sig=secret")]
    [InlineData("azblob://b/p?account=abc&timeout=x")]
    [InlineData("azblob://b/p")]
    public void Options_that_mean_nothing_are_refused(string text) => Assert.Equal(
        ErrorCode.StoreAddressInvalid,
        Assert.Throws<RefusedException>(() => Of(null).Open(StoreAddress.Parse(text, "/"))).Code);

    /// <summary>With an environment that says nothing.</summary>
    private static AzureBlobArchiveStores Of(string? connection) =>
        new(connection, credential: null, new FakeTimeProvider(Noon), static _ => null);

    private static IArchiveStore Open(string container) =>
        Of(Azurite.ConnectionString).Open(StoreAddress.Parse($"azblob://{container}/db", "/"));
}
