using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// One file's pages as readers see them: a table from page number to the page's bytes in memory, filled from disk on a
/// miss.
/// </summary>
/// <remarks>
/// STATE  two levels of native memory; a hit costs three loads and no lock, pin or dictionary.
/// <code>
///   page number  =  high 22 bits ─▶ _root[…] ─▶ chunk of 1,024 addresses (8 MiB of file) ─▶ low 10 bits ─▶ page
/// </code>
/// INVARIANTS
///   T1  An entry is 0 or the address of a verified page (checksum, number, structure) in state Resident.
///   T2  A page's address stays valid until the epochs that were entered while the table named it have ended.
///   T3  After <see cref="Install"/> of a page no older content of it comes back: what reads it from disk from then on
///       reads what was written before Install, and whoever read it earlier was in an epoch that ended before the disk
///       page was reused (H12).
///
/// THREADS  <see cref="Page"/> and <see cref="Prefetch"/>: any, inside an epoch. Install and Forget: any, for pages
/// that no reader can reach. The lock protects the growth of the table.
/// FAILURE  a page that is not what was written is never put into the table: each read of it throws again.
/// </remarks>
internal sealed unsafe class PagedFile : IPageSource, IDisposable
{
    private const int ChunkShift = 10;
    private const int ChunkPages = 1 << ChunkShift;

    /// <summary>Neighbours that a prefetch reads with one call.</summary>
    private const int RunPagesMax = 32;

    private readonly PageCache _cache;
    private readonly Lock _lock = new();
    private volatile IFileHandle _handle;
    private nint[] _root = [];
    private volatile bool _closed;

    internal PagedFile(PageCache cache, int index, IFileHandle handle, string name) =>
        (_cache, Index, _handle, Name) = (cache, index, handle, name);

    /// <summary>The datafile's name, for messages.</summary>
    public string Name { get; }

    /// <summary>The file's path, for messages.</summary>
    public string Path => _handle.Path;

    /// <summary>Told of each page that is not what was written, on the thread that asked for it.</summary>
    internal Action<DamageException>? WhenDamaged { get; set; }

    /// <summary>Place in the cache's list of files.</summary>
    internal int Index { get; }

    /// <inheritdoc/>
    public byte* Page(uint number, ulong rootGeneration)
    {
        byte* page = Find(number);
        if (page == null)
            return Load(number, rootGeneration);
        FrameHead* head = PageFrames.HeadOf(page);
        if (head->Referenced == 0)
            head->Referenced = 1;
        if (PageLayout.Generation(page) > rootGeneration)
            RefuseGeneration(page, number, rootGeneration);
        return page;
    }

    /// <summary>
    /// Reads missing pages on other threads, neighbours with one call. Errors are left to whoever asks for the page.
    /// The disk is told of all of them at once: the threads of the pool alone would have as many reads under way as
    /// there are cores.
    /// </summary>
    public void Prefetch(ReadOnlySpan<uint> numbers, ulong rootGeneration)
    {
        if (!_cache.HasRoom)
            return;
        int from = 0;
        while (from < numbers.Length)
        {
            if (Find(numbers[from]) != null)
            {
                from++;
                continue;
            }
            int to = from + 1;
            while (to < numbers.Length && to - from < RunPagesMax && numbers[to] == numbers[to - 1] + 1
                && Find(numbers[to]) == null)
                to++;
            _handle.StartRead((long)numbers[from] * PageLayout.PageBytes, (long)(to - from) * PageLayout.PageBytes);
            var run = new PrefetchRun(this, numbers[from], to - from, rootGeneration, _cache.Epochs.Hold());
            _cache.Ahead.Add(run);
            _cache.Epochs.Threads.Queue(run);
            from = to;
        }
    }

