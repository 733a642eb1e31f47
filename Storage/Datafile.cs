namespace Pitr.Storage;

/// <summary>
/// START HERE. One datafile: an ordered tree of pages which on disk is, at every instant, exactly the state as of one
/// LSN, and above it, in memory, the committed changes that are not in it yet.
/// </summary>
/// <remarks>
/// LAYOUT  (page n begins at n × 8192; see <c>docs/formats/datafile.md</c>)
/// <code>
///   page 0           page 1           page 2 … PageCount-1
///  +----------------+----------------+------------------------------------------------+
///  | meta, even gen | meta, odd gen  | branch · leaf · overflow · free chain · free, mixed |
///  +----------------+----------------+------------------------------------------------+
/// </code>
/// STATE  in memory: the active write buffer, at most two sealed ones, what was spilled into a scratch file while the
/// file was held still, the published read view over them and the tree, the free pages (read by the first flush), at most one flush in the making.
///
/// INVARIANTS
///   D1  No page that the current root, a pinned view or a running epoch reaches is written.   (I4; FreePages,
///       FlushSink)
///   D2  CheckpointLsn is below the LSN of every change in a write buffer or spill.            (asserted in Apply,
///       PrepareFlush)
///   D3  While <see cref="IsStill"/>, neither a byte nor the length of the file changes.       (asserted before each
///       write)
///   D4  The file is written under its lock, and the lock is released after the last worker has ended (H13).
///
/// DURABILITY  a flush: see <see cref="FlushJob"/>. Opening writes the believed meta page again and syncs it before any
/// page is reused (H10). Any other change of a meta page is a generation of its own (H22).
///
/// THREADS  one owner (the DatafileActor) calls Apply … DropFlush and Dispose; a worker runs a job's WritePages and
/// WriteMeta; <see cref="View"/> and the properties: any thread.
/// FAILURE  after a failed write or sync <see cref="HasFailed"/>: nothing is written any more, since Linux may have
/// dropped the dirty pages and would report success the second time. Apply and reads go on (Offline). No room on the
/// disk, met before the meta page, leaves the old root: drop the flush and try later.
/// </remarks>
internal sealed partial class Datafile : IDisposable
{
    private const int SealedMax = 2;

    private readonly Lock _lock = new();
    private readonly ManualResetEventSlim _idle = new(initialState: true);
    private readonly ManualResetEventSlim _closed = new(initialState: false);
    private readonly CancellationTokenSource _closing = new();
    private readonly DatafileViews _views;
    private readonly List<WriteBuffer> _sealed = [];
    private readonly List<DroppedTable> _dropped = [];
    private volatile OpenIncarnation _incarnation;
    private WriteBuffer _active;
    private volatile MetaPage _meta;
    private readonly List<IKeptForReaders> _kept = []; // spills, the present one among them, and former incarnations
    private FlushJob? _job;
    private SpillJob? _spillJob;
    private Spilled? _spilled;
    private bool _cannotSpill;
    private int _closingKept;
    private Action<DamageException>? _whenDamaged;
    private Lsn _sealedUpTo;
    private Lsn _cleanUpTo;
    private bool _keepVersions;
    private int _workers;
    private volatile bool _hasFailed;
    private volatile bool _isStill;
    private bool _disposed;

    private Datafile(
        DatafileEnvironment environment, string name, IFileHandle handle, IDisposable fileLock, MetaPage meta,
        bool keepVersions)
    {
        Environment = environment;
        Name = name;
        _incarnation = new OpenIncarnation(
            environment, handle, fileLock, environment.Cache.OpenFile(handle, name), meta.PageCount);
        _meta = meta;
        _keepVersions = keepVersions;
        _sealedUpTo = _cleanUpTo = meta.CheckpointLsn;
        _active = new WriteBuffer(environment.Arenas, keepVersions);
        _views = new DatafileViews(environment.Epochs, ViewOf(meta));
    }

