using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What a backup knows when it begins: read at one moment from the control file's owner.</summary>
/// <param name="BackupId">The new set's id.</param>
/// <param name="Control">The control file at LSN C, when the list of files was read (H29).</param>
/// <param name="CatalogueLsn">C: the durable LSN at that moment; at or above the catalogue's own LSN.</param>
/// <param name="BeganAt">Now.</param>
internal sealed record BackupStart(string BackupId, ControlFile Control, Lsn CatalogueLsn, DateTimeOffset BeganAt)
{
    /// <summary>The set in the same store that this one builds on, where a datafile lets it; null: all is copied.</summary>
    public BackupSet? Base { get; init; }

    /// <summary>The set that was cut off and that this backup goes on with, under its id; null: it begins one.</summary>
    public UnfinishedSet? Continues { get; init; }
}

/// <summary>A fenced file, as the fence's answer describes it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Name">Its name.</param>
/// <param name="Path">Where it is now.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="CheckpointLsn">The LSN that it is the state of.</param>
/// <param name="Incarnation">Its incarnation.</param>
/// <param name="Generation">Of its root.</param>
/// <param name="Lineage">Of the checkpoint LSN (H14).</param>
/// <param name="OutsidePath">The same path if it lies outside the database's folder; else null.</param>
internal sealed record FencedFile(
    FileId Id, string Name, string Path, long LengthBytes, Lsn CheckpointLsn, Incarnation Incarnation, ulong Generation,
    Lineage Lineage, string? OutsidePath = null);

/// <summary>The <c>BackupEnd</c> record, logged after the last unfence.</summary>
/// <param name="StopLsn">Its LSN.</param>
/// <param name="StopTime">Its commit time.</param>
/// <param name="LastTransactionId">The last transaction at or below it; 0 if not known.</param>
/// <param name="LiveFiles">The datafiles that are there at the stop.</param>
internal sealed record BackupStop(
    Lsn StopLsn, DateTimeOffset StopTime, TransactionId LastTransactionId, IReadOnlySet<FileId> LiveFiles);

/// <summary>Writes one backup set into a store, step by step; the fences are the caller's.</summary>
/// <remarks>
/// ORDER  (each step durable before the next: H39 makes every object as H27 does)
/// <code>
///   1. Begin          the intent into the set's own and every archive store; then its base is looked at (H35)
///                     of a set that was cut off: the attempt is taken first (A1)
///   2. Copy           one file, while it is fenced; for each file: fence, Copy, unfence, Keep; a broken fence: Discard
///   3. (the caller logs BackupEnd)
///   4. IncludeWal     the WAL from start to stop
///   5. Complete       intents, base and attempt checked again; control file, label; what the manifest does not list is
///                     removed; last the manifest, if there is none; the three checked once more
/// </code>
/// INVARIANTS
///   S1, S2  those of <see cref="SetContents"/>.
///   S3  A page that the file's root reaches and that fails its checksum makes the copy void: it is damage of the
///       database, told at once. Pages that no root reaches may hold anything (a flush that died).
///   S4  Without manifest there is no set: a crash at any step leaves one that is unfinished, which expire removes.
///   S5  WAL that is included was read back, record by record, from start to stop.
///   S6  A set that builds on another was made while that one was there, with all that it builds on: expire keeps what
///       an intent names, and an expire that was planned before the intent is found out at the end.
///   S7  A copy of an earlier attempt counts only if it was certified then, is now read back and is what was noted of it,
///       and all WAL from its checkpoint LSN on is there: replay begins with it (<see cref="UnfinishedSet"/>, H39).
///
/// THREADS  one; but Copy, TryResume, Keep and Discard of several files beside each other, and nothing else meanwhile.
/// FAILURE  DamageException for a bad page; StorageFailedException from disk and stores: Copy may be tried again under a
/// new fence, whole; RefusedException BackupVoid if an intent is gone.
/// </remarks>
internal sealed class BackupWriter
{
    private const int ChunkBytes = 1 << 20;

