using System.Security.Cryptography;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>Tells which pages of a datafile count: those that its believed meta page reaches.</summary>
internal interface IReachablePages
{
    /// <summary>True for pages that the file's meta page reaches; asked only while the file is still.</summary>
    Predicate<uint> Of(string path);
}

/// <summary>Finds the pages that count by reading the file's tree.</summary>
internal sealed class ReachablePages(DatafileEnvironment environment, CancellationToken cancellation) : IReachablePages
{
    /// <exception cref="DamageException">The meta page or the chain of free pages is damaged.</exception>
    public Predicate<uint> Of(string path)
    {
        DatafileReport report = DatafileCheck.Run(environment, path, cancellation);
        // A page that can't be read is not among those that were reached: in a tree with problems any page may count.
        return page => page == report.Meta.Generation % MetaPage.Slots || report.Tree.Reachable.Contains(page)
            || !report.Tree.IsSound;
    }
}

/// <summary>
/// The bytes of a still datafile, read forward once; checks each page's checksum and number on the way, and hashes.
/// </summary>
/// <remarks>
/// A page that fails is only a suspect: one that no root reaches may be the rest of a flush that died. Who copies asks
/// <see cref="RequireSound"/> at the end.
/// The digest is what takes longest, so it is made beside the rest: pages are checked by the thread that has just read
/// them, while they are in its cache.
/// STATE  blocks in turn: while one is read or written, those before it may still be hashed by another thread.
/// THREADS  one; with <see cref="IThreads"/> a second one that hashes blocks, one at a time, in order.
/// </remarks>
internal sealed class PageCopyStream : Stream
{
    private const int BlockBytes = 32 * PageLayout.PageBytes; // all of them fit into a core's cache
    private const int Blocks = 4; // so that neither thread waits for the other's bad moments

    private readonly IFileHandle _handle;
    private readonly FencedFile _file;
    private readonly Action<long> _pace;
    private readonly CancellationToken _cancellation;
    private readonly IThreads? _threads;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly Block[] _blocks;
    private readonly List<uint> _suspects = [];
    private readonly Queue<Block> _toHash = []; // its own lock
    private Block _block;
    private int _turn;
    private long _read;
    private int _given;
    private MetaPage? _newest;

    public PageCopyStream(
        IFileHandle handle, FencedFile file, Action<long> pace, CancellationToken cancellation, IThreads? threads = null)
    {
        (_handle, _file, _pace, _cancellation, _threads) = (handle, file, pace, cancellation, threads);
        int blockBytes = (int)Math.Min(BlockBytes, file.LengthBytes);
        _blocks = [.. Enumerable.Range(0, threads is null ? 1 : Blocks).Select(_ => new Block(this, blockBytes))];
        _block = _blocks[0];
    }

    public override bool CanRead => true;

    /// <summary>
    /// It says so, since a tar asks only such streams for their length and position; it is never asked to.
    /// </summary>
    public override bool CanSeek => true;
    public override bool CanWrite => false;
    public override long Length => _file.LengthBytes;