    /// <summary>The datafile's name in its database.</summary>
    public string Name { get; }

    /// <summary>Where the file was opened.</summary>
    public string Path => Handle.Path;

    /// <summary>What the file on disk is.</summary>
    public MetaPage Meta => _meta;

    /// <summary>Every change at or below it is in the file, none above.</summary>
    public Lsn CheckpointLsn => _meta.CheckpointLsn;

    public ulong Generation => _meta.Generation;

    public Incarnation Incarnation => _meta.Incarnation;

    /// <summary>What readers take, inside an epoch; a snapshot pins it.</summary>
    public ReadView View => _views.Current;

    /// <summary>
    /// Every change at or below it is in the file: above the checkpoint LSN if nothing was changed for a while, also
    /// while what was changed after that waits for its flush. Owner only.
    /// </summary>
    public Lsn CleanUpTo => Lsn.Max(
        _sealed.Count == 0 && _spilled is null && _job is null && !_dropped.Exists(IsDue) ? _sealedUpTo : CheckpointLsn,
        _cleanUpTo);

    /// <summary>True if there is something that the file lacks, sealed or not. Owner only.</summary>
    public bool HasChanges => _active.Keys > 0 || _sealed.Count > 0 || _spilled is not null || _dropped.Count > 0;

    /// <summary>True if the next flush has something to write. Owner only.</summary>
    public bool HasSealed => _sealed.Count > 0 || _spilled is not null || _dropped.Exists(IsDue);

    /// <summary>True if a flush now would leave changes behind that no seal has reached. Owner only.</summary>
    public bool NeedsSeal =>
        _sealed.Count == 0 && !_dropped.Exists(IsDue) && (_active.Keys > 0 || _dropped.Count > 0);

    /// <summary>
    /// True if what is buffered can be spilled: the file is held still, and no spill has failed since its last flush.
    /// Owner only.
    /// </summary>
    public bool CanSpill => _isStill && !_cannotSpill && _spillJob is null && _job is null && CanSeal;

    /// <summary>Bytes of the scratch file beside the file; 0 if there is none. Owner only.</summary>
    public long SpilledBytes => (long)(_spilled?.File.Free.PageCount ?? 0) * PageLayout.PageBytes;

    /// <summary>The LSN of the last seal. Owner only.</summary>
    public Lsn SealedUpTo => _sealedUpTo;

    /// <summary>
    /// False while there are two sealed buffers: the owner waits with a seal until a flush is complete. Owner only.
    /// </summary>
    public bool CanSeal => _sealed.Count < SealedMax || _active.Keys == 0;

    /// <summary>Changes that are not in the file, in bytes of memory.</summary>
    public long BufferedBytes
    {
        get
        {
            long bytes = 0;
            foreach (WriteBuffer buffer in View.Buffers)
                bytes += buffer.Keys == 0 ? 0 : buffer.Bytes;
            return bytes;
        }
    }

    public long LengthBytes => (long)_meta.PageCount * PageLayout.PageBytes;

    /// <summary>Pages that the root reaches.</summary>
    public long LiveBytes =>
        ((long)_meta.PageCount - MetaPage.Slots - _meta.FreeChainPages - (long)_meta.FreePages) * PageLayout.PageBytes;

    /// <summary>Pages that a flush may take.</summary>
    public long FreeBytes => (long)_meta.FreePages * PageLayout.PageBytes - WaitingBytes;

    /// <summary>What waits until snapshots and readers have ended: free pages, and files of former incarnations.</summary>
    public long PinnedBytes => WaitingBytes + FormerBytes;

    /// <summary>Read views that somebody may hold, the present one included.</summary>
    public int PinnedViews => _views.Count;

    /// <summary>Memory of write buffers whose changes are in the file, kept for pinned views alone.</summary>
    public long BytesKeptForViews => _views.BytesKept;

    /// <summary>True once a write or sync failed: nothing is written any more.</summary>
    public bool HasFailed => _hasFailed;

