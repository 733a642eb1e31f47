using System.Globalization;
using System.Text;
using Azure;
using Azure.Identity;
using Azure.Storage;
using Azure.Storage.Blobs;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;
using Pitr.Wal;

namespace Pitr.Archive.AzureBlob;

/// <summary>An archive store in a container: the object NAME is the block blob PREFIX/NAME.</summary>
/// <remarks>
/// S1  Putting a blob, and committing its list of blocks, make the whole object or nothing. Each request carries the MD5
///     of its bytes, which the service checks. Blocks of a stream that failed are seen by nobody, and the service
///     removes them after a week.
/// S2  The service answers when the object is durable.
/// S3  <c>If-None-Match: *</c>; 409 and 412 are "taken". Never repeated by the SDK (<see cref="AzureClient"/>).
/// A container is never made here: who may read it is the operator's.
///
/// THREADS, FAILURE  those of IArchiveStore.
/// </remarks>
internal sealed class AzureBlobStore(StoreAddress address, AzureClient client, TimeProvider clock) : IArchiveStore
{
    private static readonly UploadTransferValidationOptions Checked =
        new() { ChecksumAlgorithm = StorageChecksumAlgorithm.MD5 };

    private readonly string _prefix = address.Prefix;

    /// <inheritdoc/>
    public string Name => address.Text;

    /// <inheritdoc/>
    public string Place => address.Place;

    /// <inheritdoc/>
    public void CreateRoot()
    {
        if (!Ask("find", "", token => client.Patient.Exists(token).Value))
            throw ArchiveErrors.StoreFailed(Name, address.Authority, "there is no such container");
    }

    /// <inheritdoc/>
    public void Put(string name, ReadOnlyMemory<byte> content) => Ask("write", name, token =>
        BlobOf(client.Patient, name).Upload(BinaryData.FromBytes(content).ToStream(), Options(condition: null), token));

    /// <inheritdoc/>
    public void Put(string name, Stream content)
    {
        BlockBlobClient blob = BlobOf(client.Patient, name);
        var blocks = new List<string>();
        foreach ((int number, ReadOnlyMemory<byte> bytes, bool isLast) in StreamPieces.Of(content))
        {
            if (number == 1 && isLast)
            {
                Put(name, bytes);
                return;
            }
            string id = Convert.ToBase64String(
                Encoding.ASCII.GetBytes(number.ToString("D6", CultureInfo.InvariantCulture)));
            Ask("write", name, token => blob.StageBlock(
                id, BinaryData.FromBytes(bytes).ToStream(), new BlockBlobStageBlockOptions { TransferValidation = Checked },
                token));
            blocks.Add(id);
        }
        Ask("finish", name, token => blob.CommitBlockList(blocks, new CommitBlockListOptions(), token));
    }

    /// <inheritdoc/>
    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) => Ask("create", name, token =>
    {
        try
        {
            BlobOf(client.Once, name).Upload(
                BinaryData.FromBytes(content).ToStream(),
                Options(new BlobRequestConditions { IfNoneMatch = ETag.All }), token);
            return true;
        }
        catch (RequestFailedException taken) when (
            taken.ErrorCode == BlobErrorCode.BlobAlreadyExists || taken.ErrorCode == BlobErrorCode.ConditionNotMet)
        {
            return false;
        }
    });

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Get(string name) => TryGet(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public ReadOnlyMemory<byte>? TryGet(string name)
    {
        using ServiceStream? content = TryOpen(name);
        return content?.ReadWhole();
    }

    /// <inheritdoc/>
    public Stream OpenRead(string name) => TryOpen(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    /// <inheritdoc/>
    public IReadOnlyList<string> List(string prefix)
    {
        List<string> names = Ask("list", prefix, token => client.Patient
            .GetBlobs(BlobTraits.None, BlobStates.None, _prefix + prefix, token)
            .Select(found => found.Name[_prefix.Length..])
            .Where(static name => ObjectName.IsValid(name)) // others are not of this store
            .ToList());
        names.Sort(StringComparer.Ordinal);
        return names;
    }

    /// <inheritdoc/>
    public void Delete(string name) => Ask("delete", name, token =>
        BlobOf(client.Patient, name).DeleteIfExists(DeleteSnapshotsOption.IncludeSnapshots, null, token));

    /// <inheritdoc/>
    public StoredObject? Stat(string name) => Ask<StoredObject?>("look at", name, token =>
    {
        try
        {
            return new StoredObject(
                name, BlobOf(client.Patient, name).GetProperties(null, token).Value.ContentLength);
        }
        catch (RequestFailedException missing) when (missing.ErrorCode == BlobErrorCode.BlobNotFound)
        {
            return null;
        }
    });

    /// <inheritdoc/>
    public int RemoveStrays() => 0;

    private ServiceStream? TryOpen(string name)
    {
        BlobDownloadStreamingResult? found = Ask<BlobDownloadStreamingResult?>("read", name, token =>
        {
            try
            {
                return BlobOf(client.Patient, name).DownloadStreaming(new BlobDownloadOptions(), token).Value;
            }
            catch (RequestFailedException missing) when (missing.ErrorCode == BlobErrorCode.BlobNotFound)
            {
                return null;
            }
        });
        return found is null ? null
            : new ServiceStream(Name, name, found.Content, found.Details.ContentLength, client.Timeout, clock, found);
    }

    private T Ask<T>(string operation, string name, Func<CancellationToken, T> request)
    {
        using var isTooLong = new CancellationTokenSource(client.Timeout, clock);
        try
        {
            return request(isTooLong.Token);
        }
        catch (OperationCanceledException)
        {
            throw ArchiveErrors.StoreFailed(
                Name, name, $"it did not {operation} within {client.Timeout.TotalSeconds} s");
        }
        catch (Exception failed) when (
            failed is RequestFailedException or AuthenticationFailedException or AggregateException or IOException
                or HttpRequestException or TimeoutException or FormatException or ArgumentException)
        {
            throw ArchiveErrors.StoreFailed(Name, operation, name, failed);
        }
    }

    private static BlobUploadOptions Options(BlobRequestConditions? condition) => new()
    {
        Conditions = condition,
        TransferValidation = Checked,
    };

    private BlockBlobClient BlobOf(BlobContainerClient container, string name) => ObjectName.IsValid(name)
        ? container.GetBlockBlobClient(_prefix + name)
        : throw ArchiveErrors.NameInvalid(name);
}