    /// <summary>
    /// Puts a page into the cache whose bytes were just written to its place in the file; without room, leaves it to
    /// its first reader.
    /// </summary>
    public void Install(uint number, ReadOnlySpan<byte> page)
    {
        byte* frame = _cache.TryTake(Index, number);
        if (frame == null)
        {
            Forget(number);
            return;
        }
        page.CopyTo(new Span<byte>(frame, PageLayout.PageBytes));
        PageFrames.HeadOf(frame)->State = FrameState.Resident; // before it can be found: whoever finds it may retire it
        nint old = Interlocked.Exchange(ref *(nint*)Entry(number), (nint)frame);
        if (old != 0)
            _cache.Retire([old]);
    }

    /// <summary>Takes a page out of the cache, before its place in the file is reused or cut off.</summary>
    public void Forget(uint number) => Forget([number]);

    /// <summary>Takes pages out of the cache, before their places in the file are reused or cut off.</summary>
    public void Forget(ReadOnlySpan<uint> numbers)
    {
        List<nint>? retired = null;
        using EpochGuard guard = _cache.Epochs.Enter(); // closing frees the table after it
        foreach (uint number in numbers)
        {
            nint* entry = EntryIfAny(number);
            if (entry == null || *entry == 0)
                continue;
            nint old = Interlocked.Exchange(ref *entry, 0);
            if (old != 0)
                (retired ??= []).Add(old);
        }
        if (retired is not null)
            _cache.Retire(retired);
    }

