using System.Globalization;
using System.Security.Cryptography;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// A datafile of an incremental set as it was when it was copied: put together, page by page, from the set's own object
/// and those of the sets that it builds on, forward, without room of its own on a disk.
/// </summary>
/// <remarks>
/// INVARIANTS
///   G3  Each page, whichever set it comes from, has its checksum, its number and a generation that fits: at most that of
///       the file, and of the base's, if it comes from there (H38).
///   G4  At the end the digest of all of it is that of the file that was copied: no mixture passes for it.
/// Bases are not read beyond what is needed of them; their pages are proven by G3, and all by G4.
/// THREADS  one. FAILURE  DamageException BackupDamaged names the set and the object; what was read until then counts for
/// nothing.
/// </remarks>
internal sealed class ComposedStream : ForwardStream
{
    private const int BlockPages = 128;

    private readonly BackupSet _set;
    private readonly LabelledFile _file;
    private readonly BackupSet _baseSet;
    private readonly LabelledFile _baseFile;
    private readonly Stream _own;
    private readonly Stream _base;
    private readonly IncrementalHash? _hash;
    private readonly byte[] _block = GC.AllocateUninitializedArray<byte>(BlockPages * PageLayout.PageBytes);
    private readonly uint _pages;
    private OriginRun _run;
    private uint _done; // pages of the file
    private uint _doneOfBase;
    private int _at;
    private int _filled;
    private bool _isBegun;
    private bool _isEnded;

    /// <param name="set">The incremental set; its base is known.</param>
    /// <param name="file">Its copy of the datafile.</param>
    /// <param name="isOutermost">True: the digest of all of it is compared (G4); a base's is not read to its end.</param>
    public ComposedStream(BackupSet set, LabelledFile file, bool isOutermost)
    {
        (_set, _file, _baseSet, _baseFile) = (set, file, set.Base!, set.BaseOf(file)!);
        _pages = ChangedPages.PagesOf(file);
        _hash = isOutermost ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        _own = set.OpenVerified(file.ObjectName);
        try
        {
            _base = _baseSet.OpenFile(_baseFile, isOutermost: false);
        }
        catch
        {
            _own.Dispose();
            throw;
        }
    }

    public override long Length => _file.LengthBytes;

    protected override long BytesRead => (_done * (long)PageLayout.PageBytes) - (_filled - _at);

    public override int Read(Span<byte> buffer)
    {
        if (buffer.Length == 0 || (_at == _filled && !Fill()))
            return 0;
        int part = Math.Min(buffer.Length, _filled - _at);
        _block.AsSpan(_at, part).CopyTo(buffer);
        _at += part;
        return part;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _own.Dispose();
            _base.Dispose();
            _hash?.Dispose();
        }
        base.Dispose(disposing);
    }

    private bool Fill()
    {
        (_at, _filled) = (0, 0);
        if (!_isBegun)
            Begin();
        if (_done == _pages)
        {
            End();
            return false;
        }

        if (_run.Count == 0)
            NextRun();
        uint count = Math.Min(_run.Count, BlockPages);
        Span<byte> block = _block.AsSpan(0, (int)count * PageLayout.PageBytes);
        switch (_run.Origin)
        {
            case PageOrigin.Here:
                ReadWhole(_own, block, _set, _file);
                break;
            case PageOrigin.Base:
                TakeOfBase(block);
                break;
            default:
                block.Clear();
                break;
        }

        RequirePages(block);
        _hash?.AppendData(block);
        _filled = block.Length;
        _done += count;
        _run = _run with { First = _run.First + count, Count = _run.Count - count };
        return true;
    }

    private void Begin()
    {
        _isBegun = true;
        Span<byte> header = stackalloc byte[ChangedPages.HeaderBytes];
        ReadWhole(_own, header, _set, _file);
        if (ChangedPages.FaultOfHeader(header, _file) is { } fault)
            throw Damaged(_set, _file, fault);
    }

    private void NextRun()
    {
        Span<byte> bytes = stackalloc byte[ChangedPages.RunBytes];
        ReadWhole(_own, bytes, _set, _file);
        _run = ChangedPages.ReadRun(bytes);
        if (_run.First != _done || _run.Count == 0 || _run.Count > _pages - _done || _run.Zero != 0
            || _run.Origin is < PageOrigin.Here or > PageOrigin.Nowhere)
            throw Damaged(_set, _file, $"where page {_done} is, it does not say");
    }

    /// <summary>The pages at the place of the run, which may lie behind others that nobody asked for.</summary>
    private void TakeOfBase(Span<byte> block)
    {
        uint end = _run.First + (uint)(block.Length / PageLayout.PageBytes);
        if (end > ChangedPages.PagesOf(_baseFile))
            throw Damaged(_set, _file, $"it takes page {end - 1} from set '{_baseSet.Id}', whose copy ends before it");
        while (_doneOfBase < _run.First)
        {
            uint skipped = Math.Min(_run.First - _doneOfBase, BlockPages);
            ReadWhole(_base, _block.AsSpan(0, (int)skipped * PageLayout.PageBytes), _baseSet, _baseFile);
            _doneOfBase += skipped;
        }

        ReadWhole(_base, block, _baseSet, _baseFile);
        _doneOfBase = end;
    }

    /// <summary>G3.</summary>
    private void RequirePages(ReadOnlySpan<byte> block)
    {
        if (_run.Origin == PageOrigin.Nowhere)
            return;
        bool isOfBase = _run.Origin == PageOrigin.Base;
        bool isProven = isOfBase && _baseFile.BaseGeneration is not null; // by the stream that it comes from
        for (int i = 0; i < block.Length / PageLayout.PageBytes; i++)
        {
            ReadOnlySpan<byte> page = block.Slice(i * PageLayout.PageBytes, PageLayout.PageBytes);
            uint number = _run.First + (uint)i;
            ulong generation = PageLayout.Generation(page);
            if ((!isProven && (!PageChecksum.Matches(page) || PageLayout.Number(page) != number))
                || generation > (isOfBase ? _file.BaseGeneration : _file.Generation)
                || (isOfBase && number < MetaPage.Slots))
            {
                throw Damaged(
                    isOfBase ? _baseSet : _set, isOfBase ? _baseFile : _file,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"page {number} of '{_file.Name}' that it has for set '{_set.Id}' is not what was written"));
            }
        }
    }

    private void End()
    {
        if (_isEnded)
            return;
        _isEnded = true;
        if (_own.Read(_block, 0, 1) > 0)
            throw Damaged(_set, _file, "it goes on behind its last page");
        if (_hash is null)
            return;
        string sha = Convert.ToHexString(_hash.GetHashAndReset());
        if (sha != _file.Sha256)
        {
            throw Damaged(
                _set, _file,
                $"put together with set '{_baseSet.Id}', its SHA-256 is {sha} instead of {_file.Sha256}");
        }
    }

    private static void ReadWhole(Stream from, Span<byte> to, BackupSet set, LabelledFile file)
    {
        if (from.ReadAtLeast(to, to.Length, throwOnEndOfStream: false) < to.Length)
            throw Damaged(set, file, "it is cut off");
    }

    private static DamageException Damaged(BackupSet set, LabelledFile file, string why) =>
        RecoveryErrors.BackupDamaged(set.Id, file.ObjectName, why);
}
