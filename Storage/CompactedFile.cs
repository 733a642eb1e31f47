namespace Pitr.Storage;

/// <summary>
/// A datafile made anew out of the rows of one that is held still: full pages one after the other, nothing free. Made
/// under a kind of its own, filled, proven, and only then called a datafile.
/// </summary>
/// <remarks>
/// DURABILITY  in this order
/// <code>
///   Create   O_EXCL; both meta pages, of the kind unfinished copy; SyncData; SyncFolder
///   Fill     the tree, paced; SyncData; its meta page, still of that kind; SyncData
///   Prove    nothing is written: every page is read again, and every row is that of the origin
///   Stamp    the same meta page, of the kind datafile; SyncData
/// </code>
/// INVARIANTS
///   CP1  It has another incarnation than its origin, generation g+1, and the origin's checkpoint LSN (H42).
///   CP2  Until Stamp no meta page of it is of the kind datafile, so that it never opens as one (H17). From Create on
///        one of them says whose it is, so that what a crash leaves of it is known to be ours.
///   CP3  Stamp comes after Prove.
///   CP4  Its lock is held from Create on, and handed on with <see cref="Open"/>.
///
/// The other meta page stays an unfinished copy's, of generation g; the next flush writes over it.
/// THREADS  one at a time. FAILURE  as the disk's, and damage of the origin; then it is void, and who made it removes it.
/// </remarks>
internal sealed class CompactedFile : IDisposable
{
    private const ulong RowsBetween = 1024;

    private readonly DatafileEnvironment _environment;
    private readonly string _name;
    private readonly string _path;
    private readonly MetaPage _origin;
    private IFileHandle? _handle;
    private PagedFile? _pages;
    private IDisposable? _lock;
    private UInt128 _digest;
    private bool _isProven;

    /// <param name="environment">The datafile's.</param>
    /// <param name="name">The datafile's, for messages.</param>
    /// <param name="origin">What the datafile is: the meta page that its fence named.</param>
    /// <param name="incarnation">Of the new file.</param>
    /// <param name="path">Of the new file.</param>
    public CompactedFile(
        DatafileEnvironment environment, string name, MetaPage origin, Incarnation incarnation, string path)
    {
        (_environment, _name, _origin, _path) = (environment, name, origin, path);
        Meta = origin with
        {
            Kind = DatafileKind.UnfinishedCopy,
            Incarnation = incarnation,
            Generation = origin.Generation + 1,
            Root = TreeRoot.Empty(origin.Generation + 1),
            FreeChain = 0,
            FreeChainGeneration = 0,
            FreeChainPages = 0,
            FreePages = 0,
            PageCount = MetaPage.Slots,
        };
    }

    /// <summary>The meta page to be: complete after <see cref="Fill"/>, a datafile's after <see cref="Stamp"/>.</summary>
    public MetaPage Meta { get; private set; }

    /// <summary>Its length; known after <see cref="Fill"/>.</summary>
    public long LengthBytes => (long)Meta.PageCount * PageLayout.PageBytes;

    /// <summary>True once there is a file that this object has made.</summary>
    public bool IsMade => _handle is not null;

    /// <summary>Makes the file; it and its name are durable when this returns.</summary>
    /// <exception cref="StorageFailedException">There is something at the path (EEXIST), or the disk said
    /// no.</exception>
    public void Create()
    {
        _handle = _environment.Files.Open(_path, FileOpen.CreateNew);
        _pages = _environment.Cache.OpenFile(_handle, _name);
        _lock = _environment.Files.TryLock(_path) ?? throw DatafileErrors.Locked(_path);
        WriteMeta(Meta);
        WriteMeta(Meta with { Generation = _origin.Generation, Root = TreeRoot.Empty(_origin.Generation) });
        _environment.Writer.Sync(_handle);
        _environment.Files.SyncFolder(DurableReplace.FolderOf(_path));
    }

