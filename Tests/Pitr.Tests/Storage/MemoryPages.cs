using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// Pages in memory that keep account of what a merge allocates and frees: a page is freed once, and only if it was
/// there before the generation that frees it.
/// </summary>
internal sealed unsafe class MemoryPages : IPageSource, IPageSink, IDisposable
{
    private readonly List<nint> _pages = [0, 0];
    private readonly HashSet<uint> _live = [];
    private readonly HashSet<uint> _allocated = [];
    private readonly HashSet<uint> _written = [];
    private readonly HashSet<uint> _freed = [];
    private readonly Queue<uint> _free = new();

    public ulong Generation { get; set; } = 1;

    /// <summary>Pages that were read since it was last cleared.</summary>
    public HashSet<uint> PagesRead { get; } = [];

    public int PagesAskedFor { get; private set; }

    public int PagesWritten { get; private set; }

    /// <summary>Checks each page at each access, as a page source does when it loads it.</summary>
    public bool ChecksEachAccess { get; set; } = true;

    /// <summary>Pages of the current root as allocations and frees have it.</summary>
    public IReadOnlySet<uint> Live => _live;

    public byte* Page(uint number, ulong rootGeneration)
    {
        if (number >= _pages.Count || _pages[(int)number] == 0)
            throw PageErrors.Misplaced("memory", number, 0);
        byte* page = (byte*)_pages[(int)number];
        if (ChecksEachAccess)
        {
            PagesRead.Add(number);
            PageGuard.RequireLoaded("memory", page, number, rootGeneration);
        }
        else
        {
            PageGuard.RequireGeneration("memory", page, number, rootGeneration);
        }
        return page;
    }

    public void Prefetch(ReadOnlySpan<uint> numbers, ulong rootGeneration) => PagesAskedFor += numbers.Length;

    public uint Allocate()
    {
        if (!_free.TryDequeue(out uint number))
        {
            number = (uint)_pages.Count;
            _pages.Add((nint)NativeMemory.AlignedAlloc(PageLayout.PageBytes, 64));
        }
        Assert.True(_allocated.Add(number));
        return number;
    }

    public void Write(uint number, Span<byte> page)
    {
        Assert.Contains(number, _allocated);
        Assert.True(_written.Add(number), $"page {number} was written twice");
        PagesWritten++;
        PageChecksum.Stamp(page, number, Generation);
        page.CopyTo(Bytes(number));
    }

    public void Free(uint number)
    {
        Assert.Contains(number, _live);
        Assert.True(_freed.Add(number), $"page {number} was freed twice");
    }

    /// <summary>The new root is the current one: what it does not reach can be used again.</summary>
    public void Complete()
    {
        Assert.True(_allocated.SetEquals(_written), "a page was allocated and not written");
        foreach (uint number in _freed)
        {
            _live.Remove(number);
            _free.Enqueue(number);
        }
        _live.UnionWith(_allocated);
        Begin();
        Generation++;
    }

    /// <summary>The merge did not end: its pages are free again.</summary>
    public void DropFlush()
    {
        foreach (uint number in _allocated)
            _free.Enqueue(number);
        Begin();
    }

    public Span<byte> Bytes(uint number) => new((byte*)_pages[(int)number], PageLayout.PageBytes);

    public void Dispose()
    {
        foreach (nint page in _pages)
            NativeMemory.AlignedFree((void*)page);
        _pages.Clear();
    }

    private void Begin()
    {
        _allocated.Clear();
        _written.Clear();
        _freed.Clear();
    }
}

/// <summary>
/// Pages whose memory is overwritten whenever a merge may hold none: when it calls the sink (M4), and between leaves.
/// </summary>
internal sealed unsafe class ForgetfulPages(MemoryPages pages) : IPageSource, IPageSink, IDisposable
{
    private readonly Dictionary<uint, nint> _given = [];
    private readonly Stack<nint> _spare = new();

    public ulong Generation => pages.Generation;

    public byte* Page(uint number, ulong rootGeneration)
    {
        byte* page = pages.Page(number, rootGeneration);
        if (!_given.TryGetValue(number, out nint copy))
        {
            copy = _spare.TryPop(out nint spare) ? spare : (nint)NativeMemory.AlignedAlloc(PageLayout.PageBytes, 64);
            Buffer.MemoryCopy(page, (void*)copy, PageLayout.PageBytes, PageLayout.PageBytes);
            _given.Add(number, copy);
        }
        return (byte*)copy;
    }

    public void Prefetch(ReadOnlySpan<uint> numbers, ulong rootGeneration) => pages.Prefetch(numbers, rootGeneration);

