using Azure.Core;
using Azure.Identity;
using Azure.Storage.Blobs;

namespace Pitr.Archive.AzureBlob;

/// <summary>
/// The connection to a container, made when it is first used: what is wrong with credentials is then a failure of the
/// store, which is shown and tried again, and not one of opening the database.
/// </summary>
/// <remarks>
/// There are two clients. <see cref="Once"/> never repeats a request by itself: a conditional create whose answer was
/// lost would find its own blob, and take it for somebody else's. <see cref="Patient"/> repeats what can be repeated.
/// </remarks>
internal sealed class AzureClient(
    string container, Uri? endpoint, string? connection, TokenCredential? credential, TimeSpan timeout)
{
    private const int RetriesMax = 3;

    private readonly Lazy<BlobContainerClient> _once = new(
        () => Make(container, endpoint, connection, credential, timeout, 0));

    private readonly Lazy<BlobContainerClient> _patient = new(
        () => Make(container, endpoint, connection, credential, timeout, RetriesMax));

    public BlobContainerClient Once => _once.Value;

    public BlobContainerClient Patient => _patient.Value;

    /// <summary>The longest that one request, or the silence within an answer, may take.</summary>
    public TimeSpan Timeout => timeout;

    private static BlobContainerClient Make(
        string container, Uri? endpoint, string? connection, TokenCredential? credential, TimeSpan timeout,
        int retriesMax)
    {
        var options = new BlobClientOptions();
        options.Retry.MaxRetries = retriesMax;
        options.Retry.NetworkTimeout = timeout;
        return endpoint is null
            ? new BlobContainerClient(connection, container, options)
            : new BlobContainerClient(
                new Uri($"{endpoint.ToString().TrimEnd('/')}/{container}"), credential ?? new DefaultAzureCredential(), options);
    }
}
