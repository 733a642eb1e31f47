using System.Globalization;
using Azure.Core;
using Pitr.Wal;

namespace Pitr.Archive.AzureBlob;

/// <summary>
/// Archive stores in Azure Blob Storage: <c>azblob://CONTAINER/PREFIX</c>. Give <see cref="Default"/> to
/// <c>PitrOptions.ArchiveStoreKinds</c>.
/// </summary>
/// <remarks>
/// Options behind a question mark: <c>account=NAME</c>, or <c>endpoint=URL</c> of a service elsewhere, and
/// <c>timeout=N</c> (seconds that one request may take; 120). Without account and endpoint those of
/// <c>AZURE_STORAGE_CONNECTION_STRING</c>, or the account of <c>AZURE_STORAGE_ACCOUNT</c>. Credentials are those of the
/// connection string, or found as Azure.Identity finds them; an address has none.
/// </remarks>
public sealed class AzureBlobArchiveStores : ArchiveStoreKind
{
    private static readonly string[] Known = ["account", "endpoint", "timeout"];
    private readonly string? _connection;
    private readonly TokenCredential? _credential;
    private readonly Func<string, string?> _variable;
    private readonly TimeProvider _clock;

    /// <summary>With credentials of the program's own.</summary>
    /// <param name="connectionString">Account and credentials of stores that name neither account nor endpoint.</param>
    /// <param name="credential">For the others; null: as Azure.Identity finds them.</param>
    /// <param name="clock">For timeouts; null: the system's.</param>
    public AzureBlobArchiveStores(
        string? connectionString = null, TokenCredential? credential = null, TimeProvider? clock = null)
        : this(connectionString, credential, clock, Environment.GetEnvironmentVariable)
    {
    }

    internal AzureBlobArchiveStores(
        string? connectionString, TokenCredential? credential, TimeProvider? clock, Func<string, string?> variable)
        : base("azblob") =>
        (_connection, _credential, _clock, _variable) = (connectionString, credential, clock ?? TimeProvider.System, variable);

    /// <summary>With what the environment says.</summary>
    public static AzureBlobArchiveStores Default { get; } = new();

    internal override IArchiveStore Open(StoreAddress address)
    {
        if (address.Options.Keys.FirstOrDefault(key => !Known.Contains(key)) is { } unknown)
        {
            throw ArchiveErrors.AddressInvalid(
                address.Text, $"'{unknown}' is no option of an Azure store; there are {string.Join(", ", Known)}");
        }
        if (!int.TryParse(
            address.Options.GetValueOrDefault("timeout", "120"), NumberStyles.None, CultureInfo.InvariantCulture,
            out int seconds) || seconds is < 1 or > 86_400)
            throw ArchiveErrors.AddressInvalid(address.Text, "timeout is a number of seconds from 1 to 86400");
        var client = new AzureClient(
            address.Authority, EndpointOf(address), ConnectionOf(address), _credential, TimeSpan.FromSeconds(seconds));
        return new AzureBlobStore(address, client, _clock);
    }

    /// <summary>Null: that of the connection string.</summary>
    private Uri? EndpointOf(StoreAddress address)
    {
        if (address.Options.TryGetValue("endpoint", out string? url))
        {
            return Uri.TryCreate(url, UriKind.Absolute, out Uri? endpoint) && endpoint.Scheme is "http" or "https"
                && endpoint.Query.Length == 0
                    ? endpoint
                    : throw ArchiveErrors.AddressInvalid(
                        address.Text, "its endpoint is no http:// or https:// address without a query");
        }
        string? account = address.Options.GetValueOrDefault("account")
            ?? (ConnectionOf(address) is null ? _variable("AZURE_STORAGE_ACCOUNT") : null);
        if (account is null)
        {
            return ConnectionOf(address) is not null ? null
                : throw ArchiveErrors.AddressInvalid(
                    address.Text, "it names no account, and neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_ACCOUNT is set");
        }
        return account.Length is >= 3 and <= 24 && account.All(char.IsAsciiLetterOrDigit)
            ? new Uri($"https://{account}.blob.core.windows.net")
            : throw ArchiveErrors.AddressInvalid(address.Text, $"'{account}' is no name of a storage account");
    }

    private string? ConnectionOf(StoreAddress address)
    {
        if (address.Options.ContainsKey("account") || address.Options.ContainsKey("endpoint"))
            return null;
        string? text = _connection ?? _variable("AZURE_STORAGE_CONNECTION_STRING");
        return string.IsNullOrEmpty(text) ? null : text;
    }
}
