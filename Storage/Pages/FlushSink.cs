namespace Pitr.Storage;

/// <summary>
/// Where a flush puts its pages: stamps them, collects them into long writes, and puts them into the cache once
/// written.
/// </summary>
/// <remarks>
/// STATE  256 pages (2 MiB) of native memory, in the order in which they came, with their numbers. Full, they are
/// written in ascending order, neighbours with one call; a merge allocates and finishes pages nearly in order, so the
/// writes are as long as the runs that <see cref="FreePages"/> gives, 256 KiB to 1 MiB.
///
/// INVARIANTS
///   I4  Only pages that this flush took are written.
///   S1  A page enters the cache after its bytes were written: what makes room for it and comes back reads the new
///       ones.
///   S2  The flush's epoch is left while it writes: callers of <see cref="Write"/> hold no page (M4).
/// THREADS  one, the worker of the flush. FAILURE  as <see cref="PacedWriter"/>'s; the flush is dropped or the file
/// taken offline by the owner.
/// </remarks>
internal sealed unsafe class FlushSink : IPageSink, IDisposable
{
    private const int BufferPages = 256;

    private readonly FreePages _free;
    private readonly PagedFile _pages;
    private readonly IFileHandle _handle;
    private readonly PacedWriter _writer;
    private readonly FlushEpoch _epoch;
    private readonly CancellationToken _cancellation;
    private readonly byte* _buffer;
    private readonly uint[] _numbers = new uint[BufferPages];
    private readonly int[] _order = new int[BufferPages];
    private int _count;
    private PageRun _run;

    public FlushSink(
        FreePages free, PagedFile pages, IFileHandle handle, PacedWriter writer, ulong generation, FlushEpoch epoch,
        CancellationToken cancellation)
    {
        (_free, _pages, _handle, _writer, _epoch, _cancellation) = (free, pages, handle, writer, epoch, cancellation);
        Generation = generation;
        _buffer = NativeBlocks.Take(BufferPages * PageLayout.PageBytes);
    }

    /// <inheritdoc/>
    public ulong Generation { get; }

    /// <summary>Pages written so far.</summary>
    public long WrittenPages { get; private set; }

    /// <summary>Called with the bytes of each write before it, outside of the epoch: the caller's own pace.</summary>
    public Action<int>? BeforeWrite { get; init; }

    /// <inheritdoc/>
    public uint Allocate()
    {
        if (_run.Count == 0)
            _run = _free.Take();
        uint page = _run.First;
        _run = new PageRun(page + 1, _run.Count - 1);
        return page;
    }

    /// <inheritdoc/>
    public void Write(uint number, Span<byte> page)
    {
        if (!_free.IsTaken(number))
            throw new BugException(
                $"Invariant I4 does not hold: page {number} is written, but was not taken by this flush.");
        PageChecksum.Stamp(page, number, Generation);
        page[..PageLayout.PageBytes].CopyTo(PageAt(_count));
        _numbers[_count++] = number;
        if (_count == BufferPages)
            WriteOut();
    }

    /// <inheritdoc/>
    /// <exception cref="DamageException">The file's chain of free pages does not agree with its tree.</exception>
    public void Free(uint number)
    {
        if (!_free.TryFree(number))
            throw DatafileErrors.FreeAndInUse(_pages.Path, number);
    }

    /// <summary>Ends the tree: writes what is left, the new free chain included. Nothing is durable yet.</summary>
    public List<uint> Finish()
    {
        _free.GiveBack(_run);
        _run = default;
        foreach (uint replaced in _free.Chain)
            Free(replaced);
        List<uint> chain = _free.EndWithChain();
        Span<byte> page = stackalloc byte[PageLayout.PageBytes];
        uint from = 0;
        for (int i = 0; i < chain.Count; i++)
        {
            from = FreeChain.Fill(page, _free.Listed, from, next: i + 1 < chain.Count ? chain[i + 1] : 0);
            Write(chain[i], page);
        }
        WriteOut();
        Invariant.Require(!_free.Listed.NextRun(from, out _, out _) || chain.Count == 0 && _free.FreeCount == 0, "F2",
            "the free chain has no room for all runs.");
        // Pages at the end that were taken and not written, if any: the file is as long as its meta page says.
        long lengthBytes = (long)_free.PageCount * PageLayout.PageBytes;
        if (_handle.LengthBytes < lengthBytes)
            _handle.SetLength(lengthBytes);
        return chain;
    }

    public void Dispose() => NativeBlocks.Free(_buffer, BufferPages * PageLayout.PageBytes);

    private Span<byte> PageAt(int index) =>
        new(_buffer + (long)index * PageLayout.PageBytes, PageLayout.PageBytes);

    private void WriteOut()
    {
        _cancellation.ThrowIfCancellationRequested();
        SortByNumber();
        for (int from = 0; from < _count;)
        {
            int to = from + 1;
            while (to < _count && _numbers[to] == _numbers[to - 1] + 1)
                to++;
            var bytes = new ReadOnlySpan<byte>(
                _buffer + (long)from * PageLayout.PageBytes, (to - from) * PageLayout.PageBytes);
            _epoch.Outside(_writer, _handle, (long)_numbers[from] * PageLayout.PageBytes, bytes, BeforeWrite);
            for (int i = from; i < to; i++)
                _pages.Install(_numbers[i], PageAt(i));
            from = to;
        }
        WrittenPages += _count;
        _count = 0;
    }

    // Most often there is nothing to do. Else pages are exchanged along the cycles of the permutation.
    private void SortByNumber()
    {
        bool ascends = true;
        for (int i = 1; i < _count && ascends; i++)
            ascends = _numbers[i] > _numbers[i - 1];
        if (ascends)
            return;
        for (int i = 0; i < _count; i++)
            _order[i] = i;
        Array.Sort(_numbers, _order, 0, _count); // _order[i]: which place the i-th page lies in
        Span<byte> first = stackalloc byte[PageLayout.PageBytes];
        for (int start = 0; start < _count; start++)
        {
            if (_order[start] == start)
                continue;
            PageAt(start).CopyTo(first);
            int to = start;
            while (_order[to] != start)
            {
                int source = _order[to];
                PageAt(source).CopyTo(PageAt(to));
                _order[to] = to;
                to = source;
            }
            first.CopyTo(PageAt(to));
            _order[to] = to;
        }
    }
}