    /// <summary>True while a worker is inside a job.</summary>
    public bool IsWorking => Volatile.Read(ref _workers) > 0;

    /// <summary>
    /// True while the file is fenced. To be set when no flush is in the making. Owner only; any thread may look.
    /// </summary>
    public bool IsStill
    {
        get => _isStill;
        set
        {
            Invariant.Require(_job is null, "D3", "the file is held still while a flush is in the making.");
            _isStill = value;
        }
    }

    /// <summary>
    /// False while the file is replayed and nobody reads it: its buffers keep one version a key. Takes effect with the
    /// next seal, or at once if nothing is buffered. Owner only.
    /// </summary>
    public bool KeepVersions
    {
        get => _keepVersions;
        set
        {
            if (_keepVersions == value)
                return;
            _keepVersions = value;
            if (_active.Keys == 0)
                BeginBuffer();
        }
    }

    /// <summary>
    /// Told of each damaged page that a read or a flush meets, on its thread, before it gets the exception.
    /// </summary>
    public Action<DamageException>? WhenDamaged
    {
        set => _whenDamaged = Pages.WhenDamaged = value;
    }

    private long WaitingBytes => _incarnation.Free.WaitingPages * PageLayout.PageBytes;

    internal DatafileEnvironment Environment { get; }

    internal IFileHandle Handle => _incarnation.Handle;

    internal PagedFile Pages => _incarnation.Pages;

    internal CancellationToken Closing => _closing.Token;

    internal FreePages FreePages => _incarnation.Free;

    // ---- opening ---------------------------------------------------------------------------------

    /// <summary>
    /// Makes a new, empty file (O_EXCL) and opens it. When it returns, file and name are durable.
    /// </summary>
    /// <exception cref="StorageFailedException">There is something at the path (EEXIST), or the disk said
    /// no.</exception>
    public static Datafile Create(
        DatafileEnvironment environment, string path, string name, SystemIdentifier systemId, FileId fileId,
        Incarnation incarnation, Lineage lineage, Lsn checkpointLsn, DatafileKind kind = DatafileKind.Datafile,
        Guid restoreStamp = default, bool keepVersions = true)
    {
        var first = new MetaPage
        {
            SystemId = systemId,
            FileId = fileId,
            Kind = kind,
            Incarnation = incarnation,
            Generation = 0,
            CheckpointLsn = checkpointLsn,
            Lineage = lineage,
            Root = TreeRoot.Empty(0),
            RestoreStamp = restoreStamp,
        };
        MetaPage second = first with { Generation = 1, Root = TreeRoot.Empty(1) };
        IFileHandle handle = environment.Files.Open(path, FileOpen.CreateNew);
        IDisposable? fileLock = null;
        try
        {
            fileLock = DatafileOpening.Lock(environment.Files, path);
            WriteInPlace(handle, first);
            WriteInPlace(handle, second);
            handle.SyncData();
            environment.Files.SyncFolder(System.IO.Path.GetDirectoryName(path)!);
            return new Datafile(environment, name, handle, fileLock, second, keepVersions);
        }
        catch
        {
            handle.Dispose();
            fileLock?.Dispose();
            RemoveIfPossible(environment.Files, path);
            throw;
        }
    }

    /// <summary>
    /// Opens an existing file: locks it, decides which meta page to believe, requires that it is the expected file, and
    /// makes that meta page durable (H10). Takes the same time at any size.
    /// </summary>
    /// <exception cref="RefusedException">Locked; of another database, file, kind or format; or it needs
    /// recovery.</exception>
    /// <exception cref="DamageException">Missing, too short, or no meta page is valid.</exception>
    public static Datafile Open(
        DatafileEnvironment environment, string path, string name, DatafileExpectation expected,
        bool keepVersions = true)
    {
        IDisposable fileLock = DatafileOpening.Lock(environment.Files, path);
        IFileHandle? handle = null;
        try
        {
            handle = DatafileOpening.OpenHandle(environment.Files, path, FileOpen.ReadWrite);
            MetaPage meta = DatafileOpening.ChooseMetaPage(handle, expected);
            DatafileOpening.RequireExpected(handle, meta, expected);
            WriteInPlace(handle, meta);
            handle.SyncData();
            return new Datafile(environment, name, handle, fileLock, meta, keepVersions);
        }
        catch
        {
            handle?.Dispose();
            fileLock.Dispose();
            throw;
        }
    }

