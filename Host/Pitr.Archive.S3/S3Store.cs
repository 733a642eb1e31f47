using System.Net;
using System.Security.Cryptography;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Pitr.Wal;

namespace Pitr.Archive.S3;

/// <summary>An archive store in a bucket: the object NAME is the key PREFIX/NAME.</summary>
/// <remarks>
/// S1  A PUT, and the completion of a multipart upload, make the whole object or nothing. Each carries the SHA-256 of
///     its bytes, which the service checks; a stream that fails aborts its upload.
/// S2  The service answers when the object is durable.
/// S3  <c>If-None-Match: *</c>; 412 is "taken", 409 "somebody is at it": asked again. Never repeated by the SDK
///     (<see cref="S3Client"/>).
/// A bucket is never made here: its region, its encryption and who may read it are the operator's.
///
/// THREADS, FAILURE  those of IArchiveStore. An upload that died is aborted by RemoveStrays once it is a week old: who
/// makes a younger one may be alive.
/// </remarks>
internal sealed class S3Store(StoreAddress address, S3Client client, TimeProvider clock) : IArchiveStore
{
    private const int ConflictsMax = 8;
    private static readonly TimeSpan UploadAgeMax = TimeSpan.FromDays(7);
    private readonly string _bucket = address.Authority;
    private readonly string _prefix = address.Prefix;

    /// <inheritdoc/>
    public string Name => address.Text;

    /// <inheritdoc/>
    public string Place => address.Place;

    /// <inheritdoc/>
    public void CreateRoot() => Ask("find", "", token => client.Patient.ListObjectsV2Async(
        new ListObjectsV2Request { BucketName = _bucket, Prefix = _prefix, MaxKeys = 1 }, token));

    /// <inheritdoc/>
    public void Put(string name, ReadOnlyMemory<byte> content)
    {
        string key = KeyOf(name);
        Ask("write", name, token => client.Patient.PutObjectAsync(RequestOf(key, content), token));
    }

    /// <inheritdoc/>
    public void Put(string name, Stream content)
    {
        string key = KeyOf(name);
        string? upload = null;
        var parts = new List<PartETag>();
        try
        {
            foreach ((int number, ReadOnlyMemory<byte> bytes, bool isLast) in StreamPieces.Of(content))
            {
                if (number == 1 && isLast)
                {
                    Put(name, bytes);
                    return;
                }
                upload ??= Ask("begin to write", name, token => client.Patient.InitiateMultipartUploadAsync(
                    new InitiateMultipartUploadRequest
                    {
                        BucketName = _bucket,
                        Key = key,
                        ChecksumAlgorithm = ChecksumAlgorithm.SHA256,
                    }, token)).UploadId;
                parts.Add(PutPart(name, key, upload, number, bytes));
            }
            Ask("finish", name, token => client.Patient.CompleteMultipartUploadAsync(
                new CompleteMultipartUploadRequest { BucketName = _bucket, Key = key, UploadId = upload, PartETags = parts },
                token));
        }
        catch // also what the content's stream throws
        {
            if (upload is not null)
                AbortQuietly(name, key, upload);
            throw;
        }
    }