    private readonly IFileSystem _disk;
    private readonly IArchiveStore _store;
    private readonly IReadOnlyList<IArchiveStore> _archives;
    private readonly BackupStart _start;
    private readonly IReachablePages _reachable;
    private readonly Func<CancellationToken, Action<long>> _paceOf;
    private readonly IThreads? _threads;
    private readonly string _prefix;
    private readonly SetContents _contents;
    private readonly SetIntents _intents;
    private readonly SetAttempt _attempt;
    private int _whole;
    private int _resumed;
    private bool _includesWal;

    /// <param name="disk">Where the datafiles are.</param>
    /// <param name="store">The set's own store.</param>
    /// <param name="archives">The archive stores of the database.</param>
    /// <param name="start">What was read when it began.</param>
    /// <param name="reachable">Tells which pages count, asked only when one fails.</param>
    /// <param name="paceOf">Makes, for each copy, what is called with the bytes just copied: it may wait (rate limit), until
    /// they are wanted no longer, and count (progress). Any thread.</param>
    /// <param name="threads">Where digests are made beside the copying; null: not beside it.</param>
    public BackupWriter(
        IFileSystem disk, IArchiveStore store, IReadOnlyList<IArchiveStore> archives, BackupStart start,
        IReachablePages reachable, Func<CancellationToken, Action<long>>? paceOf = null, IThreads? threads = null)
    {
        _contents = new SetContents(start);
        _intents = new SetIntents(
            start, [store, .. archives.Where(archive => archive.Name != store.Name)], store.Name);
        (_disk, _store, _archives, _start, _reachable) = (disk, store, archives, start, reachable);
        (_paceOf, _threads) = (paceOf ?? (static _ => static _ => { }), threads);
        _prefix = BackupSet.PrefixOf(start.BackupId);
        _attempt = AttemptIn(store);
    }

    /// <summary>Of the set.</summary>
    public string BackupId => _start.BackupId;

    /// <summary>Bytes of all objects written so far.</summary>
    public long BytesWritten => _contents.Bytes;

    /// <summary>Where the set's WAL begins, as far as it is known.</summary>
    public Lsn StartLsn => _contents.StartLsn;

    /// <summary>Datafiles whose copies an earlier attempt had made.</summary>
    public int Resumed => _resumed;

    /// <summary>True if another backup can go on with it: something is whole.</summary>
    public bool CanBeContinued => _whole > 0;

    /// <summary>Step 1. From here on expire keeps what the set needs.</summary>
    /// <exception cref="RefusedException">ForeignSystem: the store is another database's archive. BackupVoid: somebody
    /// else goes on with the set that was to be continued.</exception>
    public void Begin()
    {
        if (ArchiveIdentity.Read(_store) is { } owner && owner.System != _start.Control.SystemId)
            throw ArchiveErrors.ForeignSystem(_store.Name, _start.Control.SystemId, owner.System);
        if (!_attempt.TryBegin(_start.BeganAt))
            throw RecoveryErrors.BackupVoid(_start.BackupId, "another backup goes on with it");
        _intents.Register(isContinued: _start.Continues is not null);
        RequireBase();
        if (_start.Continues is null)
            return;
        foreach (string name in _store.List(_prefix + ObjectName.WalPrefix))
            _store.Delete(name); // of another stop
    }

    /// <summary>Step 2, for one file that is fenced from before the call until after it.</summary>
    public void Copy(FencedFile file, CancellationToken cancellation)
    {
        using IFileHandle handle = _disk.Open(file.Path, FileOpen.Read);
        if (BaseOf(file) is { } older)
        {
            CopyChanged(handle, file, older, cancellation);
            return;
        }
        string name = _attempt.Own(BackupSet.DatafileName(file.Name));
        using var pages = new PageCopyStream(handle, file, _paceOf(cancellation), cancellation, _threads);
        _store.Put(_prefix + name, pages);
        pages.RequireSound(_reachable);
        _contents.NoteCopy(file, new CopiedObject(name, file.LengthBytes, pages.Sha256()));
    }

    /// <summary>True if an earlier attempt has made a copy of the file that can be used (S7).</summary>
    public bool CanResume(FileId id) => NoteOf(id) is not null;

