using System.Buffers;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// Puts the files of a planned recovery into a new folder, and a control file in recovery state beside them.
/// </summary>
/// <remarks>
/// ORDER
/// <code>
///   1. the folder is absent or empty, every place of a file is free     else refused, nothing written
///   2. folder, wal/                       created, parent synced
///   3. each datafile                      O_EXCL, copied, compared with the manifest while copying, synced
///   4. every folder with a new name       synced
///   5. control file (in recovery state)   holds the plan; from here on a crash goes on with the same target
/// </code>
/// INVARIANTS
///   V1  Nothing is written over, and nothing outside the new folder and the targets of the mapping is created (H30).
///   V2  After a failure or cancellation everything that this object created is gone: the folder is absent or empty.
///   V3  Without control file the folder is no database: a crash before step 5 leaves only files that a second restore
///       finds and refuses, telling the folder.
/// The copied meta pages are those of the source: their incarnation changes at the promotion (H16), their stamp before
/// they are first written. THREADS  one.
/// </remarks>
internal sealed class RestoreWriter
{
    private const int ChunkBytes = 1 << 20;
    private const int ErrnoExists = 17;

    private readonly IFileSystem _disk;
    private readonly string _folder;
    private readonly ThisProcess _process;
    private readonly Action<IFileHandle, long, ReadOnlySpan<byte>> _write;
    private readonly List<string> _createdFiles = [];
    private readonly List<string> _createdFolders = [];

    /// <param name="disk">Where to.</param>
    /// <param name="folder">The new database's folder; absolute.</param>
    /// <param name="process">Who restores: its place is the new database's from the first byte.</param>
    /// <param name="write">How pieces are written (paced, rate-limited, counted); plain writes if null.</param>
    public RestoreWriter(
        IFileSystem disk, string folder, ThisProcess process,
        Action<IFileHandle, long, ReadOnlySpan<byte>>? write = null)
    {
        _disk = disk;
        _process = process;
        _folder = Path.TrimEndingDirectorySeparator(folder);
        _write = write ?? (static (handle, offset, bytes) => handle.Write(offset, bytes));
    }

    /// <summary>Step 1 alone, so that a plan can say it too.</summary>
    /// <exception cref="RefusedException">FolderNotEmpty.</exception>
    public static void RequireRoom(IFileSystem disk, string folder, RecoveryPlan plan)
    {
        if (disk.Stat(folder) is { } entry && (!entry.IsFolder || disk.List(folder).Count > 0))
            throw RecoveryErrors.FolderNotEmpty(folder);
        foreach (string place in plan.Files.Select(file => file.Path).Concat(plan.MadePaths))
        {
            string path = Catalogue.FullPath(folder, place);
            if (disk.Stat(path) is not null)
                throw RecoveryErrors.TargetFileExists(path);
        }
    }

    /// <summary>All steps. The control file that was written is returned.</summary>
    /// <param name="planned">What to restore.</param>
    /// <param name="isPaused">Stay at the target.</param>
    /// <param name="cancellation">Until the control file is written.</param>
    /// <param name="settings">What else belongs to the database, before it becomes one: its name, and what writes
    /// it.</param>
    public ControlFile Restore(
        PlannedRecovery planned, bool isPaused, CancellationToken cancellation, (string Name, Action Write)? settings =
            null)
    {
        RequireRoom(_disk, _folder, planned.Plan);
        try
        {
            CreateFolder(_folder);
            CreateFolder($"{_folder}/wal");
            ControlFile source = ControlFileStore.Decode(
                BackupSet.ControlName, planned.Set.Read(BackupSet.ControlName));
            foreach (PlannedFile file in planned.Plan.Files)
                CopyFile(planned.Set, file, cancellation);
            foreach (string folder in _createdFiles.Select(FolderOf).Append(_folder).Distinct().ToArray())
                _disk.SyncFolder(folder);
            cancellation.ThrowIfCancellationRequested();
            if (settings is var (name, write))
            {
                _createdFiles.Add($"{_folder}/{name}");
                write();
            }

            ControlFile control = InRecovery(
                source, planned, isPaused, FolderPlace.Of(_disk, _folder, _process));
            var store = new ControlFileStore(_disk, _folder);
            _createdFiles.Add(store.FilePath); // the name may be there when its sync fails
            store.Replace(control);
            return control;
        }
        catch
        {
            RemoveCreated();
            throw;
        }
    }