    /// <inheritdoc/>
    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content)
    {
        string key = KeyOf(name);
        for (int attempt = 1; ; attempt++)
        {
            PutObjectRequest request = RequestOf(key, content);
            request.IfNoneMatch = "*";
            HttpStatusCode status = Ask<HttpStatusCode>("create", name, async token =>
            {
                try
                {
                    return (await client.Once.PutObjectAsync(request, token).ConfigureAwait(false)).HttpStatusCode;
                }
                catch (AmazonS3Exception refused) when (
                    refused.StatusCode is HttpStatusCode.PreconditionFailed
                    || (refused.StatusCode is HttpStatusCode.Conflict && attempt < ConflictsMax))
                {
                    return refused.StatusCode;
                }
            });
            if (status != HttpStatusCode.Conflict)
                return status != HttpStatusCode.PreconditionFailed;
        }
    }

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
        var names = new List<string>();
        string? next = null;
        do
        {
            ListObjectsV2Response page = Ask("list", prefix, token => client.Patient.ListObjectsV2Async(
                new ListObjectsV2Request
                {
                    BucketName = _bucket,
                    Prefix = _prefix + prefix,
                    ContinuationToken = next,
                }, token));
            names.AddRange((page.S3Objects ?? []).Select(found => found.Key[_prefix.Length..])
                .Where(static name => ObjectName.IsValid(name))); // others are not of this store
            next = page.IsTruncated is true ? page.NextContinuationToken : null;
        }
        while (next is not null);
        names.Sort(StringComparer.Ordinal);
        return names;
    }

    /// <inheritdoc/>
    public void Delete(string name)
    {
        string key = KeyOf(name);
        Ask("delete", name, token => client.Patient.DeleteObjectAsync(_bucket, key, token));
    }

    /// <inheritdoc/>
    public StoredObject? Stat(string name)
    {
        string key = KeyOf(name);
        StoredObject? there = Ask<StoredObject?>("look at", name, async token =>
        {
            try
            {
                GetObjectMetadataResponse found = await client.Patient
                    .GetObjectMetadataAsync(_bucket, key, token).ConfigureAwait(false);
                return new StoredObject(name, found.ContentLength);
            }
            catch (AmazonS3Exception missing) when (IsMissing(missing))
            {
                return null;
            }
        });
        if (there is null)
            CreateRoot(); // the answer to this question does not tell a missing object from a missing bucket
        return there;
    }

    /// <inheritdoc/>
    public int RemoveStrays()
    {
        try
        {
            return AbortOldUploads();
        }
        catch (StorageFailedException)
        {
            return 0; // best effort: not every look-alike knows the question, and not everybody may ask it
        }
    }

    private int AbortOldUploads()
    {
        DateTimeOffset before = clock.GetUtcNow() - UploadAgeMax;
        int removed = 0;
        string? keyMarker = null, uploadMarker = null;
        bool hasMore;
        do
        {
            ListMultipartUploadsResponse page = Ask("clean up", "", token => client.Patient.ListMultipartUploadsAsync(
                new ListMultipartUploadsRequest
                {
                    BucketName = _bucket,
                    Prefix = _prefix,
                    KeyMarker = keyMarker,
                    UploadIdMarker = uploadMarker,
                }, token));
            foreach (MultipartUpload old in (page.MultipartUploads ?? []).Where(upload => upload.Initiated < before.UtcDateTime))
            {
                AbortQuietly(old.Key, old.Key, old.UploadId);
                removed++;
            }
            (keyMarker, uploadMarker) = (page.NextKeyMarker, page.NextUploadIdMarker);
            hasMore = page.IsTruncated is true && keyMarker is not null;
        }
        while (hasMore);
        return removed;
    }

    private PutObjectRequest RequestOf(string key, ReadOnlyMemory<byte> content) => new()
    {
        BucketName = _bucket,
        Key = key,
        InputStream = StreamOf(content),
        ChecksumSHA256 = Convert.ToBase64String(SHA256.HashData(content.Span)),
        ContentType = "application/octet-stream",
        UseChunkEncoding = false,
    };

    private PartETag PutPart(string name, string key, string upload, int number, ReadOnlyMemory<byte> bytes)
    {
        string sha = Convert.ToBase64String(SHA256.HashData(bytes.Span));
        UploadPartResponse done = Ask("write", name, token => client.Patient.UploadPartAsync(
            new UploadPartRequest
            {
                BucketName = _bucket,
                Key = key,
                UploadId = upload,
                PartNumber = number,
                InputStream = StreamOf(bytes),
                PartSize = bytes.Length,
                ChecksumSHA256 = sha,
                UseChunkEncoding = false,
            }, token));
        return new PartETag(number, done.ETag) { ChecksumSHA256 = sha };
    }

    private ServiceStream? TryOpen(string name)
    {
        string key = KeyOf(name);
        GetObjectResponse? found = Ask<GetObjectResponse?>("read", name, async token =>
        {
            try
            {
                return await client.Patient.GetObjectAsync(_bucket, key, token).ConfigureAwait(false);
            }
            catch (AmazonS3Exception missing) when (IsMissing(missing))
            {
                return null;
            }
        });
        return found is null ? null
            : new ServiceStream(Name, name, found.ResponseStream, found.ContentLength, client.Timeout, clock, found);
    }

    /// <summary>Best effort: what is left is a stray that costs money, and the first failure is the one to tell.</summary>
    private void AbortQuietly(string name, string key, string upload)
    {
        try
        {
            Ask("give up", name, token => client.Patient.AbortMultipartUploadAsync(
                new AbortMultipartUploadRequest { BucketName = _bucket, Key = key, UploadId = upload }, token));
        }
        catch (StorageFailedException)
        {
            // RemoveStrays finds it again.
        }
    }

    private T Ask<T>(string operation, string name, Func<CancellationToken, Task<T>> request)
    {
        using var isTooLong = new CancellationTokenSource(client.Timeout, clock);
        try
        {
            return request(isTooLong.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            throw ArchiveErrors.StoreFailed(
                Name, name, $"it did not {operation} within {client.Timeout.TotalSeconds} s");
        }
        catch (Exception failed) when (
            failed is AmazonServiceException or AmazonClientException or HttpRequestException or IOException
                or TimeoutException or ArgumentException or InvalidOperationException)
        {
            throw ArchiveErrors.StoreFailed(Name, operation, name, failed);
        }
    }

    private string KeyOf(string name) =>
        ObjectName.IsValid(name) ? _prefix + name : throw ArchiveErrors.NameInvalid(name);

    /// <summary>A missing bucket is none of them: it is a store that is not there.</summary>
    private static bool IsMissing(AmazonS3Exception failed) =>
        failed.StatusCode == HttpStatusCode.NotFound && failed.ErrorCode != "NoSuchBucket";

    private static MemoryStream StreamOf(ReadOnlyMemory<byte> content) =>
        System.Runtime.InteropServices.MemoryMarshal.TryGetArray(content, out ArraySegment<byte> array)
            ? new MemoryStream(array.Array!, array.Offset, array.Count, writable: false)
            : new MemoryStream(content.ToArray(), writable: false);
}
