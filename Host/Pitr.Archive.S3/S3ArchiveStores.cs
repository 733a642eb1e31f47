using System.Globalization;
using Amazon.Runtime;
using Pitr.Wal;

namespace Pitr.Archive.S3;

/// <summary>
/// Archive stores in S3, or in a service that speaks its protocol: <c>s3://BUCKET/PREFIX</c>. Give
/// <see cref="Default"/> to <c>PitrOptions.ArchiveStoreKinds</c>.
/// </summary>
/// <remarks>
/// Options behind a question mark: <c>endpoint=URL</c> (else AWS), <c>region=NAME</c> (else that of the environment),
/// <c>pathStyle=true|false</c> (true with an endpoint), <c>timeout=N</c> (seconds that one request may take; 120).
/// Credentials are found as the AWS SDK finds them (environment, profile, role of the machine); an address has none.
/// The service must honour <c>If-None-Match: *</c>; that is probed when the store is set up.
/// </remarks>
public sealed class S3ArchiveStores : ArchiveStoreKind
{
    private static readonly string[] Known = ["endpoint", "region", "pathStyle", "timeout"];
    private readonly AWSCredentials? _credentials;
    private readonly TimeProvider _clock;

    /// <summary>With credentials of the program's own.</summary>
    /// <param name="credentials">Null: as the SDK finds them.</param>
    /// <param name="clock">For timeouts; null: the system's.</param>
    public S3ArchiveStores(AWSCredentials? credentials = null, TimeProvider? clock = null)
        : base("s3") => (_credentials, _clock) = (credentials, clock ?? TimeProvider.System);

    /// <summary>With the credentials that the SDK finds.</summary>
    public static S3ArchiveStores Default { get; } = new();

    internal override IArchiveStore Open(StoreAddress address)
    {
        if (address.Options.Keys.FirstOrDefault(key => !Known.Contains(key)) is { } unknown)
        {
            throw ArchiveErrors.AddressInvalid(
                address.Text, $"'{unknown}' is no option of an S3 store; there are {string.Join(", ", Known)}");
        }
        Uri? endpoint = null;
        if (address.Options.TryGetValue("endpoint", out string? url)
            && (!Uri.TryCreate(url, UriKind.Absolute, out endpoint) || endpoint.Scheme is not ("http" or "https")
                || endpoint.UserInfo.Length > 0))
            throw ArchiveErrors.AddressInvalid(address.Text, "its endpoint is no http:// or https:// address without a user");
        string pathStyle = address.Options.GetValueOrDefault("pathStyle", endpoint is null ? "false" : "true");
        if (pathStyle is not ("true" or "false"))
            throw ArchiveErrors.AddressInvalid(address.Text, "pathStyle is true or false");
        if (!int.TryParse(
            address.Options.GetValueOrDefault("timeout", "120"), NumberStyles.None, CultureInfo.InvariantCulture,
            out int seconds) || seconds is < 1 or > 86_400)
            throw ArchiveErrors.AddressInvalid(address.Text, "timeout is a number of seconds from 1 to 86400");
        var client = new S3Client(
            _credentials, endpoint, address.Options.GetValueOrDefault("region"), pathStyle == "true",
            TimeSpan.FromSeconds(seconds));
        return new S3Store(address, client, _clock);
    }
}