    /// <summary>
    /// The control file of the new database until its recovery is finished: live, with the set's catalogue at C, and
    /// the plan. Its files' LSNs are those of the copies, so that replay, also a second one, skips what each has.
    /// </summary>
    private static ControlFile InRecovery(
        ControlFile source, PlannedRecovery planned, bool isPaused, FolderPlace place)
    {
        Catalogue catalogue = source.Catalogue;
        foreach (CatalogueFile file in source.Catalogue.Files)
        {
            PlannedFile? copy = planned.Plan.Files.FirstOrDefault(candidate => candidate.FileId == file.Id);
            LabelledFile? label = planned.Set.Label.Files.FirstOrDefault(candidate => candidate.Id == file.Id);
            catalogue = copy is null || label is null
                // H29: dropped before it was copied; replay passes over it up to its drop.
                ? catalogue.WithFile(file with { Path = $"{file.Name}.pitr", NeedsRecovery = DroppedBeforeCopy })
                : catalogue.WithFile(file with
                {
                    Path = copy.Path,
                    Incarnation = label.Incarnation,
                    Generation = label.Generation,
                    CheckpointLsn = label.CheckpointLsn,
                    CleanUpTo = label.CheckpointLsn,
                    NeedsRecovery = null,
                });
        }
        return source with
        {
            Kind = ControlFileKind.Live,
            BackupId = null,
            State = EngineState.Running,
            Place = place,
            Timeline = planned.History.Last.Timeline,
            Lineage = planned.History.Last.Lineage,
            History = [.. planned.History.Path],
            RedoLsn = planned.Plan.StartLsn,
            CheckpointLsn = planned.Plan.StartLsn,
            KnownEndOfWal = planned.Plan.StartLsn,
            // The set's control file may be older than its stop: ids go on above what was given until then.
            NextTransactionId = new TransactionId(Math.Max(
                source.NextTransactionId.Value, planned.Set.Label.StopTransactionId.Value + 1)),
            // What was dropped lay in the source's places, and never in this folder (H30).
            Catalogue = catalogue with { DroppedFiles = [.. catalogue.DroppedFiles.Select(drop => drop with { Path = null })] },
            Recovery = new UnfinishedRecovery(
                Guid.ParseExact(planned.Plan.RecoveryId, "N"), planned.Plan.ToJson(), planned.Plan.Target.ToString(),
                isPaused),
            PromotionIntent = null,
            Moves = [],
        };
    }

    /// <summary>Why a file of the set's catalogue has no copy.</summary>
    public const string DroppedBeforeCopy = "it was dropped before the backup copied it";

    private void CopyFile(BackupSet set, PlannedFile file, CancellationToken cancellation)
    {
        string path = Catalogue.FullPath(_folder, file.Path);
        LabelledFile copy = set.Label.Files.First(labelled => labelled.Id == file.FileId);
        using Stream from = set.OpenFile(copy);
        using IFileHandle to = CreateFile(path);
        byte[] chunk = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            long at = 0;
            Span<byte> room = chunk.AsSpan(0, ChunkBytes);
            while (from.ReadAtLeast(room, ChunkBytes, throwOnEndOfStream: false) is var read and > 0)
            {
                cancellation.ThrowIfCancellationRequested();
                _write(to, at, chunk.AsSpan(0, read));
                at += read;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }

        to.SyncData();
    }

    private IFileHandle CreateFile(string path)
    {
        try
        {
            IFileHandle handle = _disk.Open(path, FileOpen.CreateNew);
            _createdFiles.Add(path);
            return handle;
        }
        catch (StorageFailedException taken) when (taken.Errno == ErrnoExists)
        {
            throw RecoveryErrors.TargetFileExists(path);
        }
    }

    private void CreateFolder(string path)
    {
        if (_disk.Stat(path) is not null)
            return;
        _disk.CreateFolder(path);
        _createdFolders.Add(path);
        _disk.SyncFolder(FolderOf(path));
    }

    /// <summary>V2. What can't be removed is left; the first failure is the one to tell.</summary>
    private void RemoveCreated()
    {
        foreach (string file in _createdFiles.AsEnumerable().Reverse())
            Quietly(() => _disk.Delete(file));
        foreach (string folder in _createdFolders.AsEnumerable().Reverse())
            Quietly(() => _disk.DeleteFolder(folder));
    }

    private static void Quietly(Action remove)
    {
        try
        {
            remove();
        }
        catch (StorageFailedException)
        {
            // Best effort: the folder then is not empty, and the next restore says so.
        }
    }

    private static string FolderOf(string path) => path.LastIndexOf('/') is var at and > 0 ? path[..at] : "/";
}