    public override long Position
    {
        get => _read - _block.Filled + _given;
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        if (_given == _block.Filled && !Fill())
            return 0;
        int part = Math.Min(buffer.Length, _block.Filled - _given);
        _block.Bytes.AsSpan(_given, part).CopyTo(buffer);
        _given += part;
        return part;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <summary>Block by block, without another copy.</summary>
    public override void CopyTo(Stream destination, int bufferSize)
    {
        while (_given < _block.Filled || Fill())
        {
            destination.Write(_block.Bytes.AsSpan(_given, _block.Filled - _given));
            _given = _block.Filled;
        }
    }

    /// <summary>SHA-256 of everything read; once, at the end.</summary>
    public string Sha256()
    {
        AwaitHashed();
        return Convert.ToHexString(_hash.GetHashAndReset());
    }

    /// <summary>
    /// Requires that no page that counts has failed, and that the bytes are of the file that was fenced.
    /// </summary>
    /// <exception cref="DamageException">PageChecksum; BackupDamaged: it is another file, or of another
    /// generation.</exception>
    public void RequireSound(IReachablePages reachable)
    {
        AwaitHashed();
        RequireFenced();
        if (_suspects.Count == 0)
            return;
        Predicate<uint> counts = reachable.Of(_file.Path);
        foreach (uint number in _suspects)
        {
            if (counts(number))
                throw RecoveryErrors.PageOfCopy(_file.Path, _file.Name, number);
        }
    }

    private void RequireFenced()
    {
        if (_newest is not { } meta)
            throw RecoveryErrors.PageOfCopy(_file.Path, _file.Name, (uint)(_file.Generation % MetaPage.Slots));
        RequireFenced(_file, meta);
    }

    /// <summary>Requires that a meta page is that of the file that was fenced.</summary>
    /// <exception cref="DamageException">BackupDamaged: it is another file, or of another generation.</exception>
    public static void RequireFenced(FencedFile file, MetaPage meta)
    {
        if (meta.FileId != file.Id || meta.Incarnation != file.Incarnation || meta.Generation != file.Generation
            || meta.CheckpointLsn != file.CheckpointLsn || meta.Lineage != file.Lineage)
        {
            throw RecoveryErrors.CopyOfAnother(
                file.Path, file.Name, meta.Generation, meta.CheckpointLsn, file.Generation, file.CheckpointLsn);
        }
    }

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
            AwaitHashed(); // nobody works on what goes now
            foreach (Block block in _blocks)
                block.Hashed.Dispose();
            _hash.Dispose();
        }
        base.Dispose(disposing);
    }

    private bool Fill()
    {
        _cancellation.ThrowIfCancellationRequested();
        int want = (int)Math.Min(BlockBytes, _file.LengthBytes - _read);
        if (want == 0)
            return false;
        Block next = _blocks[_turn++ % _blocks.Length];
        Await(next);
        int read = _handle.Read(_read, next.Bytes.AsSpan(0, want));
        if (read < want)
            throw RecoveryErrors.CopyTooShort(_file.Path, _file.Name, _read + read, _file.LengthBytes);
        (next.At, next.Filled) = (_read, read);
        (_read, _block, _given) = (_read + read, next, 0);
        Check(next);
        if (_threads is null)
            _hash.AppendData(next.Bytes, 0, next.Filled);
        else
            Hash(next);
        _pace(read);
        return true;
    }

    /// <summary>Soon, by another thread, in the order of the calls.</summary>
    private void Hash(Block block)
    {
        block.Hashed.Reset();
        lock (_toHash)
        {
            _toHash.Enqueue(block);
            if (_toHash.Count > 1)
                return; // whoever hashes the one before comes to it
        }

        _threads!.Queue(block);
    }

    private void HashFirst(Block block)
    {
        _hash.AppendData(block.Bytes, 0, block.Filled);
        Block? next;
        lock (_toHash)
        {
            _toHash.Dequeue();
            _toHash.TryPeek(out next);
        }

        if (next is not null)
            _threads!.Queue(next); // not at once: others want this thread too
        block.Hashed.Set();
    }

    private void Check(Block block)
    {
        for (int at = 0; at + PageLayout.PageBytes <= block.Filled; at += PageLayout.PageBytes)
        {
            ReadOnlySpan<byte> page = block.Bytes.AsSpan(at, PageLayout.PageBytes);
            uint number = (uint)((block.At + at) / PageLayout.PageBytes);
            if (!PageChecksum.Matches(page) || PageNumber(page) != number)
                _suspects.Add(number);
            else if (number < MetaPage.Slots && MetaPage.TryRead(page, number, out _) is { } meta
                && meta.Generation >= (_newest?.Generation ?? 0))
                _newest = meta;
        }
    }

    private void AwaitHashed()
    {
        foreach (Block block in _blocks)
            Await(block);
    }

    private void Await(Block block)
    {
        if (!block.Hashed.IsSet)
            _threads!.Wait(block.Hashed);
    }

    private static uint PageNumber(ReadOnlySpan<byte> page) =>
        System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(page[PageLayout.NumberAt..]);

    /// <summary>A piece of the file, and the work of hashing it.</summary>
    private sealed class Block(PageCopyStream owner, int bytes) : IThreadPoolWorkItem
    {
        public byte[] Bytes { get; } = GC.AllocateUninitializedArray<byte>(bytes);

        /// <summary>Where it begins in the file.</summary>
        public long At { get; set; }

        public int Filled { get; set; }

        /// <summary>Set unless somebody hashes it, or is about to.</summary>
        public ManualResetEventSlim Hashed { get; } = new(initialState: true);

        public void Execute() => owner.HashFirst(this);
    }
}
