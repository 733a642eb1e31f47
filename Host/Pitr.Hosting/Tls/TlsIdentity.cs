using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>
/// What one side of a connection shows, and whom it believes: both sides have a certificate, for administration and for
/// data alike.
/// </summary>
/// <remarks>
/// INVARIANTS
///   T1  A peer is believed only if its certificate was signed by the configured authority, is valid now, and is meant
///       for its side: a client's certificate does not make a server.
///   T2  An engine is believed only under a name of its certificate (DNS or IP address; the common name does not count).
///   T3  The key's file is readable by its owner, and at most its group.
/// Revocation is not looked up: an authority of one's own seldom publishes lists; what ends a client's right is its
/// token.
/// </remarks>
internal sealed class TlsIdentity : IDisposable
{
    private const string ServerUsage = "1.3.6.1.5.5.7.3.1";
    private const string ClientUsage = "1.3.6.1.5.5.7.3.2";

    private readonly X509Certificate2Collection _authorities;

    private TlsIdentity(
        X509Certificate2 certificate, X509Certificate2Collection between, X509Certificate2Collection authorities)
    {
        Certificate = certificate;
        Intermediates = between;
        _authorities = authorities;
    }

    /// <summary>What is shown, with its key.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>Those that stand between it and its authority.</summary>
    public X509Certificate2Collection Intermediates { get; }

    /// <summary>Reads the files.</summary>
    /// <exception cref="RefusedException">SettingsInvalid, with the file and what is wrong with it.</exception>
    public static TlsIdentity Load(TlsFiles files, TimeProvider clock)
    {
        RequirePrivate(files.KeyPath);
        X509Certificate2Collection own = ReadCertificates(files.CertificatePath);
        X509Certificate2Collection authorities = ReadCertificates(files.AuthorityPath);
        X509Certificate2 certificate;
        try
        {
            certificate = X509Certificate2.CreateFromPemFile(files.CertificatePath, files.KeyPath);
        }
        catch (Exception wrong) when (wrong is CryptographicException or IOException or ArgumentException)
        {
            throw AdminErrors.TlsFile(files.KeyPath, $"it is not the key of '{files.CertificatePath}' ({wrong.Message})");
        }
        DateTime now = clock.GetUtcNow().UtcDateTime;
        if (now > certificate.NotAfter.ToUniversalTime() || now < certificate.NotBefore.ToUniversalTime())
        {
            throw AdminErrors.TlsFile(
                files.CertificatePath,
                $"it is valid from {certificate.NotBefore.ToUniversalTime():O} to {certificate.NotAfter.ToUniversalTime():O} only");
        }
        own.RemoveAt(0);
        return new TlsIdentity(certificate, own, authorities);
    }

    /// <summary>Whether a client may connect (T1).</summary>
    public bool TrustsClient(X509Certificate? peer, X509Chain? shown) => Trusts(peer, shown, ClientUsage);

    /// <summary>Whether this is the engine that was meant (T1, T2).</summary>
    public bool TrustsServer(X509Certificate? peer, X509Chain? shown, string host) =>
        Trusts(peer, shown, ServerUsage)
        && ((X509Certificate2)peer!).MatchesHostname(host, allowWildcards: true, allowCommonName: false);

    /// <inheritdoc/>
    public void Dispose() => Certificate.Dispose();

    private bool Trusts(X509Certificate? peer, X509Chain? shown, string usage)
    {
        if (peer is not X509Certificate2 certificate)
            return false;
        using var chain = new X509Chain
        {
            ChainPolicy =
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
                ApplicationPolicy = { new Oid(usage) },
            },
        };
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.ExtraStore.AddRange(Intermediates);
        foreach (X509ChainElement element in shown?.ChainElements.AsEnumerable() ?? [])
            chain.ChainPolicy.ExtraStore.Add(element.Certificate);
        return chain.Build(certificate) && HasUsage(certificate, usage);
    }

    /// <summary>A certificate that names no usage would pass for any.</summary>
    private static bool HasUsage(X509Certificate2 certificate, string usage) =>
        certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>()
            .Any(extension => extension.EnhancedKeyUsages.Cast<Oid>().Any(oid => oid.Value == usage));

    private static X509Certificate2Collection ReadCertificates(string path)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPemFile(path);
        }
        catch (Exception wrong) when (wrong is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw AdminErrors.TlsFile(path, wrong.Message.TrimEnd('.'));
        }
        return certificates.Count > 0
            ? certificates
            : throw AdminErrors.TlsFile(path, "it holds no certificate in PEM form");
    }

    private static void RequirePrivate(string path)
    {
        if (!File.Exists(path))
            throw AdminErrors.TlsFile(path, "it is not there");
        if (!OperatingSystem.IsWindows()
            && (File.GetUnixFileMode(path) & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite
                | UnixFileMode.GroupWrite)) != 0)
            throw AdminErrors.TlsFile(path, "others may read or change it; chmod 600");
    }
}