    /// <summary>The meta page that opening would believe, without a lock and without writing anything.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="path">The file.</param>
    /// <param name="expected">What it has to be, as for <see cref="Open"/>; null: any datafile.</param>
    /// <exception cref="RefusedException">It is not what was expected.</exception>
    /// <exception cref="DamageException">Missing, or no meta page is valid.</exception>
    public static MetaPage Inspect(IFileSystem files, string path, DatafileExpectation? expected = null)
    {
        using IFileHandle handle = DatafileOpening.OpenHandle(files, path, FileOpen.Read);
        MetaPage meta = DatafileOpening.ChooseMetaPage(handle, expected);
        if (expected is not null)
            DatafileOpening.RequireExpected(handle, meta, expected);
        return meta;
    }

    /// <summary>
    /// Makes name and meta page that opening would believe durable, and changes nothing (H10): they may be in the page cache
    /// alone. Whoever notes elsewhere what the file is does this first.
    /// </summary>
    /// <exception cref="PitrException">As <see cref="Open"/>.</exception>
    public static void MakeDurable(IFileSystem files, string path)
    {
        using IDisposable fileLock = DatafileOpening.Lock(files, path);
        using IFileHandle handle = DatafileOpening.OpenHandle(files, path, FileOpen.ReadWrite);
        WriteInPlace(handle, DatafileOpening.ChooseMetaPage(handle, expected: null));
        handle.SyncData();
        foreach (string name in (string[])[path, LinkedName.Resolve(files, path)])
            files.SyncFolder(System.IO.Path.GetDirectoryName(name)!);
    }

    /// <summary>
    /// Best effort: it was made by this call and holds nothing; the first error is the one to report.
    /// </summary>
    private static void RemoveIfPossible(IFileSystem files, string path)
    {
        try
        {
            files.Delete(path);
        }
        catch (StorageFailedException)
        {
            // said above
        }
    }

    // ---- the owner's calls -----------------------------------------------------------------------

    /// <summary>Takes one committed change into the active buffer.</summary>
    public void Apply(OperationKind kind, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Lsn lsn)
    {
        Invariant.Require(lsn > _sealedUpTo, "D2", "a change is at or below the last seal.");
        if (kind == OperationKind.Put)
            _active.Put(key, value, lsn);
        else
            _active.Delete(key, lsn);
    }

    /// <summary>
    /// Hides a table from reads at or above the LSN; the next flush that seals at or above it cuts its keys out.
    /// </summary>
    public void DropTable(TableId table, Lsn lsn)
    {
        if (_dropped.Exists(dropped => dropped.Table == table))
            return;
        _dropped.Add(new DroppedTable(table, lsn));
        _views.Publish(ViewOf(_meta));
    }

    /// <summary>
    /// Takes over from the control file that no change at or below the LSN is missing: the meta page of a file that lay
    /// idle says less (H22). Before anything is applied.
    /// </summary>
    public void NoteCleanUpTo(Lsn lsn)
    {
        Invariant.Require(!HasChanges, "D2", "a file is said to be clean that has changes already.");
        _cleanUpTo = Lsn.Max(_cleanUpTo, lsn);
    }