    /// <summary>
    /// Ends all reading: from now on a read throws; waits for the readers that are inside, then frees the memory. The
    /// handle may be closed after it.
    /// </summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_closed)
                return;
            _closed = true;
        }
        _cache.Epochs.AwaitAll(); // no load is under way any more, so nothing enters the table
        nint[] root = _root;
        Volatile.Write(ref _root, []);
        _cache.Epochs.AwaitAll(); // nobody looks at the table any more
        _cache.Close(this, root);
    }

    /// <summary>
    /// The same without waiting, when no reader is in the file or can enter it. The handle may be closed after it.
    /// </summary>
    public void CloseUnread()
    {
        lock (_lock)
        {
            if (_closed)
                return;
            _closed = true;
        }
        nint[] root = _root;
        Volatile.Write(ref _root, []);
        _cache.Epochs.Retire(() => _cache.Close(this, root)); // whoever forgets pages may still look at the table
    }

    /// <summary>
    /// Reads from another file with the same pages from now on. Who looked before may read the former one until the
    /// epochs of now have ended; nothing may be written to either before this returns, so both say the same of every
    /// page that such a reader can reach.
    /// </summary>
    internal void ReadFrom(IFileHandle handle) => _handle = handle;

    /// <summary>The clock's hand takes a page out, if it is still the one in the table.</summary>
    internal bool TryUnlink(uint number, byte* page)
    {
        nint* entry = EntryIfAny(number);
        return entry != null && Interlocked.CompareExchange(ref *entry, 0, (nint)page) == (nint)page;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* Find(uint number)
    {
        nint* entry = EntryIfAny(number);
        return entry == null ? null : (byte*)Volatile.Read(ref *entry);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private nint* EntryIfAny(uint number)
    {
        nint[] root = _root;
        uint high = number >> ChunkShift;
        if (high >= (uint)root.Length)
            return null;
        var chunk = (nint*)root[high];
        return chunk == null ? null : chunk + (number & (ChunkPages - 1));
    }

    private nint* Entry(uint number)
    {
        nint* entry = EntryIfAny(number);
        return entry != null ? entry : Grow(number);
    }

    // Chunks never move; the array that names them is replaced.
    private nint* Grow(uint number)
    {
        int high = (int)(number >> ChunkShift);
        lock (_lock)
        {
            if (_closed)
                throw DatafileErrors.Closed(Name);
            nint[] root = _root;
            if (high >= root.Length)
            {
                var grown = new nint[Math.Max(high + 1, root.Length + root.Length / 4)];
                root.CopyTo(grown, 0);
                root = grown;
            }
            if (root[high] == 0)
                root[high] = (nint)NativeMemory.AllocZeroed(ChunkPages, (nuint)sizeof(nint));
            Volatile.Write(ref _root, root);
            return (nint*)root[high] + (number & (ChunkPages - 1));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private byte* Load(uint number, ulong rootGeneration)
    {
        if (_closed)
            throw DatafileErrors.Closed(Name);
        return Load(_cache.Take(Index, number), number, rootGeneration);
    }

    private byte* Load(byte* frame, uint number, ulong rootGeneration)
    {
        try
        {
            var bytes = new Span<byte>(frame, PageLayout.PageBytes);
            int read = _handle.Read((long)number * PageLayout.PageBytes, bytes);
            bytes[read..].Clear(); // past the end of the file: fails the checksum like any other missing page
            PageGuard.RequireLoaded(Path, frame, number, rootGeneration);
        }
        catch (Exception error)
        {
            _cache.GiveBack(frame);
            if (error is DamageException damage)
                WhenDamaged?.Invoke(damage);
            throw;
        }
        return Publish(number, frame);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void RefuseGeneration(byte* page, uint number, ulong rootGeneration)
    {
        try
        {
            PageGuard.RequireGeneration(Path, page, number, rootGeneration);
        }
        catch (DamageException damage)
        {
            WhenDamaged?.Invoke(damage);
            throw;
        }
    }

    // Two loads of one page: the first in the table wins, so that every reader sees one address.
    private byte* Publish(uint number, byte* frame)
    {
        _cache.NoteLoad();
        nint* entry = Entry(number);
        PageFrames.HeadOf(frame)->State = FrameState.Resident;
        nint winner = Interlocked.CompareExchange(ref *entry, (nint)frame, 0);
        if (winner == 0)
            return frame;
        PageFrames.HeadOf(frame)->State = FrameState.Filling;
        _cache.GiveBack(frame);
        return (byte*)winner;
    }

    // Loads a run of neighbours into the table with one read; what does not pass is left to its reader.
    private void LoadRun(uint first, int count, ulong rootGeneration)
    {
        if (_closed)
            return;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(count * PageLayout.PageBytes);
        try
        {
            int read = _handle.Read((long)first * PageLayout.PageBytes, buffer.AsSpan(0, count * PageLayout.PageBytes));
            for (int i = 0; i < read / PageLayout.PageBytes; i++)
            {
                uint number = first + (uint)i;
                if (Find(number) == null)
                    LoadFrom(buffer.AsSpan(i * PageLayout.PageBytes, PageLayout.PageBytes), number, rootGeneration);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void LoadAhead(uint number, ulong rootGeneration)
    {
        if (_closed || Find(number) != null)
            return;
        byte* frame = _cache.TryTake(Index, number);
        if (frame != null)
            Load(frame, number, rootGeneration);
    }

    private void LoadFrom(ReadOnlySpan<byte> bytes, uint number, ulong rootGeneration)
    {
        byte* frame = _cache.TryTake(Index, number);
        if (frame == null)
            return;
        bytes.CopyTo(new Span<byte>(frame, PageLayout.PageBytes));
        try
        {
            PageGuard.RequireLoaded(Path, frame, number, rootGeneration);
        }
        catch
        {
            _cache.GiveBack(frame);
            throw;
        }
        Publish(number, frame);
    }

    private sealed class PrefetchRun(PagedFile file, uint first, int count, ulong rootGeneration, EpochHold hold)
        : IThreadPoolWorkItem, IDisposable
    {
        public void Execute()
        {
            if (!file._cache.Ahead.TryBegin(this))
                return;
            try
            {
                if (count > 1)
                    file.LoadRun(first, count, rootGeneration);
                else
                    file.LoadAhead(first, rootGeneration);
            }
            catch (Exception)
            {
                // A hint that could not be followed. Whoever asks for the page meets the same failure; here, on a
                // thread of the pool, it would end the process.
            }
            finally
            {
                Dispose();
            }
        }

        public void Dispose() => hold.Dispose();
    }
}
