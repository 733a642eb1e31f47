using Amazon;
using Amazon.Runtime;
using Amazon.S3;

namespace Pitr.Archive.S3;

/// <summary>
/// The connection to a service, made when it is first used: what is wrong with credentials or region is then a failure
/// of the store, which is shown and tried again, and not one of opening the database.
/// </summary>
/// <remarks>
/// There are two clients. <see cref="Once"/> never repeats a request by itself: a conditional create whose answer was
/// lost would find its own object, and take it for somebody else's. <see cref="Patient"/> repeats what can be repeated.
///
/// Checksums are this program's own (SHA-256, which the service checks): the SDK's defaults need trailers that
/// look-alikes don't know.
/// </remarks>
internal sealed class S3Client(
    AWSCredentials? credentials, Uri? endpoint, string? region, bool isPathStyle, TimeSpan timeout)
{
    private const int RetriesMax = 3;
    private readonly Lazy<IAmazonS3> _once = new(() => Make(credentials, endpoint, region, isPathStyle, timeout, 0));

    private readonly Lazy<IAmazonS3> _patient = new(
        () => Make(credentials, endpoint, region, isPathStyle, timeout, RetriesMax));

    public IAmazonS3 Once => _once.Value;

    public IAmazonS3 Patient => _patient.Value;

    /// <summary>The longest that one request, or the silence within an answer, may take.</summary>
    public TimeSpan Timeout => timeout;

    private static AmazonS3Client Make(
        AWSCredentials? credentials, Uri? endpoint, string? region, bool isPathStyle, TimeSpan timeout, int retriesMax)
    {
        var config = new AmazonS3Config
        {
            ForcePathStyle = isPathStyle,
            MaxErrorRetry = retriesMax,
            MaxStaleConnectionRetries = retriesMax,
            Timeout = timeout,
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
        };
        if (endpoint is not null)
        {
            config.ServiceURL = endpoint.ToString();
            config.AuthenticationRegion = region ?? "us-east-1";
        }
        else if (region is not null)
        {
            config.RegionEndpoint = RegionEndpoint.GetBySystemName(region);
        }
        return credentials is null ? new AmazonS3Client(config) : new AmazonS3Client(credentials, config);
    }
}
