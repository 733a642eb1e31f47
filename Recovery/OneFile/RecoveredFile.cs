using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// Puts what one datafile is brought back from into its place, as a file of a new incarnation, and opens it.
/// </summary>
/// <remarks>
/// ORDER  of a copy out of a set; at each step a crash leaves a datafile that needs recovery, and can be recovered again
/// <code>
///   1  PATH.recovering made (O_EXCL), of the kind unfinished copy; synced; folder    removed by the next try or opening
///   2  every page, compared with the manifest while it is copied; synced
///   3  its meta page: the copy's, of a new incarnation, of the kind datafile; synced
///   4  what lies in the place and is not known to be ours gets another name (of a    nothing lies in the place
///      recovery in place, whatever it is)
///   5  renamed into the place; folder synced                                         the control file names another incarnation
///   6  opened, and replayed by the caller; only then the control file names it       (H40)
/// </code>
/// A file that lies there already, and is a copy, gets its incarnation by a meta page of its own (H22).
/// INVARIANTS
///   RF1  What is not provably this datafile is never written over.
///   RF2  A copy has a new incarnation before it has the datafile's name (H15): the control file, which names another
///        one, keeps it from opening as if it were recovered.
/// THREADS  one. The former owner has ended (H13, H41). FAILURE  as the disk's; the unfinished copy is removed if that can be.
/// </remarks>
internal static class RecoveredFile
{
    /// <summary>Behind the datafile's path; no datafile may have a name that ends so.</summary>
    public const string Suffix = ".recovering";

    /// <summary>What a file that is not known to be ours is called from then on.</summary>
    public const string AsideSuffix = AsideName.Suffix;

    private const int ChunkBytes = 1 << 20;

    /// <summary>Makes it, and opens it for the replay.</summary>
    /// <param name="planned">What from.</param>
    /// <param name="copied">Called with the bytes of each chunk.</param>
    /// <param name="cancellation">Until the file gets its name.</param>
    /// <param name="keepsFormer">What lies in the place gets another name, also if it is ours: it may be newer.</param>
    public static Datafile Make(
        PlannedFileRecovery planned, Action<int> copied, CancellationToken cancellation, bool keepsFormer = false)
    {
        DatafileEnvironment environment = planned.Request.Environment;
        string path = planned.Place.Path;
        var incarnation = new Incarnation(planned.Request.Random());
        switch (planned.Base)
        {
            case FileBase.InPlace there:
                return OpenInPlace(planned, there, incarnation);
            case FileBase.OfSet of:
                RemoveUnfinished(planned);
                CopyOfSet(planned, of, incarnation, copied, cancellation);
                break;
            case FileBase.Born born:
                RemoveUnfinished(planned);
                Datafile.Create(
                    environment, path + Suffix, planned.File.Name, planned.Request.Control.SystemId, planned.File.Id,
                    incarnation, planned.LineageOf(born.From), born.From, keepVersions: false).Dispose();
                break;
            default:
                throw new BugException($"Nothing is made of {planned.Base}.");
        }

        cancellation.ThrowIfCancellationRequested();
        TakePlace(planned, keepsFormer);
        return Datafile.Open(
            environment, path, planned.File.Name,
            new DatafileExpectation(planned.Request.Control.SystemId, planned.File.Id, Incarnation: incarnation),
            keepVersions: false);
    }

    /// <summary>
    /// Removes what a recovery that was cut off has left, if it is provably of this datafile and nobody has it open.
    /// </summary>
    /// <returns>False if something else has the name.</returns>
    public static bool RemoveLeftOver(IFileSystem files, string path, SystemIdentifier system, FileId file)
    {
        string unfinished = path + Suffix;
        if (files.Stat(unfinished) is not { } entry)
            return true;
        if (entry.IsFolder || entry.IsSymlink)
            return false;
        using (IDisposable? free = files.TryLock(unfinished))
        {
            if (free is null || !(IsOurs(files, unfinished, system, file) || IsBlank(files, unfinished, system, file)))
                return false;
            files.Delete(unfinished);
        }

        files.SyncFolder(DurableReplace.FolderOf(unfinished));
        return true;
    }

