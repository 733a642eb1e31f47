using Pitr.Wal;

namespace Pitr;

/// <summary>
/// A kind of archive store that a program can open, by the scheme of its addresses: a package brings one, such as
/// Pitr.Archive.S3, and a program gives it to <c>PitrOptions.ArchiveStoreKinds</c>. Folders need none.
/// </summary>
/// <remarks>
/// So the clouds' SDKs stay out of a program that does not use them. Not for other programs to derive from: what a store
/// has to keep (S1 to S4 of IArchiveStore) is tested with this one's own.
/// </remarks>
public abstract class ArchiveStoreKind
{
    private protected ArchiveStoreKind(string scheme) => Scheme = scheme;

    /// <summary>What its addresses begin with, before the colon: <c>s3</c>.</summary>
    public string Scheme { get; }

    /// <summary>The store at an address of this scheme. Nothing is asked of it yet.</summary>
    /// <exception cref="RefusedException">StoreAddressInvalid: an option or a part of it means nothing
    /// here.</exception>
    internal abstract IArchiveStore Open(StoreAddress address);
}
