using System.Security.Cryptography;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// What a backup set has so far, and what its control file, label and manifest say of it: the same wherever it is
/// written to, a store or a tar.
/// </summary>
/// <remarks>
/// INVARIANTS
///   S1  The set's control file is the catalogue at C, marked backup: it can never be opened as if it had crashed.
///   S2  Start = min(C, the files' checkpoint LSNs); stop = LSN of BackupEnd (H29).
/// THREADS  copies are noted by any thread; the rest is one's, when nothing is copied any more.
/// </remarks>
internal sealed class SetContents
{
    private readonly BackupStart _start;
    private readonly Lock _gate = new(); // for files that are copied beside each other
    private readonly Dictionary<FileId, LabelledFile> _files = [];
    private readonly Dictionary<string, ManifestEntry> _objects = [];

    public SetContents(BackupStart start)
    {
        Invariant.Require(
            start.CatalogueLsn >= start.Control.Catalogue.Lsn, "S2", "C lies below the catalogue's own LSN.");
        _start = start;
    }

    /// <summary>Bytes of all objects noted so far.</summary>
    public long Bytes
    {
        get
        {
            lock (_gate)
                return _objects.Values.Sum(entry => entry.LengthBytes);
        }
    }

    /// <summary>Where the set's WAL begins, as far as it is known.</summary>
    public Lsn StartLsn
    {
        get
        {
            lock (_gate)
                return BackupLabel.StartOf(_start.CatalogueLsn, _files.Values);
        }
    }

    /// <summary>A file's copy, all of it, counts.</summary>
    public void NoteCopy(FencedFile file, string sha256) =>
        NoteCopy(file, new CopiedObject(BackupSet.DatafileName(file.Name), file.LengthBytes, sha256));

    /// <summary>A file's copy counts.</summary>
    public void NoteCopy(FencedFile file, CopiedObject copy)
    {
        lock (_gate)
        {
            _objects[copy.Name] = new ManifestEntry(copy.Name, copy.LengthBytes, copy.Sha256);
            _files[file.Id] = LabelledFile.Of(file, copy);
        }
    }

    /// <summary>A copy that an earlier attempt has made counts.</summary>
    public void NoteCopy(CopyNote note)
    {
        lock (_gate)
        {
            _objects[note.Object.Name] = note.Object;
            _files[note.File.Id] = note.File;
        }
    }

    /// <summary>A file's copy that counts, and its object.</summary>
    public (LabelledFile File, ManifestEntry Object) CopyOf(FileId id)
    {
        lock (_gate)
        {
            LabelledFile copy = _files[id];
            return (copy, _objects[copy.ObjectName]);
        }
    }

    /// <summary>A file's copy is void.</summary>
    public void Discard(FencedFile file)
    {
        lock (_gate)
        {
            if (_files.Remove(file.Id, out LabelledFile? copy))
                _objects.Remove(copy.ObjectName);
        }
    }

    /// <summary>Another object that the manifest is to list.</summary>
    public void NoteObject(string name, ReadOnlySpan<byte> bytes) =>
        _objects[name] = new ManifestEntry(name, bytes.Length, Convert.ToHexString(SHA256.HashData(bytes)));

    /// <summary>That these are the bytes that were noted under a name.</summary>
    /// <exception cref="DamageException">BackupDamaged: they are others.</exception>
    public void RequireSame(string name, ReadOnlySpan<byte> bytes)
    {
        string sha = Convert.ToHexString(SHA256.HashData(bytes));
        if (_objects[name].Sha256 != sha)
        {
            throw RecoveryErrors.BackupDamaged(
                _start.BackupId, name, $"read again, its SHA-256 is {sha} instead of {_objects[name].Sha256}");
        }
    }

    /// <exception cref="RefusedException">BackupVoid: a file was copied after the stop.</exception>
    public BackupLabel Label(BackupStop stop, bool includesWal)
    {
        if (_files.Values.Any(file => file.CheckpointLsn > stop.StopLsn))
            throw RecoveryErrors.BackupVoid(_start.BackupId, $"a file was copied after its stop at {stop.StopLsn}");
        Catalogue catalogue = _start.Control.Catalogue;
        BackupSet? older = _files.Values.Any(static file => file.BaseGeneration is not null) ? _start.Base : null;
        FileId[] lacking = [.. catalogue.Files.Select(file => file.Id).Where(id => !_files.ContainsKey(id))];
        return new BackupLabel
        {
            FormatVersion = older is null ? 1 : BackupLabel.FormatNewest,
            BackupId = _start.BackupId,
            SystemId = _start.Control.SystemId,
            Timeline = _start.Control.Timeline,
            Lineage = _start.Control.Lineage,
            Path = [.. _start.Control.History],
            CatalogueLsn = _start.CatalogueLsn,
            StartLsn = StartLsn,
            StopLsn = stop.StopLsn,
            StopTime = stop.StopTime,
            StopTransactionId = stop.LastTransactionId,
            BeganAt = _start.BeganAt,
            WalSegmentBytes = _start.Control.WalSegmentBytes,
            IncludesWal = includesWal,
            BaseId = older?.Id,
            BaseDigest = older?.Manifest.Digest,
            Files = [.. _files.Values.OrderBy(file => file.Id.Value)],
            DroppedFiles = [.. lacking.Where(id => !stop.LiveFiles.Contains(id))],
            MissingFiles = [.. lacking.Where(stop.LiveFiles.Contains)],
        };
    }

    /// <summary>S1: what each file is follows the copies, not the moment when the list was read.</summary>
    public byte[] Control()
    {
        Catalogue catalogue = _start.Control.Catalogue;
        foreach (LabelledFile copy in _files.Values)
        {
            if (catalogue.File(copy.Id) is { } file)
            {
                catalogue = catalogue.WithFile(file with
                {
                    Incarnation = copy.Incarnation,
                    Generation = copy.Generation,
                    CheckpointLsn = copy.CheckpointLsn,
                    CleanUpTo = copy.CheckpointLsn,
                    NeedsRecovery = null,
                });
            }
        }
        return ControlFileStore.Encode(_start.Control with
        {
            Kind = ControlFileKind.Backup,
            BackupId = _start.BackupId,
            Catalogue = catalogue,
            Place = null,
            Recovery = null,
            PromotionIntent = null,
            Moves = [],
        });
    }

    public BackupManifest Manifest() => BackupManifest.Of(_start.BackupId, _objects.Values);
}
