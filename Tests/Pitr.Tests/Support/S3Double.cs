using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Xml.Linq;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Pitr.Tests;

/// <summary>
/// A test double of S3: a server on loopback that keeps objects in memory and answers as the S3 API Reference documents.
/// </summary>
/// <remarks>
/// It is a double, not S3. It was made because the S3-compatible server that package registries have (s3rver 3.7.1)
/// takes no account of <c>If-None-Match</c> on a PUT, and of no checksum.
/// WHAT IT KEEPS TO
///   PutObject, CompleteMultipartUpload   <c>If-None-Match: *</c>: 412 PreconditionFailed if the key is there
///   PutObject, UploadPart                <c>x-amz-checksum-sha256</c>, <c>Content-MD5</c>: 400 BadDigest if they are not
///                                        the body's; <c>x-amz-content-sha256</c>: 400 XAmzContentSHA256Mismatch
///   multipart                            nothing under the key until it is completed; parts but the last of at least
///                                        5 MiB (EntityTooSmall), in order, with their ETags; listed, aborted
///   ListObjectsV2                        by UTF-8 bytes of the key, <see cref="PageSize"/> a page, continuation tokens
///   GetObject, HeadObject, DeleteObject  404 NoSuchKey; a missing bucket is 404 NoSuchBucket, without a body for HEAD
///   every request                        403 unless signed (AWS4-HMAC-SHA256) with its access key; the signature itself
///                                        is not computed
/// WHAT IT DOES NOT: virtual-hosted style, versions, ACLs, ranges, trailers (501 NotImplemented).
/// <see cref="Meddle"/> makes of it a service that answers late, errs, lies or forgets.
/// </remarks>
internal sealed class S3Double : IAsyncDisposable
{
    public const string AccessKey = "test-key";
    public const string SecretKey = "test-secret";
    public const string Bucket = "bucket";
    private const int PartBytesMin = 5 << 20;

    private readonly WebApplication _application;
    private readonly SortedDictionary<string, byte[]> _objects = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _parts = [];
    private readonly Dictionary<string, Upload> _uploads = [];
    private readonly Lock _gate = new();
    private int _uploadNumber;

    private S3Double(WebApplication application) => _application = application;

    /// <summary>Where it listens.</summary>
    public string Endpoint { get; private set; } = "";

    /// <summary>Keys of a page of a listing.</summary>
    public int PageSize { get; set; } = 1000;

    /// <summary>Comes before each request; true: it has answered.</summary>
    public Func<HttpContext, Task<bool>>? Meddle { get; set; }

    /// <summary>True: it ignores conditions on writes, as some look-alikes do (H27).</summary>
    public bool IgnoresConditions { get; set; }

    /// <summary>Uploads that were begun and neither completed nor aborted.</summary>
    public int OpenUploads
    {
        get
        {
            lock (_gate)
                return _uploads.Count;
        }
    }

    /// <summary>The bytes of an object, for a test to change.</summary>
    public byte[]? this[string key]
    {
        get
        {
            lock (_gate)
                return _objects.GetValueOrDefault(key);
        }
        set
        {
            lock (_gate)
            {
                if (value is null)
                    _objects.Remove(key);
                else
                    _objects[key] = value;
            }
        }
    }

