using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Pitr.Hosting;

namespace Pitr.Tests;

/// <summary>A certificate authority for one test, which writes PEM files into a folder.</summary>
internal sealed class TestAuthority : IDisposable
{
    private const string ServerUsage = "1.3.6.1.5.5.7.3.1";
    private const string ClientUsage = "1.3.6.1.5.5.7.3.2";

    private readonly string _folder;
    private readonly X509Certificate2 _authority;

    public TestAuthority(string folder, string name = "authority")
    {
        _folder = Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        _authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-2), DateTimeOffset.UtcNow.AddDays(30));
        File.WriteAllText(AuthorityPath, _authority.ExportCertificatePem());
    }

    public string AuthorityPath => Path.Combine(_folder, "authority.pem");

    /// <summary>What an engine shows.</summary>
    public TlsFiles Server(string name, IPAddress address, string? host = null) => Issue(name, ServerUsage, address, host);

    /// <summary>What a client shows.</summary>
    public TlsFiles Client(string name) => Issue(name, ClientUsage, null, null);

    /// <summary>A client's certificate whose time is over.</summary>
    public TlsFiles Expired(string name) => Issue(name, ClientUsage, null, null, DateTimeOffset.UtcNow.AddDays(-1));

    public void Dispose() => _authority.Dispose();

    private TlsFiles Issue(string name, string usage, IPAddress? address, string? host, DateTimeOffset? until = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        var names = new SubjectAlternativeNameBuilder();
        if (address is not null)
            names.AddIpAddress(address);
        if (host is not null)
            names.AddDnsName(host);
        if (address is not null || host is not null)
            request.CertificateExtensions.Add(names.Build());
        using X509Certificate2 certificate = request.Create(
            _authority, DateTimeOffset.UtcNow.AddDays(-2), until ?? DateTimeOffset.UtcNow.AddDays(20),
            RandomNumberGenerator.GetBytes(8));
        var files = new TlsFiles(
            Path.Combine(_folder, $"{name}.pem"), Path.Combine(_folder, $"{name}.key"), AuthorityPath);
        File.WriteAllText(files.CertificatePath, certificate.ExportCertificatePem());
        File.WriteAllText(files.KeyPath, key.ExportPkcs8PrivateKeyPem());
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(files.KeyPath, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return files;
    }
}