    /// <summary>
    /// Ends the active buffer: what the next flush writes is exactly the changes at or below <paramref name="at"/>.
    /// </summary>
    public void Seal(Lsn at)
    {
        Invariant.Require(CanSeal, "D2", "a third buffer is sealed.");
        Invariant.Require(at >= _sealedUpTo, "D2", "seals go backwards.");
        _cleanUpTo = CleanUpTo; // what is sealed now lies above it
        _sealedUpTo = at;
        if (_active.Keys == 0)
            return;
        _active.Seal(at);
        _sealed.Insert(0, _active);
        _active = new WriteBuffer(Environment.Arenas, _keepVersions);
        _views.Publish(ViewOf(_meta));
    }

    /// <summary>
    /// Begins a flush of everything that is sealed. Null if there is nothing: then the file is <see cref="CleanUpTo"/>
    /// the last seal. The job is given to a worker, and then to <see cref="CompleteFlush"/> or <see cref="DropFlush"/>.
    /// </summary>
    /// <param name="lineage">The lineage of the last seal's LSN.</param>
    /// <exception cref="RefusedException">The file has failed.</exception>
    public FlushJob? PrepareFlush(Lineage lineage)
    {
        List<DroppedTable> due = _dropped.FindAll(IsDue);
        if (_sealed.Count == 0 && _spilled is null && due.Count == 0)
            return null;
        ReadView view = View;
        BeginJob();
        Invariant.Require(view.TryPin(), "D1", "the published view cannot be pinned.");
        _job = new FlushJob(this, NextMeta(_sealedUpTo, lineage))
        {
            View = view,
            Buffers = [.. _sealed],
            Spilled = _spilled,
            Dropped = due,
        };
        return _job;
    }

    /// <summary>
    /// Begins a change of the meta page alone (H22): generation g+1, the other slot, no pages.
    /// </summary>
    /// <param name="lineage">The lineage of the checkpoint LSN.</param>
    /// <param name="checkpointLsn">A new checkpoint LSN, at most <see cref="CleanUpTo"/>; null leaves it.</param>
    /// <param name="incarnation">A new incarnation; null leaves it.</param>
    /// <param name="restoreStamp">A new restore stamp, empty for none; null leaves it.</param>
    public FlushJob PrepareMetaFlush(
        Lineage lineage, Lsn? checkpointLsn = null, Incarnation? incarnation = null, Guid? restoreStamp = null)
    {
        if (checkpointLsn is { } lsn)
            Invariant.Require(
                lsn >= CheckpointLsn && lsn <= CleanUpTo, "D2", "a meta page speaks of changes that the file lacks.");
        BeginJob();
        MetaPage next = NextMeta(checkpointLsn ?? CheckpointLsn, lineage);
        _job = new FlushJob(this, next with
        {
            Incarnation = incarnation ?? next.Incarnation,
            RestoreStamp = restoreStamp ?? next.RestoreStamp,
        });
        return _job;
    }

    /// <summary>
    /// Publishes the new root. To be called once the job is durable and the visible LSN is at or above its checkpoint
    /// LSN.
    /// </summary>
    public void CompleteFlush(FlushJob job)
    {
        RequireOwn(job);
        Invariant.Require(job.IsDurable, "J1", "a flush is completed before it is durable.");
        _job = null;
        _meta = job.Meta;
        if (job.View is not { } view)
            return;
        foreach (WriteBuffer buffer in job.Buffers)
        {
            _sealed.Remove(buffer);
            _views.WaitToDispose(buffer);
        }
        foreach (DroppedTable dropped in job.Dropped)
            _dropped.Remove(dropped);
        if (job.Spilled is { } spilled)
        {
            _spilled = null;
            _views.WaitToClose(spilled.File, () => CloseSoon(spilled.File));
        }
        _cannotSpill = false;
        _views.WaitToReuse(_incarnation, job.Generation, FreePages.Complete(job.Chain));
        _views.Publish(ViewOf(job.Meta));
        view.Unpin();
        Environment.Epochs.CollectSoon();
    }