    /// <summary>Writes the origin's rows; durable when it returns.</summary>
    /// <param name="originPath">The origin, which is still.</param>
    /// <param name="wait">Called with the bytes of each write before it; waits as long as a limit asks.</param>
    /// <param name="written">Called now and then with the bytes written so far.</param>
    /// <param name="cancellation">Ends it before a write.</param>
    /// <exception cref="DamageException">A page of the origin is not what was written.</exception>
    public void Fill(string originPath, Action<int> wait, Action<long> written, CancellationToken cancellation)
    {
        using var source = new LoneReader(_environment, originPath, _name);
        var free = new FreePages(MetaPage.Slots);
        free.Load(new FreeChainContent([], []));
        free.Begin();
        TreeRoot root;
        using (var epoch = new FlushEpoch(_environment.Epochs))
        using (var rows = new TreeRows(source, _origin.Root))
        using (var sink = new FlushSink(
            free, _pages!, _handle!, _environment.Writer, Meta.Generation, epoch, cancellation)
        {
            BeforeWrite = bytes =>
            {
                wait(bytes);
                cancellation.ThrowIfCancellationRequested();
            },
        })
        {
            root = TreeMerge.Run(
                _pages!, Meta.Root, new Watched(rows, sink, written), [], sink, cancellation, epoch.Renew);
            List<uint> chain = sink.Finish();
            Invariant.Require(
                chain.Count == 0 && root.Keys == _origin.Root.Keys && rows.Count == root.Keys, "CP1",
                "a compacted file has free pages, or another number of rows than its origin.");
            _digest = rows.Digest;
            written(sink.WrittenPages * PageLayout.PageBytes);
        }

        _environment.Writer.Sync(_handle!);
        Meta = Meta with { Root = root, PageCount = free.PageCount };
        WriteMeta(Meta);
        _environment.Writer.Sync(_handle!);
    }

    /// <summary>Reads the file again, all of it, from the disk.</summary>
    /// <param name="verified">Called now and then with the bytes read so far.</param>
    /// <param name="cancellation">Ends it between two rows.</param>
    /// <exception cref="DamageException">PageChecksum and others: it is not what was written.</exception>
    public void Prove(Action<long> verified, CancellationToken cancellation)
    {
        using var again = new LoneReader(_environment, _path, _name);
        ReadRows(again, verified, cancellation);
        DatafileReport report = DatafileCheck.Run(_environment.Epochs, again.Handle, again, cancellation);
        if (!report.IsSound || report.Meta != Meta)
            throw DatafileErrors.CompactedDiffers(
                _path, report.Problems.Count > 0 ? report.Problems[0] : "Its meta page is another one.");
        _isProven = true;
    }

    /// <summary>From here on it passes for the datafile (CP3).</summary>
    public void Stamp()
    {
        Invariant.Require(_isProven, "CP3", "a compacted file that was not read again is called a datafile.");
        Meta = Meta with { Kind = DatafileKind.Datafile };
        WriteMeta(Meta);
        _environment.Writer.Sync(_handle!);
    }

    /// <summary>
    /// The file for whoever goes on in it, opened anew by the path that it has now; what was written to it is in the
    /// cache.
    /// </summary>
    public OpenIncarnation Open(string path)
    {
        IFileHandle handle = _environment.Files.Open(path, FileOpen.ReadWrite);
        var open = new OpenIncarnation(_environment, handle, _lock!, _pages!, Meta.PageCount);
        _pages!.ReadFrom(handle);
        (_lock, _pages) = (null, null);
        return open;
    }

    /// <summary>Closes the file, and releases the lock unless it was handed on. Nobody has read it.</summary>
    public void Dispose()
    {
        _pages?.CloseUnread();
        _pages = null;
        if (_handle is { } handle)
        {
            _environment.Writer.Forget(handle);
            handle.Dispose();
        }

        _lock?.Dispose();
        _lock = null;
    }

    private void ReadRows(LoneReader pages, Action<long> verified, CancellationToken cancellation)
    {
        using var epoch = new FlushEpoch(_environment.Epochs);
        using var rows = new TreeRows(pages, Meta.Root);
        while (rows.MoveNext())
        {
            if (rows.Count % RowsBetween != 0)
                continue;
            cancellation.ThrowIfCancellationRequested();
            epoch.Renew();
            verified((long)(LengthBytes * (rows.Count / (double)Meta.Root.Keys)));
        }

        if (rows.Digest != _digest)
            throw DatafileErrors.CompactedDiffers(_path, "Its rows are not those of the datafile.");
        verified(LengthBytes);
    }

    private void WriteMeta(MetaPage meta)
    {
        byte[] page = new byte[PageLayout.PageBytes];
        meta.Write(page);
        _environment.Writer.Write(_handle!, meta.Slot * (long)PageLayout.PageBytes, page);
    }

    /// <summary>Tells now and then how far the writing is.</summary>
    private sealed class Watched(TreeRows rows, FlushSink sink, Action<long> written) : IChangeStream
    {
        private long _told;

        public ReadOnlySpan<byte> Key => rows.Key;

        public bool IsDelete => false;

        public ReadOnlySpan<byte> Value => rows.Value;

        public bool MoveNext()
        {
            if (sink.WrittenPages != _told)
            {
                _told = sink.WrittenPages;
                written(_told * PageLayout.PageBytes);
            }

            return rows.MoveNext();
        }
    }
}