    /// <summary>For programs that tests start, and that find their credentials as the SDK does.</summary>
    public static void PutCredentialsIntoTheEnvironment()
    {
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", AccessKey);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", SecretKey);
    }

    public static async Task<S3Double> StartAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
        });
        WebApplication application = builder.Build();
        var service = new S3Double(application);
        application.Run(service.AnswerAsync);
        await application.StartAsync();
        service.Endpoint = application.Services.GetRequiredService<IServer>()
            .Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        return service;
    }

    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _application.StopAsync(now.Token);
        await _application.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext http)
    {
        if (Meddle is { } meddle && await meddle(http))
            return;
        using var body = new MemoryStream();
        await http.Request.Body.CopyToAsync(body);
        (int status, XElement? answer, byte[]? content) = Answer(http, body.ToArray());
        http.Response.StatusCode = status;
        byte[] bytes = content ?? (answer is null ? [] : Encoding.UTF8.GetBytes(answer.ToString()));
        http.Response.ContentLength = bytes.Length;
        if (answer is not null)
            http.Response.ContentType = "application/xml";
        if (http.Request.Method != "HEAD")
            await http.Response.Body.WriteAsync(bytes);
    }

    private (int Status, XElement? Answer, byte[]? Content) Answer(HttpContext http, byte[] body)
    {
        HttpRequest request = http.Request;
        if (!request.Headers.Authorization.ToString().StartsWith(
            $"AWS4-HMAC-SHA256 Credential={AccessKey}/", StringComparison.Ordinal))
            return Error(403, "InvalidAccessKeyId");
        string path = request.Path.Value!.TrimStart('/');
        string key = path.IndexOf('/', StringComparison.Ordinal) is var at and > 0 ? path[(at + 1)..] : "";
        if (path.Split('/')[0] != Bucket)
            return Error(404, "NoSuchBucket");
        if (Refusal(request, body) is { } refusal)
            return refusal;
        lock (_gate)
        {
            return (request.Method, key.Length > 0) switch
            {
                ("GET", false) when request.Query.ContainsKey("uploads") => ListUploads(),
                ("GET", false) => List(request),
                ("PUT", true) when request.Query.ContainsKey("uploadId") => PutPart(http, body),
                ("PUT", true) => Put(http, key, body),
                ("POST", true) when request.Query.ContainsKey("uploads") => Begin(key),
                ("POST", true) => Complete(http, key, body),
                ("DELETE", true) when request.Query.TryGetValue("uploadId", out var upload) =>
                    _uploads.Remove(upload!) ? (204, null, null) : Error(404, "NoSuchUpload"),
                ("DELETE", true) => Delete(key),
                ("GET" or "HEAD", true) => Get(http, key),
                _ => Error(501, "NotImplemented"),
            };
        }
    }

    private static (int, XElement?, byte[]?)? Refusal(HttpRequest request, byte[] body)
    {
        string sha = request.Headers["x-amz-content-sha256"].ToString();
        if (sha.StartsWith("STREAMING", StringComparison.Ordinal) || request.Headers.ContainsKey("x-amz-trailer"))
            return Error(501, "NotImplemented");
        byte[] found = SHA256.HashData(body);
        if (sha != "UNSIGNED-PAYLOAD" && !sha.Equals(Convert.ToHexString(found), StringComparison.OrdinalIgnoreCase))
            return Error(400, "XAmzContentSHA256Mismatch");
        string said = request.Headers["x-amz-checksum-sha256"].ToString();
        if (said.Length > 0 && said != Convert.ToBase64String(found))
            return Error(400, "BadDigest");
        string md5 = request.Headers.ContentMD5.ToString();
        return md5.Length > 0 && md5 != Convert.ToBase64String(Md5(body)) ? Error(400, "BadDigest") : null;
    }

    private (int, XElement?, byte[]?) Put(HttpContext http, string key, byte[] body)
    {
        if (IsTaken(http, key))
            return Error(412, "PreconditionFailed");
        _objects[key] = body;
        _parts.Remove(key);
        http.Response.Headers.ETag = ETag(body);
        return (200, null, null);
    }

    private bool IsTaken(HttpContext http, string key) =>
        !IgnoresConditions && http.Request.Headers.IfNoneMatch.ToString() == "*" && _objects.ContainsKey(key);

    private (int, XElement?, byte[]?) Get(HttpContext http, string key)
    {
        if (!_objects.TryGetValue(key, out byte[]? content))
            return http.Request.Method == "HEAD" ? (404, null, null) : Error(404, "NoSuchKey");
        http.Response.Headers.ETag = ETagOf(key);
        http.Response.Headers.LastModified = DateTimeOffset.UnixEpoch.ToString("R", CultureInfo.InvariantCulture);
        return (200, null, content);
    }

    private (int, XElement?, byte[]?) Delete(string key)
    {
        _objects.Remove(key);
        return (204, null, null);
    }

    private (int, XElement?, byte[]?) List(HttpRequest request)
    {
        string prefix = request.Query["prefix"].ToString();
        string after = request.Query["continuation-token"].ToString();
        int most = Math.Min(
            PageSize, request.Query.TryGetValue("max-keys", out var keys) ? int.Parse(keys!, CultureInfo.InvariantCulture) : 1000);
        string[] found =
        [
            .. _objects.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)
                && string.CompareOrdinal(key, after) > 0).Take(most + 1),
        ];
        string[] page = [.. found.Take(most)];
        return (200, new XElement(
            "ListBucketResult", new XElement("Name", Bucket), new XElement("KeyCount", page.Length),
            new XElement("IsTruncated", found.Length > most ? "true" : "false"),
            found.Length > most && most > 0 ? new XElement("NextContinuationToken", page[^1]) : null,
            page.Select(key => new XElement(
                "Contents", new XElement("Key", key), new XElement("Size", _objects[key].Length),
                new XElement("ETag", ETagOf(key)), new XElement("LastModified", "2020-01-01T00:00:00.000Z")))), null);
    }

    // ---- multipart ---------------------------------------------------------------------------------

    private (int, XElement?, byte[]?) Begin(string key)
    {
        string id = $"upload-{++_uploadNumber}";
        _uploads.Add(id, new Upload(key, []));
        return (200, new XElement(
            "InitiateMultipartUploadResult", new XElement("Bucket", Bucket), new XElement("Key", key),
            new XElement("UploadId", id)), null);
    }

    private (int, XElement?, byte[]?) PutPart(HttpContext http, byte[] body)
    {
        if (!_uploads.TryGetValue(http.Request.Query["uploadId"]!, out Upload? upload))
            return Error(404, "NoSuchUpload");
        upload.Parts[int.Parse(http.Request.Query["partNumber"]!, CultureInfo.InvariantCulture)] = body;
        http.Response.Headers.ETag = ETag(body);
        return (200, null, null);
    }

    private (int, XElement?, byte[]?) Complete(HttpContext http, string key, byte[] body)
    {
        string id = http.Request.Query["uploadId"]!;
        if (!_uploads.TryGetValue(id, out Upload? upload) || upload.Key != key)
            return Error(404, "NoSuchUpload");
        if (IsTaken(http, key))
            return Error(412, "PreconditionFailed");
        var named = XDocument.Parse(Encoding.UTF8.GetString(body)).Descendants()
            .Where(element => element.Name.LocalName == "Part")
            .Select(part => (
                Number: int.Parse(Value(part, "PartNumber"), CultureInfo.InvariantCulture), ETag: Value(part, "ETag")))
            .ToList();
        if (named.Count == 0 || !named.Select(part => part.Number).SequenceEqual(named.Select(part => part.Number).Order()))
            return Error(400, "InvalidPartOrder");
        var whole = new MemoryStream();
        foreach ((int number, string etag) in named)
        {
            if (!upload.Parts.TryGetValue(number, out byte[]? part) || ETag(part).Trim('"') != etag.Trim('"'))
                return Error(400, "InvalidPart");
            if (part.Length < PartBytesMin && number != named[^1].Number)
                return Error(400, "EntityTooSmall");
            whole.Write(part);
        }
        _objects[key] = whole.ToArray();
        _parts[key] = named.Count;
        _uploads.Remove(id);
        return (200, new XElement(
            "CompleteMultipartUploadResult", new XElement("Bucket", Bucket), new XElement("Key", key),
            new XElement("ETag", ETagOf(key))), null);
    }

    private (int, XElement?, byte[]?) ListUploads() => (200, new XElement(
        "ListMultipartUploadsResult", new XElement("Bucket", Bucket), new XElement("IsTruncated", "false"),
        _uploads.Select(upload => new XElement(
            "Upload", new XElement("Key", upload.Value.Key), new XElement("UploadId", upload.Key),
            new XElement("Initiated", "2020-01-01T00:00:00.000Z")))), null);

    private static string Value(XElement part, string name) =>
        part.Elements().First(element => element.Name.LocalName == name).Value;

    /// <summary>As S3's are without KMS: the MD5 of the content; clients check it.</summary>
    private static string ETag(byte[] content) => $"\"{Convert.ToHexStringLower(Md5(content))}\"";

    /// <summary>Of an object that came in parts: it is no MD5, and says how many there were.</summary>
    private string ETagOf(string key) =>
        _parts.TryGetValue(key, out int parts) ? $"{ETag(_objects[key])[..^1]}-{parts}\"" : ETag(_objects[key]);

#pragma warning disable CA5351 // the protocol's checksum of a transfer, not a secret
    private static byte[] Md5(byte[] content) => MD5.HashData(content);
#pragma warning restore CA5351

    private static (int, XElement?, byte[]?) Error(int status, string code) => (
        status, new XElement("Error", new XElement("Code", code), new XElement("Message", $"The double says {code}.")), null);

    private sealed record Upload(string Key, SortedDictionary<int, byte[]> Parts);
}