    public uint Allocate() => pages.Allocate();

    public void Write(uint number, Span<byte> page)
    {
        pages.Write(number, page);
        Forget();
    }

    public void Free(uint number) => pages.Free(number);

    public void Forget()
    {
        foreach (nint copy in _given.Values)
        {
            new Span<byte>((void*)copy, PageLayout.PageBytes).Fill(0xEE);
            _spare.Push(copy);
        }
        _given.Clear();
    }

    public void Dispose()
    {
        Forget();
        foreach (nint copy in _spare)
            NativeMemory.AlignedFree((void*)copy);
    }
}

/// <summary>A list of changes as a stream, through buffers that are overwritten at each move.</summary>
internal sealed class ListedChanges(IEnumerable<KeyValuePair<byte[], byte[]?>> changes) : IChangeStream
{
    private readonly IEnumerator<KeyValuePair<byte[], byte[]?>> _changes = changes.GetEnumerator();
    private readonly byte[] _key = new byte[KeySlots.KeyBytesMax];
    private byte[] _value = [];
    private int _keyBytes;

    public ReadOnlySpan<byte> Key => _key.AsSpan(0, _keyBytes);

    public bool IsDelete => _changes.Current.Value is null;

    public ReadOnlySpan<byte> Value => _value;

    public bool MoveNext()
    {
        Array.Fill(_key, (byte)0xEE);
        Array.Fill(_value, (byte)0xEE);
        if (!_changes.MoveNext())
            return false;
        _changes.Current.Key.CopyTo(_key, 0);
        _keyBytes = _changes.Current.Key.Length;
        _value = _changes.Current.Value?.ToArray() ?? [];
        return true;
    }
}

/// <summary>Order of keys: unsigned bytewise, shorter first.</summary>
internal sealed class KeyOrder : IComparer<byte[]>
{
    public static readonly KeyOrder Instance = new();

    public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
}

/// <summary>A tree in memory beside a sorted dictionary that says what it should hold.</summary>
internal sealed class ModelTree : IDisposable
{
    public MemoryPages Pages { get; } = new();

    public SortedDictionary<byte[], byte[]> Model { get; } = new(KeyOrder.Instance);

    public TreeRoot Root { get; private set; } = TreeRoot.Empty(0);

    public void Merge(IEnumerable<KeyValuePair<byte[], byte[]?>> changes, params uint[] droppedTables)
    {
        var sorted = new SortedDictionary<byte[], byte[]?>(KeyOrder.Instance);
        foreach ((byte[] key, byte[]? value) in changes)
            sorted[key] = value;
        using var forgetful = new ForgetfulPages(Pages);
        Root = TreeMerge.Run(
            forgetful, Root, new ListedChanges(sorted), droppedTables, forgetful, CancellationToken.None,
            forgetful.Forget);
        Pages.Complete();
        foreach ((byte[] key, byte[]? value) in sorted)
        {
            if (value is null)
                Model.Remove(key);
            else
                Model[key] = value;
        }
        foreach (uint table in droppedTables)
        {
            foreach (byte[] key in Model.Keys.Where(key => KeySlots.HeadOf(key) == table).ToList())
                Model.Remove(key);
        }
    }

    /// <summary>
    /// The tree holds what the model holds, every invariant holds, and no page is lost or reached by mistake.
    /// </summary>
    /// <param name="hasLongKeys">True if a key may not fit a small leaf, since the prefix would become shorter.</param>
    public TreeReport RequireEqual(bool hasLongKeys = false)
    {
        TreeReport report = TreeCheck.Run(Pages, Root);
        Assert.Empty(report.Problems);
        Assert.Equal((ulong)Model.Count, Root.Keys);
        Assert.True(
            Pages.Live.SetEquals(report.Reachable.Pages()), "reachable pages are not those allocated and not freed");
        Assert.True(hasLongKeys || report.SmallPages <= Math.Max(1, Root.Height) + report.Leaves / 100,
            $"{report.SmallPages} pages are below a third full");
        var cursor = new TreeCursor(Pages, Root);
        bool hasRow = cursor.SeekFirst();
        foreach ((byte[] key, byte[] value) in Model)
        {
            Assert.True(hasRow);
            Assert.True(cursor.Key.SequenceEqual(key), "the scan gives another key");
            Assert.Equal(value.Length, cursor.Value.LengthBytes);
            Assert.True(value.AsSpan().SequenceEqual(cursor.Value.ToArray()), "the scan gives another value");
            hasRow = cursor.Next();
        }
        Assert.False(hasRow);
        return report;
    }

    public void Dispose() => Pages.Dispose();
}
