using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>A complete backup set in a store: label and manifest were read and fit each other.</summary>
/// <remarks>
/// LAYOUT  objects under <c>backups/ID/</c>; or at the top of a store that is one set (a folder that pgtar wrote)
/// <code>
///   intent.json           first: what expire must keep for it (H35)
///   datafiles/NAME.pitr   the copies, each fenced while it was made
///   pitr.control          the control file: catalogue at LSN C, marked backup
///   wal/…                 archived segments and parts from start to stop, unless they are in the archive
///   label.json            what it is of; start and stop
///   manifest.json         last: length and SHA-256 of every object above but the intent; without it there is no set
///   pin.json              if an operator pinned it: expire keeps it
/// </code>
/// Immutable; any thread (the store's own rule is one call at a time).
/// </remarks>
internal sealed record BackupSet(IArchiveStore Store, string Prefix, BackupLabel Label, BackupManifest Manifest)
{
    public const string Folder = "backups/";
    public const string IntentName = "intent.json";
    public const string ControlName = "pitr.control";
    public const string LabelName = "label.json";
    public const string ManifestName = "manifest.json";
    public const string PinName = "pin.json";
    public const string DatafileFolder = "datafiles/";

    private const int ChunkBytes = 1 << 20;

    public string Id => Label.BackupId;

    /// <summary>What the names of a set's objects begin with.</summary>
    public static string PrefixOf(string backupId) => $"{Folder}{backupId}/";

    /// <summary>The object of a datafile within a set.</summary>
    public static string DatafileName(string name) => $"{DatafileFolder}{name}.pitr";

    /// <summary>A new id: when, and a random tail.</summary>
    public static string NewId(DateTimeOffset now, ulong random) => string.Create(
        CultureInfo.InvariantCulture, $"{now.UtcDateTime:yyyyMMdd'T'HHmmss'Z'}-{random >> 40:x6}");

    /// <summary>The set as a store of its own: its WAL lies there as in an archive.</summary>
    public IArchiveStore AsStore() => Prefix.Length == 0 ? Store : new PrefixedStore(Store, Prefix);

    public byte[] Read(string name)
    {
        using Stream stream = OpenVerified(name);
        using var content = new MemoryStream();
        stream.CopyTo(content);
        return content.ToArray();
    }

    /// <summary>An object's bytes; at their end length and digest have been compared with the manifest.</summary>
    /// <exception cref="DamageException">BackupDamaged, also while reading.</exception>
    public Stream OpenVerified(string name)
    {
        ManifestEntry entry = Manifest.Find(name)
            ?? throw RecoveryErrors.BackupDamaged(Id, name, "its manifest does not list it");
        try
        {
            return new VerifyingStream(Store.OpenRead(Prefix + name), Id, entry);
        }
        catch (NotFoundException)
        {
            throw RecoveryErrors.BackupDamaged(Id, name, "it is not there");
        }
    }

    /// <summary>Reads an object whole and compares it with the manifest.</summary>
    /// <exception cref="DamageException">BackupDamaged.</exception>
    public void Verify(string name, CancellationToken cancellation)
    {
        using Stream stream = OpenVerified(name);
        byte[] chunk = ArrayPool<byte>.Shared.Rent((int)Math.Clamp(stream.Length, 1, ChunkBytes));
        try
        {
            while (stream.Read(chunk) > 0)
                cancellation.ThrowIfCancellationRequested();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }

    private sealed class VerifyingStream(Stream inner, string backupId, ManifestEntry entry) : Stream
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private long _read;
        private bool _isVerified;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => entry.LengthBytes;

        public override long Position
        {
            get => _read;
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> buffer)
        {
            int read = inner.Read(buffer);
            _read += read;
            if (read > 0)
                _hash.AppendData(buffer[..read]);
            if (_read > entry.LengthBytes || (read == 0 && buffer.Length > 0 && !_isVerified))
                Verify();
            return read;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                inner.Dispose();
                _hash.Dispose();
            }
            base.Dispose(disposing);
        }

        private void Verify()
        {
            if (_read != entry.LengthBytes)
            {
                throw RecoveryErrors.BackupDamaged(
                    backupId, entry.Name, $"it has {(_read > entry.LengthBytes ? "more than " : "")}"
                    + $"{Math.Min(_read, entry.LengthBytes)} bytes instead of {entry.LengthBytes}", _read);
            }
            string sha = Convert.ToHexString(_hash.GetHashAndReset());
            if (sha != entry.Sha256)
                throw RecoveryErrors.BackupDamaged(
                    backupId, entry.Name, $"its SHA-256 is {sha} instead of {entry.Sha256}");
            _isVerified = true;
        }
    }
}

/// <summary>A store seen from one of its folders.</summary>
internal sealed class PrefixedStore(IArchiveStore inner, string prefix) : IArchiveStore
{
    public string Name => $"{inner.Name}/{prefix.TrimEnd('/')}";

    public string Place => $"{inner.Place}/{prefix.TrimEnd('/')}";

    public StoreAbilities Abilities => inner.Abilities;

    public void CreateRoot() => inner.CreateRoot();

    public void Put(string name, ReadOnlyMemory<byte> content) => inner.Put(prefix + name, content);

    public void Put(string name, Stream content) => inner.Put(prefix + name, content);

    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) =>
        inner.TryPutIfAbsent(prefix + name, content);

    public ReadOnlyMemory<byte> Get(string name) => inner.Get(prefix + name);

    public ReadOnlyMemory<byte>? TryGet(string name) => inner.TryGet(prefix + name);

    public Stream OpenRead(string name) => inner.OpenRead(prefix + name);

    public IReadOnlyList<string> List(string under) =>
        [.. inner.List(prefix + under).Select(name => name[prefix.Length..])];

    public void Delete(string name) => inner.Delete(prefix + name);

    public StoredObject? Stat(string name) =>
        inner.Stat(prefix + name) is { } stored ? stored with { Name = name } : null;

    public int RemoveStrays() => inner.RemoveStrays();
}
