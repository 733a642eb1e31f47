using System.Buffers.Binary;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// The copy that a move makes of a still datafile: made under a kind of its own, filled, proven, and only then called a
/// datafile.
/// </summary>
/// <remarks>
/// DURABILITY  steps 2, 3, 4 and 6 of <see cref="MovePlan"/>, in this order
/// <code>
///   Create      O_EXCL; both meta pages, of the kind unfinished copy; SyncData; SyncFolder
///   CopyPages   every page from 2 to the page count, paced; SyncData
///   Verify      nothing is written
///   Stamp       the meta page of the fenced generation, of the kind datafile; SyncData
/// </code>
/// INVARIANTS
///   MC1  Until Stamp no meta page of it is of the kind datafile, so that it never opens as one (H17). From Create on
///        one of them says whose it is, so that what a crash leaves of it is known to be ours.
///   MC2  Stamp comes after Verify: all of it was read again once it was durable and is, byte by byte, what its still
///        origin has, and every page that counts has its checksum and number.
///   MC3  Its lock is held from Create on, and handed on with <see cref="TakeLock"/>.
///
/// The other meta page stays an unfinished copy's, of the generation before; the next flush writes over it. A page that
/// fails its checksum in the origin too may be the rest of a flush that died: it counts only if the root reaches it.
/// THREADS  one at a time. FAILURE  as the disk's; then it is void: <see cref="Remove"/>.
/// </remarks>
internal sealed class MoveCopy : SwitchableCopy
{
    private const int BlockBytes = 1 << 20;

    private readonly IFileSystem _files;
    private readonly PacedWriter _writer;
    private readonly MovePlan _plan;
    private readonly MetaPage _meta;
    private IFileHandle? _handle;
    private IDisposable? _lock;
    private bool _isProven;

    private MoveCopy(IFileSystem files, PacedWriter writer, MovePlan plan, MetaPage meta) =>
        (_files, _writer, _plan, _meta) = (files, writer, plan, meta);

    /// <summary>What moves where.</summary>
    public MovePlan Plan => _plan;

    public override FileId FileId => _plan.FileId;

    public override string Datafile => _plan.Datafile;

    public override string To => _plan.To;

    public override bool IsSwitchedByRecord => _plan.Way == MoveWay.ByRecord;

    /// <summary>A former file that is longer may give its room back in steps.</summary>
    public long CutBytes => _writer.CutBytes;

    /// <summary>Bytes from the first page to the last.</summary>
    public long LengthBytes => (long)_meta.PageCount * PageLayout.PageBytes;

    /// <summary>The move of a file that is fenced: its meta page must be the one that the fence named.</summary>
    /// <exception cref="DamageException">It is not, or no meta page is valid.</exception>
    public static MoveCopy Of(
        IFileSystem files, PacedWriter writer, MovePlan plan, Incarnation incarnation, ulong generation, Lsn checkpoint)
    {
        MetaPage meta = Storage.Datafile.Inspect(files, plan.Origin);
        return meta.FileId == plan.FileId && meta.Incarnation == incarnation && meta.Generation == generation
            && meta.CheckpointLsn == checkpoint
            ? new MoveCopy(files, writer, plan, meta)
            : throw MoveErrors.NotAsFenced(plan.Datafile, plan.Origin);
    }

    /// <summary>Makes the file; it and its name are durable when this returns.</summary>
    /// <exception cref="RefusedException">MoveRefused: somebody was faster.</exception>
    public void Create()
    {
        if (LinkedName.Resolve(_files, _plan.Name) != _plan.Origin) // another move was faster than this plan
            throw MoveErrors.OfAnotherMove(_plan.Datafile, _plan.To);
        try
        {
            _handle = _files.Open(_plan.Copy, FileOpen.CreateNew);
        }
        catch (StorageFailedException taken) when (taken.Errno == Errno.EEXIST)
        {
            throw MoveErrors.Taken(_plan.Datafile, _plan.Copy);
        }

        _lock = _files.TryLock(_plan.Copy) ?? throw DatafileErrors.Locked(_plan.Copy);
        WriteMeta(_meta with { Kind = DatafileKind.UnfinishedCopy });
        WriteMeta(new MetaPage
        {
            SystemId = _meta.SystemId,
            FileId = _meta.FileId,
            Kind = DatafileKind.UnfinishedCopy,
            Incarnation = _meta.Incarnation,
            Generation = _meta.Generation - 1,
            CheckpointLsn = _meta.CheckpointLsn,
            Lineage = _meta.Lineage,
            Root = TreeRoot.Empty(_meta.Generation - 1),
        });
        _writer.Sync(_handle);
        _files.SyncFolder(DurableReplace.FolderOf(_plan.Copy));
    }

    /// <summary>Copies every page but the meta pages; durable when it returns.</summary>
    /// <param name="wait">Called with the bytes of each block before it is written; waits as long as a limit asks.</param>
    /// <param name="copied">Called with the bytes of each block.</param>
    /// <param name="cancellation">Ends it before a block is written.</param>
    public void CopyPages(Action<int> wait, Action<int> copied, CancellationToken cancellation)
    {
        using (IFileHandle origin = _files.Open(_plan.Origin, FileOpen.Read))
        {
            ForEachBlock(
                (offset, length) =>
                {
                    wait(length);
                    cancellation.ThrowIfCancellationRequested();
                    origin.StartRead(offset + length, BlockBytes);
                    RequireWhole(origin, offset, length, _writer.Copy(origin, _handle!, offset, length));
                    copied(length);
                },
                cancellation);
        }

        _writer.Sync(_handle!);
    }