    /// <summary>
    /// Step 2 for such a file, which need not be fenced: reads the copy back. False if it is not what was noted: then the
    /// file is copied.
    /// </summary>
    public bool TryResume(FileId id, CancellationToken cancellation)
    {
        CopyNote note = NoteOf(id)!;
        try
        {
            using Stream there = BackupSet.Verified(_store.OpenRead(_prefix + note.Object.Name), _start.BackupId, note.Object);
            byte[] chunk = new byte[ChunkBytes];
            Action<long> pace = _paceOf(cancellation);
            while (there.Read(chunk) is var read and > 0)
            {
                cancellation.ThrowIfCancellationRequested();
                pace(read);
            }
        }
        catch (PitrException error) when (error is DamageException or NotFoundException)
        {
            return false;
        }

        _contents.NoteCopy(note);
        Interlocked.Increment(ref _resumed);
        Interlocked.Increment(ref _whole);
        return true;
    }

    private CopyNote? NoteOf(FileId id) => _start.Continues?.Copies.FirstOrDefault(copy => copy.File.Id == id);

    /// <summary>
    /// The file's copy was certified: if the backup is cut off, another one may go on with it (S7).
    /// </summary>
    public void Keep(FencedFile file)
    {
        (LabelledFile copy, ManifestEntry stored) = _contents.CopyOf(file.Id);
        var note = new CopyNote
        {
            File = copy,
            Object = stored,
            BaseDigest = copy.BaseGeneration is null ? null : _start.Base?.Manifest.Digest,
        };
        _store.Put($"{_prefix}{_attempt.Own($"{CopyNote.Folder}{file.Name}.json")}", note.ToBytes());
        Interlocked.Increment(ref _whole);
    }

    /// <summary>The base's copy that a file's copy builds on; null: it is copied whole.</summary>
    public LabelledFile? BaseOf(FencedFile file) => BaseChoice.CopyOf(_start, file);

    private void CopyChanged(
        IFileHandle handle, FencedFile file, LabelledFile older, CancellationToken cancellation)
    {
        string name = _attempt.Own(BackupSet.ChangedPagesName(file.Name));
        using var pages = new ChangedPagesStream(handle, file, older, _paceOf(cancellation), cancellation);
        _store.Put(_prefix + name, pages);
        _contents.NoteCopy(file, pages.Made(name));
    }

    /// <summary>The copy is void, because the file's fence was broken while it was made.</summary>
    public void Discard(FencedFile file)
    {
        _contents.Discard(file);
        _store.Delete(_prefix + _attempt.Own(BackupSet.DatafileName(file.Name)));
        _store.Delete(_prefix + _attempt.Own(BackupSet.ChangedPagesName(file.Name)));
    }

    /// <summary>Step 4: puts the WAL from start to stop into the set.</summary>
    /// <param name="history">The database's path.</param>
    /// <param name="sources">Where the WAL is: the local folder, the archive.</param>
    /// <param name="stop">The stop LSN; durable.</param>
    /// <param name="cancellation">Ends the copying.</param>
    /// <exception cref="DamageException">The chain of records does not reach the stop; there is no set
    /// then.</exception>
    public void IncludeWal(TimelineHistory history, WalSources sources, Lsn stop, CancellationToken cancellation)
    {
        var own = new PrefixedStore(_store, _prefix);
        WalCoverage coverage = sources.Along(history, StartLsn, stop);
        if (coverage.Hole is { } hole)
            throw RecoveryErrors.WalGap(hole.Timeline, hole.From, hole.To, sources.Names);
        Action<long> pace = _paceOf(cancellation);
        foreach (WalStretch stretch in coverage.Stretches)
        {
            cancellation.ThrowIfCancellationRequested();
            (Lsn from, ReadOnlyMemory<byte> bytes) = stretch.Open();
            ReadOnlyMemory<byte> needed = bytes[(int)(stretch.From - from)..(int)(stretch.To - from)];
            TimelineEntry owner = history.OwnerOf(stretch.From);
            var identity = new SegmentIdentity(history.System, owner.Timeline, owner.Lineage, stretch.Number);
            ArchivedSegment part = ArchivedSegment.Part(identity, stretch.From, needed);
            ArchivePush.PushPart(own, part, stop);
            _contents.NoteObject(part.Name, own.Get(part.Name).Span);
            pace(needed.Length);
        }
        RequireChain(history, own, sources.Geometry, stop);
        _includesWal = true;
    }

