using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// What is to be replayed, made from what opening found: the local WAL after a crash, or the plan of a restore.
/// </summary>
internal sealed class ReplayJob
{
    private readonly OpenedEngine _opened;
    private readonly string _folder;
    private readonly Dictionary<FileId, string> _dropped = [];
    private readonly HashSet<string> _inUse; // where datafiles of this database lie; no links

    private ReplayJob(OpenedEngine opened, string folder, ReplayStream stream)
    {
        _opened = opened;
        _folder = folder;
        _inUse = [.. opened.Datafiles.Select(file => file.Path)];
        Stream = stream;
    }

    public ReplayStream Stream { get; }

    public static ReplayJob For(EngineContext engine, OpenedEngine opened)
    {
        ControlFile control = opened.ControlFile;
        Lsn cut = opened.Restore?.Cut ?? opened.Wal!.End;
        var has = new Dictionary<FileId, Lsn>();
        foreach (OpenedDatafile file in opened.Datafiles)
        {
            // A file that can't be used takes no part: as if it had everything up to the cut.
            has[file.Id] = file.File?.CheckpointLsn ?? cut;
        }

        var options = new ReplayOptions
        {
            BytesPerBarrier = Math.Max(64 << 10, engine.WriteBufferBytesMax), // sooner if the buffers fill
            PendingBytesMax = Math.Max(64 << 10, engine.WriteBufferBytesMax / 4),
        };
        ReplayCatalogue catalogue = ReplayStart.Of(control.Catalogue, has);
        return opened.Restore is { } restore
            ? new ReplayJob(opened, engine.Folder, new ReplayStream(
                RecordsOf(restore, control.RedoLsn), catalogue, restore.Cut, options))
            : new ReplayJob(opened, engine.Folder, new ReplayStream(
                LocalRecords(opened), catalogue, cut, options));
    }

    /// <summary>
    /// Where a file that replay makes lies: where it was logged after a crash; where the restore maps it else (H30).
    /// </summary>
    public string PathFor(WalEvent.CreateDatafile create) => Catalogue.FullPath(
        _folder,
        _opened.Restore is { } restore ? RestorePaths.OfMade(create.Name, create.Path, restore.Plan.Map) : create.Path);

    /// <summary>
    /// A file whose creation was logged: it is on disk already (crash recovery, or an earlier try), or is made now.
    /// </summary>
    /// <remarks>
    /// What a restore makes gets its name only when its content is durable: what lies there under that name and does
    /// not carry this recovery's stamp is not ours, and is neither opened nor written over (H30). The temporary name
    /// carries the recovery's id, so what an earlier try left of it is ours to remove. In a database's own folder that may be
    /// the former file, beyond where a paused recovery stood: it gets another name, unless it is one that is in use.
    /// </remarks>
    public Datafile MakeFile(EngineContext engine, WalEvent.CreateDatafile create, Lineage lineage)
    {
        string path = PathFor(create);
        if (engine.Outside.Bars(path))
            throw StorageErrors.DatafileElsewhere(create.Name, path, _folder);
        if (_opened.ControlFile.Recovery is { } recovery)
            return MakeRestored(engine, create, path, lineage, recovery.Id);
        ControlFile control = _opened.ControlFile;
        return engine.FileSystem.Stat(path) is null
            ? Datafile.Create(
                engine.Environment, path, create.Name, control.SystemId, create.FileId, create.Incarnation, lineage,
                control.RedoLsn, keepVersions: false)
            : Datafile.Open(
                engine.Environment, path, create.Name,
                new DatafileExpectation(control.SystemId, create.FileId, Incarnation: create.Incarnation),
                keepVersions: false);
    }

    private Datafile MakeRestored(
        EngineContext engine, WalEvent.CreateDatafile create, string path, Lineage lineage, Guid recovery)
    {
        ControlFile control = _opened.ControlFile;
        IFileSystem files = engine.FileSystem;
        string temporary = $"{path}.{recovery:N}.tmp";
        if (files.Stat(temporary) is not null)
            files.Delete(temporary);
        bool isThere = files.Stat(path) is not null;
        if (isThere && !IsStamped(files, path, recovery))
        {
            if (!_opened.Restore!.Plan.IsInPlace || _inUse.Contains(LinkedName.Resolve(files, path)))
                throw RecoveryErrors.TargetFileExists(path);
            files.Rename(path, AsideName.Free(files, path));
            files.SyncFolder(DurableReplace.FolderOf(path));
            isThere = false;
        }

        if (!isThere)
        {
            // An incarnation of its own: the one that was logged is that of the source's file (H15).
            Datafile.Create(
                engine.Environment, temporary, create.Name, control.SystemId, create.FileId,
                new Incarnation(engine.Draw()), lineage, control.RedoLsn, restoreStamp: recovery,
                keepVersions: false).Dispose();
            files.Link(temporary, path);
            files.Delete(temporary);
            files.SyncFolder(Path.GetDirectoryName(path)!);
        }

        _inUse.Add(path);
        return Datafile.Open(
            engine.Environment, path, create.Name, new DatafileExpectation(control.SystemId, create.FileId),
            keepVersions: false);
    }

    private static bool IsStamped(IFileSystem files, string path, Guid recovery)
    {
        try
        {
            return Datafile.Inspect(files, path).RestoreStamp == recovery;
        }
        catch (PitrException error) when (error is DamageException or RefusedException)
        {
            return false; // no datafile, or one of another format
        }
    }

    /// <summary>The file that a replayed drop removes.</summary>
    public string? PathOfDropped(FileId file) => _dropped.GetValueOrDefault(file);

    /// <summary>Remembers where a file lay before the catalogue forgets it.</summary>
    public void NoteDropped(FileId file, string storedPath) => _dropped[file] = Catalogue.FullPath(_folder, storedPath);

    /// <summary>
    /// An earlier try may have flushed everything up to the cut and died before it promoted. If the cut is the fork of
    /// the path's next timeline, what is left of the path begins beyond it.
    /// </summary>
    private static IRecordStream RecordsOf(RestoreInProgress restore, Lsn from) => from >= restore.Cut
        ? new NoRecords(from)
        : WalSources.Open(restore.History, restore.Sources.Along(restore.History, from, restore.Cut), from);

    private static PathReader LocalRecords(OpenedEngine opened)
    {
        TimelineHistory history = TimelineHistory.Of(opened.ControlFile.SystemId, opened.ControlFile.History);
        var legs = new List<PathLeg>();
        foreach (WalReplayPart part in opened.Wal!.Replay)
        {
            TimelineEntry entry = history.Path.First(found => found.Lineage == part.Identity.Lineage);
            legs.Add(new PathLeg(
                entry, () => new FolderWalBytes(opened.WalFolder, part.Identity), part.Range.From, part.Range.To,
                part.Range.KnownEnd));
        }

        return new PathReader(legs);
    }
}
