namespace Pitr.Hosting;

/// <summary>
/// Where one side of a connection has its certificate, the key of that, and the authority that has signed the
/// certificates of the other side: PEM files.
/// </summary>
/// <param name="CertificatePath">The certificate, and behind it those between it and the authority, if any.</param>
/// <param name="KeyPath">Its private key, not encrypted; no other user of the machine may read the file.</param>
/// <param name="AuthorityPath">Certificates of the authorities that are trusted; the machine's own are not.</param>
public sealed record TlsFiles(string CertificatePath, string KeyPath, string AuthorityPath);