    /// <summary>
    /// Gives a flush up before its meta page: the old root and the buffers stand. The worker has ended (H13).
    /// </summary>
    public void DropFlush(FlushJob job)
    {
        RequireOwn(job);
        Invariant.Require(!job.IsMetaSubmitted, "J1", "a flush is dropped after its meta page was submitted (H9).");
        _job = null;
        if (job.View is not { } view)
            return;
        Pages.Forget(FreePages.Drop());
        view.Unpin();
    }

    /// <summary>
    /// Begins to spill everything that is sealed into a scratch file beside the file, which is held still. Null if there
    /// is nothing. The job is given to a worker, and then to <see cref="CompleteSpill"/> or <see cref="DropSpill"/>.
    /// </summary>
    public SpillJob? PrepareSpill()
    {
        Invariant.Require(_isStill && _spillJob is null && _job is null, "D3", "a spill begins beside another job.");
        if (_sealed.Count == 0)
            return null;
        ReadView view = View;
        Invariant.Require(view.TryPin(), "D1", "the published view cannot be pinned.");
        _spillJob = new SpillJob(this, _spilled, view, [.. _sealed], _sealed[0].SealedAt);
        return _spillJob;
    }

    /// <summary>
    /// Publishes what was spilled in the place of the buffers. To be called once the visible LSN is at or above its LSN.
    /// </summary>
    public void CompleteSpill(SpillJob job)
    {
        RequireOwn(job);
        Spilled result = job.Result ?? throw new BugException("A spill is completed before it has run.");
        _spillJob = null;
        _spilled = result;
        foreach (WriteBuffer buffer in job.Buffers)
        {
            _sealed.Remove(buffer);
            _views.WaitToDispose(buffer);
        }
        _views.WaitToReuse(result.File, result.Generation, result.File.Free.Complete(job.Chain));
        _views.Publish(ViewOf(_meta));
        job.View.Unpin();
        Environment.Epochs.CollectSoon();
    }

    /// <summary>Gives a spill up: the buffers stand, and no other one is tried before the next flush.</summary>
    public void DropSpill(SpillJob job)
    {
        RequireOwn(job);
        _spillJob = null;
        _cannotSpill = true;
        if (job.File is { } file)
        {
            file.Pages.Forget(file.Free.Drop());
            if (_spilled is null) // its first: nobody has seen it
                CloseSoon(file);
        }
        job.View.Unpin();
    }