    /// <summary>
    /// S5: what was written is read back, record by record: a set is not whole with WAL that can't be replayed.
    /// </summary>
    private void RequireChain(TimelineHistory history, PrefixedStore own, WalGeometry geometry, Lsn stop)
    {
        var written = new WalSources([new ArchiveWalSource(own, ArchiveCatalog.Load(own), geometry)], geometry);
        using PathReader reader = WalSources.Open(history, written.Along(history, StartLsn, stop), StartLsn);
        Lsn reached = StartLsn;
        while (reached < stop && reader.MoveNext())
            reached = reader.Current.Lsn;
        if (reached != stop)
        {
            throw reader.End is { IsWhole: false } broken
                ? broken.ToException()
                : RecoveryErrors.CutMissed(stop, reached, "no record ends at the set's stop");
        }
    }

    /// <summary>Step 5. The set is there when it returns.</summary>
    /// <exception cref="RefusedException">BackupVoid: an intent is gone, or the stop lies before a file. BackupBaseLost.
    /// </exception>
    public BackupSet Complete(BackupStop stop)
    {
        _intents.Require();
        RequireBase();
        _attempt.RequireLast();
        BackupLabel label = _contents.Label(stop, _includesWal);
        PutObject(BackupSet.ControlName, _contents.Control());
        PutObject(BackupSet.LabelName, label.ToBytes());
        BackupManifest manifest = _contents.Manifest();
        RemoveUnlisted(manifest);
        if (!_store.TryPutIfAbsent(_prefix + BackupSet.ManifestName, manifest.ToBytes()))
            throw RecoveryErrors.BackupVoid(_start.BackupId, "another backup has finished it meanwhile");
        RequireIntentsOrVoid();
        return new BackupSet(_store, _prefix, label, manifest) { Base = label.BaseId is null ? null : _start.Base };
    }

    /// <summary>S6.</summary>
    private void RequireBase()
    {
        for (BackupSet? older = _start.Base; older is not null; older = older.Base)
            SetChains.RequireThere(_store, _start.BackupId, older);
    }

    /// <summary>Notes, and what earlier attempts have made that does not count.</summary>
    private void RemoveUnlisted(BackupManifest manifest)
    {
        HashSet<string> listed = [.. manifest.Objects.Select(entry => _prefix + entry.Name), _prefix + BackupSet.IntentName];
        foreach (string name in _store.List(_prefix))
        {
            if (!listed.Contains(name) && !SetAttempt.IsOne(name[_prefix.Length..]))
                _store.Delete(name);
        }
    }

    /// <summary>
    /// Expire takes the intent of what it believes dead, and then looks for the manifest: one of both gives way (H35).
    /// </summary>
    private void RequireIntentsOrVoid()
    {
        try
        {
            _intents.Require();
            RequireBase();
            _attempt.RequireLast();
        }
        catch
        {
            _store.Delete(_prefix + BackupSet.ManifestName);
            throw;
        }
    }

    /// <summary>
    /// The backup ends without a set: nobody goes on with it (A2), the manifest goes first (S4), then all of it, the
    /// intents last. What somebody else goes on with stays.
    /// </summary>
    public void Abandon()
    {
        if (_intents.IsIn(_store))
        {
            if (!_attempt.TryEnd(_start.BeganAt))
                return;
            _store.Delete(_prefix + BackupSet.ManifestName);
            foreach (string name in _store.List(_prefix).Where(name => !IsKeptToTheEnd(name[_prefix.Length..])))
                _store.Delete(name);
            _attempt.RemoveEnd();
        }
        _intents.Remove();
    }

    private bool IsKeptToTheEnd(string name) => name == BackupSet.IntentName || _attempt.IsEnd(name);

    private SetAttempt AttemptIn(IArchiveStore store) =>
        new(store, _start.BackupId, _start.Continues is { } cutOff ? cutOff.Attempts + 1 : 1);

    private void PutObject(string name, byte[] bytes)
    {
        _store.Put(_prefix + name, bytes);
        _contents.NoteObject(name, bytes);
    }
}