    /// <summary>Reads the copy and its origin, all of both, and compares them.</summary>
    /// <param name="reachable">Asked only if a page fails its checksum.</param>
    /// <param name="verified">Called with the bytes of each block.</param>
    /// <param name="cancellation">Ends it between two blocks.</param>
    /// <exception cref="DamageException">PageChecksum: the copy differs, or a page that counts is damaged.</exception>
    public void Verify(IReachablePages reachable, Action<int> verified, CancellationToken cancellation)
    {
        var suspects = new List<uint>();
        byte[] there = GC.AllocateUninitializedArray<byte>(BlockBytes);
        byte[] here = GC.AllocateUninitializedArray<byte>(BlockBytes);
        using (IFileHandle origin = _files.Open(_plan.Origin, FileOpen.Read))
        {
            ForEachBlock(
                (offset, length) =>
                {
                    Span<byte> copy = Read(_handle!, offset, here.AsSpan(0, length));
                    if (!copy.SequenceEqual(Read(origin, offset, there.AsSpan(0, length))))
                        throw MoveErrors.CopyDiffers(_plan.Datafile, _plan.Copy);
                    AddSuspects(offset, copy, suspects);
                    verified(length);
                },
                cancellation);
        }

        Predicate<uint>? counts = suspects.Count == 0 ? null : reachable.Of(_plan.Origin);
        foreach (uint page in suspects)
        {
            if (counts!(page))
                throw MoveErrors.PageDamaged(_plan.Datafile, _plan.Origin, page);
        }

        _isProven = true;
    }

    /// <summary>From here on it passes for the datafile (MC2).</summary>
    public void Stamp()
    {
        Invariant.Require(_isProven, "MC2", "a copy that was not read again is called a datafile.");
        WriteMeta(_meta);
        _writer.Sync(_handle!);
    }

    /// <inheritdoc/>
    public override WalEvent? Record(string folder) => new WalEvent.MoveDatafile(
        _plan.FileId, Catalogue.StoredPath(folder, _plan.Origin), Catalogue.StoredPath(folder, _plan.To));

    /// <inheritdoc/>
    public override SwitchOutcome Switch() => MoveSwitch.Run(_files, this);

    /// <inheritdoc/>
    public override RefusedException Undecided(string why) => MoveErrors.Undecided(_plan.Datafile, why);

    /// <summary>The lock of the copy, for whoever goes on in it.</summary>
    public IDisposable TakeLock()
    {
        IDisposable taken = _lock!;
        _lock = null;
        return taken;
    }

    /// <summary>
    /// Takes the file away again, if this object made it, and a link that never got its name; durable when it returns.
    /// </summary>
    public override void Remove()
    {
        if (_handle is null)
            return;
        if (_plan.Way == MoveWay.ByLink && _files.Stat(_plan.Aside) is { IsSymlink: true })
        {
            _files.Delete(_plan.Aside);
            _files.SyncFolder(DurableReplace.FolderOf(_plan.Aside));
        }

        _files.Delete(_plan.Copy);
        _files.SyncFolder(DurableReplace.FolderOf(_plan.Copy));
        NamelessFile.Cut(_handle, _writer, TimeSpan.Zero, CancellationToken.None); // its room may be what is wanted
    }

    /// <summary>Closes the copy's handle, and releases the lock unless it was handed on.</summary>
    public override void Dispose()
    {
        if (_handle is { } handle)
        {
            _writer.Forget(handle);
            handle.Dispose();
        }

        _lock?.Dispose();
        _lock = null;
    }

    private void WriteMeta(MetaPage meta)
    {
        byte[] page = new byte[PageLayout.PageBytes];
        meta.Write(page);
        _writer.Write(_handle!, meta.Slot * (long)PageLayout.PageBytes, page);
    }

    private void ForEachBlock(Action<long, int> take, CancellationToken cancellation)
    {
        for (long at = MetaPage.Slots * PageLayout.PageBytes; at < LengthBytes; at += BlockBytes)
        {
            cancellation.ThrowIfCancellationRequested();
            take(at, (int)Math.Min(BlockBytes, LengthBytes - at));
        }
    }

    private Span<byte> Read(IFileHandle from, long offset, Span<byte> block)
    {
        from.StartRead(offset + block.Length, BlockBytes);
        RequireWhole(from, offset, block.Length, from.Read(offset, block));
        return block;
    }

    private void RequireWhole(IFileHandle from, long offset, int want, long got)
    {
        if (got < want)
            throw DatafileErrors.TooShort(from.Path, LengthBytes, offset + got);
    }

    private static void AddSuspects(long offset, ReadOnlySpan<byte> block, List<uint> suspects)
    {
        for (int at = 0; at < block.Length; at += PageLayout.PageBytes)
        {
            ReadOnlySpan<byte> page = block.Slice(at, PageLayout.PageBytes);
            uint number = (uint)((offset + at) / PageLayout.PageBytes);
            if (!PageChecksum.Matches(page)
                || BinaryPrimitives.ReadUInt32LittleEndian(page[PageLayout.NumberAt..]) != number)
                suspects.Add(number);
        }
    }
}