    /// <summary>
    /// Closes the file: cancels what can be cancelled, waits for workers and readers, and then releases the lock (H13,
    /// H41). Views that are pinned go on reading their buffers; their pages give a typed error. Not inside an epoch.
    /// </summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
        }
        _closing.Cancel();
        Environment.Epochs.Threads.Wait(_idle);
        _job?.View?.Unpin();
        _spillJob?.View.Unpin();
        (_job, _spillJob) = (null, null);
        _views.End();
        foreach (IKeptForReaders file in _kept)
            file.Dispose();
        _incarnation.Dispose();
        _idle.Dispose();
        _closing.Dispose();
        _closed.Set();
    }

    /// <summary>
    /// Waits until <see cref="Dispose"/>, which was called or will be, has ended: nobody writes or reads the file here any
    /// more. Any thread, not inside an epoch.
    /// </summary>
    public void AwaitClosed() => Environment.Epochs.Threads.Wait(_closed);

    // ---- for the running job ---------------------------------------------------------------------

    internal Work BeginWork()
    {
        lock (_lock)
        {
            if (_disposed)
                throw DatafileErrors.Closed(Name);
            _workers++;
            _idle.Reset();
        }
        return new Work(this);
    }

    /// <summary>On the worker of a spill.</summary>
    internal SpillFile MakeSpillFile()
    {
        SpillFile file = SpillFile.Create(Environment, Path, Name);
        file.Pages.WhenDamaged = _whenDamaged;
        lock (_lock)
            _kept.Add(file);
        return file;
    }

    /// <summary>The free pages, read from the file by the first flush.</summary>
    internal FreePages BeginTaking()
    {
        FreePages free = FreePages;
        if (!free.IsLoaded)
            free.Load(FreeChain.Read(Handle, _meta));
        Environment.Epochs.Collect();
        free.Begin();
        return free;
    }

    /// <summary>
    /// Runs something that writes, and remembers a failure of the disk for ever, but for a lack of room.
    /// </summary>
    internal void Write(Action write)
    {
        Invariant.Require(!_isStill, "D3", "a file that is held still is written.");
        if (_hasFailed)
            throw DatafileErrors.Offline(Name);
        try
        {
            write();
        }
        catch (StorageFailedException failure) when (!failure.IsDiskFull || Environment.Writer.HasFailed(Handle))
        {
            _hasFailed = true;
            throw DatafileErrors.WriteFailed(Path, failure);
        }
    }

    internal void WriteMeta(MetaPage meta) => Write(() =>
    {
        try
        {
            byte[] page = new byte[PageLayout.PageBytes];
            meta.Write(page);
            Environment.Writer.Write(Handle, meta.Slot * (long)PageLayout.PageBytes, page);
            Environment.Writer.Sync(Handle);
        }
        catch
        {
            _hasFailed = true; // J1: also without room, and whatever else: the meta page may be on its way
            throw;
        }
    });

    internal void CutTail(MetaPage meta)
    {
        long lengthBytes = (long)meta.PageCount * PageLayout.PageBytes;
        if (Handle.LengthBytes <= lengthBytes)
            return;
        try
        {
            Handle.SetLength(lengthBytes);
        }
        catch (StorageFailedException)
        {
            // The generation is durable and the pages beyond its end are nobody's: the next flush cuts them again.
        }
    }

    private void EndWork()
    {
        lock (_lock)
        {
            if (--_workers == 0 && _closingKept == 0)
                _idle.Set();
        }
    }

    private void BeginJob()
    {
        if (_hasFailed)
            throw DatafileErrors.Offline(Name);
        Invariant.Require(
            _job is null && _spillJob is null, "J1", "a flush is prepared while another job is in the making.");
        Invariant.Require(!_isStill, "D3", "a flush of a file that is held still is prepared.");
    }

    private void RequireOwn(FlushJob job) =>
        Invariant.Require(
            ReferenceEquals(job, _job) && !IsWorking, "J1",
            "a flush ends that is not this file's, or whose worker runs (H13).");

    private void RequireOwn(SpillJob job) =>
        Invariant.Require(
            ReferenceEquals(job, _spillJob) && !IsWorking, "J1",
            "a spill ends that is not this file's, or whose worker runs (H13).");

    private MetaPage NextMeta(Lsn checkpointLsn, Lineage lineage) => _meta with
    {
        Generation = _meta.Generation + 1,
        CheckpointLsn = checkpointLsn,
        Lineage = lineage,
    };

    private ReadView ViewOf(MetaPage meta) =>
        new(Pages, meta.Root, meta.CheckpointLsn, _active, _sealed.ToArray(), _dropped.ToArray(), _spilled);

    private void BeginBuffer()
    {
        _views.WaitToDispose(_active);
        _active = new WriteBuffer(Environment.Arenas, _keepVersions);
        _views.Publish(ViewOf(_meta));
    }

    private bool IsDue(DroppedTable dropped) => dropped.DroppedAt <= _sealedUpTo;

    private static void WriteInPlace(IFileHandle handle, MetaPage meta)
    {
        byte[] page = new byte[PageLayout.PageBytes];
        meta.Write(page);
        handle.Write(meta.Slot * (long)PageLayout.PageBytes, page);
    }

    /// <summary>A worker inside a job; closing waits for it.</summary>
    internal readonly ref struct Work(Datafile datafile)
    {
        public void Dispose() => datafile.EndWork();
    }
}