    /// <summary>True if its meta page says that it is this datafile, or a copy of it.</summary>
    public static bool IsOurs(IFileSystem files, string path, SystemIdentifier system, FileId file)
    {
        try
        {
            MetaPage meta = Datafile.Inspect(files, path);
            return meta.SystemId == system && meta.FileId == file;
        }
        catch (PitrException error) when (error is DamageException or RefusedException or StorageFailedException)
        {
            return false;
        }
    }

    /// <summary>What a crash leaves of the first step: meta pages of which each is ours or not there.</summary>
    private static bool IsBlank(IFileSystem files, string path, SystemIdentifier system, FileId file)
    {
        using IFileHandle handle = files.Open(path, FileOpen.Read);
        var bytes = new byte[MetaPage.Slots * PageLayout.PageBytes];
        if (handle.LengthBytes > bytes.Length)
            return false;
        handle.Read(0, bytes);
        for (uint slot = 0; slot < MetaPage.Slots; slot++)
        {
            ReadOnlySpan<byte> page = bytes.AsSpan((int)slot * PageLayout.PageBytes, PageLayout.PageBytes);
            if (page.ContainsAnyExcept((byte)0)
                && (MetaPage.TryRead(page, slot, out _) is not { } meta || meta.SystemId != system || meta.FileId != file))
                return false;
        }

        return true;
    }

    private static Datafile OpenInPlace(PlannedFileRecovery planned, FileBase.InPlace there, Incarnation incarnation)
    {
        Datafile file = Datafile.Open(
            planned.Request.Environment, planned.Place.Path, planned.File.Name,
            new DatafileExpectation(planned.Request.Control.SystemId, planned.File.Id), keepVersions: false);
        try
        {
            if (file.Incarnation != there.Meta.Incarnation || file.Generation != there.Meta.Generation)
                throw DatafileErrors.NeedsRecovery(planned.Place.Path, "it changed while it was looked at");
            if (there.IsKnown)
                return file;
            FlushJob job = file.PrepareMetaFlush(file.Meta.Lineage, incarnation: incarnation); // H15
            job.WritePages();
            job.WriteMeta();
            file.CompleteFlush(job);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void RemoveUnfinished(PlannedFileRecovery planned)
    {
        if (!RemoveLeftOver(
            planned.Request.Environment.Files, planned.Place.Path, planned.Request.Control.SystemId, planned.File.Id))
            throw RecoveryErrors.TargetFileExists(planned.Place.Path + Suffix);
    }

    private static void CopyOfSet(
        PlannedFileRecovery planned, FileBase.OfSet of, Incarnation incarnation, Action<int> copied,
        CancellationToken cancellation)
    {
        IFileSystem files = planned.Request.Environment.Files;
        string unfinished = planned.Place.Path + Suffix;
        using IFileHandle to = files.Open(unfinished, FileOpen.CreateNew);
        try
        {
            using IDisposable held = files.TryLock(unfinished) ?? throw DatafileErrors.Locked(unfinished);
            var copy = new SetCopy(planned, of, to, copied);
            copy.Begin(incarnation);
            files.SyncFolder(DurableReplace.FolderOf(unfinished));
            copy.CopyPages(ChunkBytes, cancellation);
            copy.Stamp(incarnation);
        }
        catch
        {
            Quietly(() => files.Delete(unfinished));
            throw;
        }
        finally
        {
            planned.Request.Environment.Writer.Forget(to);
        }
    }

    private static void TakePlace(PlannedFileRecovery planned, bool keepsFormer)
    {
        IFileSystem files = planned.Request.Environment.Files;
        string path = planned.Place.Path;
        string folder = DurableReplace.FolderOf(path);
        if (files.Stat(path) is { IsSymlink: false }
            && (keepsFormer || !IsOurs(files, path, planned.Request.Control.SystemId, planned.File.Id)))
        {
            files.Rename(path, AsideName.Free(files, path)); // RF1
            files.SyncFolder(folder);
        }

        files.Rename(path + Suffix, path);
        files.SyncFolder(folder);
    }

    private static void Quietly(Action remove)
    {
        try
        {
            remove();
        }
        catch (StorageFailedException)
        {
            // The next try, or opening, removes it; the first error is the one to tell.
        }
    }
}
