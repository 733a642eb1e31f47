using System.Security.Cryptography;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// The bytes of <see cref="ChangedPages"/> of a datafile that is held still, made while the whole of it is read forward once.
/// </summary>
/// <remarks>
/// All of the file is read, though only what changed is given on: so each page that counts is proven, and the digest of
/// the whole file, with which a restore compares what it has put together, is that of what was there.
/// THREADS  one. FAILURE  DamageException for any page that counts and is not what was written.
/// </remarks>
internal sealed class ChangedPagesStream : ForwardStream
{
    private const int BlockPages = 128;

    private readonly IFileHandle _handle;
    private readonly FencedFile _file;
    private readonly LabelledFile _older;
    private readonly Action<long> _pace;
    private readonly CancellationToken _cancellation;
    private readonly LivePages _live;
    private readonly IncrementalHash _objectHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly IncrementalHash _fileHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly PageOrigin[] _origins = new PageOrigin[BlockPages];
    private readonly byte[] _block = GC.AllocateUninitializedArray<byte>(BlockPages * PageLayout.PageBytes);
    private readonly byte[] _out = GC.AllocateUninitializedArray<byte>(
        BlockPages * (PageLayout.PageBytes + ChangedPages.RunBytes));
    private long _given;
    private int _at; // in _out
    private int _filled;
    private uint _next; // page
    private bool _isBegun;
    private bool _isEnded;

    /// <param name="handle">The file.</param>
    /// <param name="file">As its fence's answer describes it.</param>
    /// <param name="older">The base's copy (G2).</param>
    /// <param name="pace">Called with the bytes just read.</param>
    /// <param name="cancellation">Ends the reading.</param>
    /// <exception cref="DamageException">It is not the file that was fenced, or not whole.</exception>
    public ChangedPagesStream(
        IFileHandle handle, FencedFile file, LabelledFile older, Action<long> pace, CancellationToken cancellation)
    {
        (_handle, _file, _older, _pace, _cancellation) = (handle, file, older, pace, cancellation);
        _live = LivePages.Of(handle);
        PageCopyStream.RequireFenced(file, _live.Meta);
        Invariant.Require(
            older.Incarnation == file.Incarnation && older.Generation <= file.Generation, "G2",
            $"the copy of '{file.Name}' in the base is of another life of it.");
    }

    /// <summary>At the most: what is left out is not known before it was looked at.</summary>
    public override long Length =>
        ChangedPages.HeaderBytes + (_file.LengthBytes / PageLayout.PageBytes * (PageLayout.PageBytes + ChangedPages.RunBytes));

    protected override long BytesRead => _given;

    /// <summary>What was made, once it was read to its end.</summary>
    public CopiedObject Made(string objectName)
    {
        Invariant.Require(_isEnded, "S3", $"'{objectName}' was not read to its end.");
        return new CopiedObject(
            objectName, _given, Convert.ToHexString(_objectHash.GetHashAndReset()), _older.Generation,
            Convert.ToHexString(_fileHash.GetHashAndReset()));
    }

    public override int Read(Span<byte> buffer)
    {
        if (_at == _filled && !Fill())
            return 0;
        int part = Math.Min(buffer.Length, _filled - _at);
        _out.AsSpan(_at, part).CopyTo(buffer);
        _at += part;
        _given += part;
        return part;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _objectHash.Dispose();
            _fileHash.Dispose();
        }
        base.Dispose(disposing);
    }

    private bool Fill()
    {
        _cancellation.ThrowIfCancellationRequested();
        (_at, _filled) = (0, 0);
        if (!_isBegun)
        {
            _isBegun = true;
            ChangedPages.WriteHeader(_out, LabelledFile.Of(_file, new CopiedObject("", 0, "", _older.Generation, "")));
            _filled = ChangedPages.HeaderBytes;
        }
        else if (_next < _live.Meta.PageCount)
        {
            ReadBlock();
        }
        else if (!_isEnded)
        {
            _live.RequireAllReached();
            _isEnded = true;
        }

        _objectHash.AppendData(_out, 0, _filled);
        return _filled > 0;
    }

    private void ReadBlock()
    {
        int pages = (int)Math.Min(BlockPages, _live.Meta.PageCount - _next);
        Span<byte> block = _block.AsSpan(0, pages * PageLayout.PageBytes);
        long from = _next * (long)PageLayout.PageBytes;
        int read = _handle.Read(from, block);
        if (read < block.Length)
            throw RecoveryErrors.CopyTooShort(_file.Path, _file.Name, from + read, _file.LengthBytes);
        for (int i = 0; i < pages; i++)
            _origins[i] = OriginOf(block.Slice(i * PageLayout.PageBytes, PageLayout.PageBytes), _next + (uint)i);
        _fileHash.AppendData(block);
        for (int begin = 0, end; begin < pages; begin = end)
        {
            for (end = begin + 1; end < pages && _origins[end] == _origins[begin];)
                end++;
            PutRun(block[(begin * PageLayout.PageBytes)..(end * PageLayout.PageBytes)], _next + (uint)begin, _origins[begin]);
        }

        _next += (uint)pages;
        _pace(block.Length);
    }

    /// <summary>G1. What nothing reaches becomes zeroes, in the digest too.</summary>
    private PageOrigin OriginOf(Span<byte> page, uint number)
    {
        if (!_live.Contains(number))
        {
            page.Clear();
            return PageOrigin.Nowhere;
        }

        _live.Require(page, number);
        return number >= MetaPage.Slots && PageLayout.Generation(page) <= _older.Generation
            ? PageOrigin.Base
            : PageOrigin.Here;
    }

    private void PutRun(ReadOnlySpan<byte> pages, uint first, PageOrigin origin)
    {
        var run = new OriginRun(first, (uint)(pages.Length / PageLayout.PageBytes), origin, 0);
        ChangedPages.WriteRun(_out.AsSpan(_filled), run);
        _filled += ChangedPages.RunBytes;
        if (origin != PageOrigin.Here)
            return;
        pages.CopyTo(_out.AsSpan(_filled));
        _filled += pages.Length;
    }
}
