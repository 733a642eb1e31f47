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
///   attempts/N.json       if it was cut off: who went on with it
///   copied/NAME.json      while it is made: a copy that is whole and was certified
///   datafiles/NAME.pitr   the copies, each fenced while it was made
///   datafiles/NAME.pages  the same, of a datafile that builds on its copy in the base: what changed since then
///   pitr.control          the control file: catalogue at LSN C, marked backup
///   wal/…                 archived segments and parts from start to stop, unless they are in the archive
///   label.json            what it is of; start and stop
///   manifest.json         last: length and SHA-256 of every object above but the intent; without it there is no set
///   pin.json              if an operator pinned it: expire keeps it
/// </code>
/// Immutable; any thread.
/// </remarks>
internal sealed record BackupSet(IArchiveStore Store, string Prefix, BackupLabel Label, BackupManifest Manifest)
{
    public const string Folder = "backups/";
    public const string IntentName = "intent.json";
    public const string ControlName = "pitr.control";
    public const string LabelName = "label.json";
    public const string ManifestName = "manifest.json";
    public const string PinName = "pin.json";

    /// <summary>When the set was verified last; written when it is complete, for people.</summary>
    public const string VerifiedName = "verified.json";
    public const string DatafileFolder = "datafiles/";

    private const int ChunkBytes = 1 << 20;

    public string Id => Label.BackupId;

    /// <summary>The set that this one builds on; null: none. It is the one that the label means (SetChains).</summary>
    public BackupSet? Base { get; init; }

    /// <summary>What it builds on, what that builds on, and so on down to a set that has all of itself.</summary>
    public IEnumerable<BackupSet> Bases
    {
        get
        {
            for (BackupSet? older = Base; older is not null; older = older.Base)
                yield return older;
        }
    }

    /// <summary>What the names of a set's objects begin with.</summary>
    public static string PrefixOf(string backupId) => $"{Folder}{backupId}/";

    /// <summary>The object of a datafile within a set.</summary>
    public static string DatafileName(string name) => $"{DatafileFolder}{name}.pitr";

    /// <summary>The object of a datafile that builds on its copy in the base.</summary>
    public static string ChangedPagesName(string name) => $"{DatafileFolder}{name}.pages";

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
            return Verified(Store.OpenRead(Prefix + name), Id, entry);
        }
        catch (NotFoundException)
        {
            throw RecoveryErrors.BackupDamaged(Id, name, "it is not there");
        }
    }

    /// <summary>An object's bytes, which at their end have been compared with what is listed of it.</summary>
    internal static Stream Verified(Stream stored, string backupId, ManifestEntry listed) =>
        new VerifyingStream(stored, backupId, listed);

    /// <summary>The base's copy that one of this set builds on; null: it has all of itself.</summary>
    public LabelledFile? BaseOf(LabelledFile file) => file.BaseGeneration is null
        ? null
        : Base?.Label.Files.FirstOrDefault(older => older.Id == file.Id);

    /// <summary>
    /// A datafile whole, as it was when it was copied, wherever its pages lie; at its end all of it has been compared with
    /// what was noted when it was.
    /// </summary>
    /// <exception cref="DamageException">BackupDamaged, also while reading.</exception>
    public Stream OpenFile(LabelledFile file) => OpenFile(file, isOutermost: true);

    /// <summary>The same; a base, of which only some pages are taken, is compared by who takes them.</summary>
    internal Stream OpenFile(LabelledFile file, bool isOutermost) => file.BaseGeneration is null
        ? OpenVerified(file.ObjectName)
        : new ComposedStream(this, file, isOutermost);

    /// <summary>Reads a datafile whole, and compares it.</summary>
    /// <exception cref="DamageException">BackupDamaged.</exception>
    public void VerifyFile(LabelledFile file, CancellationToken cancellation) => ReadToEnd(OpenFile(file), cancellation);

    /// <summary>The same of every object, and every datafile whole.</summary>
    /// <param name="done">Called with each object, and what is wrong with it; null: throws it.</param>
    /// <param name="cancellation">Ends the reading.</param>
    /// <exception cref="DamageException">BackupDamaged.</exception>
    public void VerifyAll(Action<ManifestEntry, DamageException?>? done, CancellationToken cancellation)
    {
        foreach (ManifestEntry entry in Manifest.Objects)
        {
            try
            {
                if (Label.Files.FirstOrDefault(file => file.ObjectName == entry.Name) is { } file)
                    VerifyFile(file, cancellation);
                else
                    Verify(entry.Name, cancellation);
                done?.Invoke(entry, null);
            }
            catch (DamageException damage) when (done is not null)
            {
                done(entry, damage);
            }
        }
    }

    /// <summary>Reads an object whole and compares it with the manifest.</summary>
    /// <exception cref="DamageException">BackupDamaged.</exception>
    public void Verify(string name, CancellationToken cancellation) => ReadToEnd(OpenVerified(name), cancellation);

    private static void ReadToEnd(Stream from, CancellationToken cancellation)
    {
        using Stream stream = from;
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

    private sealed class VerifyingStream(Stream inner, string backupId, ManifestEntry entry) : ForwardStream
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private long _read;
        private bool _isVerified;

        public override long Length => entry.LengthBytes;

        protected override long BytesRead => _read;

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
