using Amazon.Runtime;
using Pitr.Archive.AzureBlob;
using Pitr.Archive.S3;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>One store of a kind, empty, that several hands can open; gone when it is disposed.</summary>
internal sealed class StoreUnderTest : IDisposable
{
    private readonly Func<int, IArchiveStore> _open;
    private readonly Action _end;
    private int _opened;

    private StoreUnderTest(Func<int, IArchiveStore> open, Action? end = null) =>
        (_open, _end) = (open, end ?? (static () => { }));

    /// <summary>Every kind that can be had on this machine.</summary>
    public static IReadOnlyList<string> Kinds { get; } =
        ["folder", "simulated folder", "folder of a folder", "encrypted", "s3", .. Azurite.WhyNot is null ? ["azblob"] : Array.Empty<string>()];

    /// <summary>A new store of a kind.</summary>
    public static StoreUnderTest Of(string kind)
    {
        switch (kind)
        {
            case "folder":
                string folder = Directory.CreateTempSubdirectory("pitr-store-").FullName;
                var files = new PosixFileSystem();
                return new StoreUnderTest(
                    number => ArchiveTestData.Store(files, folder, number), () => Directory.Delete(folder, recursive: true));
            case "simulated folder":
                (SimulatedDisk disk, _) = ArchiveTestData.NewStore();
                return new StoreUnderTest(number => ArchiveTestData.Store(disk, seed: number));
            case "folder of a folder":
                (SimulatedDisk below, _) = ArchiveTestData.NewStore();
                return new StoreUnderTest(number => new PrefixedStore(ArchiveTestData.Store(below, seed: number), "sets/a/"));
            case "encrypted":
                (SimulatedDisk within, _) = ArchiveTestData.NewStore();
                var key = new ArchiveKey(ArchiveTestData.Bytes(32, 7));
                return new StoreUnderTest(number =>
                {
                    var random = new SeededRandom(number);
                    return new EncryptedStore(ArchiveTestData.Store(within, seed: number), key, () => random.NextBits());
                });
            case "s3":
                S3Double service = S3Double.StartAsync().GetAwaiter().GetResult();
                var address = StoreAddress.Parse($"s3://{S3Double.Bucket}/db?endpoint={service.Endpoint}", "/");
                var kindOfS3 = new S3ArchiveStores(new BasicAWSCredentials(S3Double.AccessKey, S3Double.SecretKey));
                return new StoreUnderTest(
                    _ => kindOfS3.Open(address), () => service.DisposeAsync().AsTask().GetAwaiter().GetResult());
            case "azblob":
                var box = StoreAddress.Parse($"azblob://{Azurite.NewContainer().Name}/db", "/");
                var kindOfAzure = new AzureBlobArchiveStores(Azurite.ConnectionString);
                return new StoreUnderTest(_ => kindOfAzure.Open(box));
            default:
                throw new ArgumentOutOfRangeException(nameof(kind), kind, "There is no such kind.");
        }
    }

    /// <summary>Another hand on the same store, as of another process.</summary>
    public IArchiveStore Open() => _open(Interlocked.Increment(ref _opened));

    public void Dispose() => _end();
}
