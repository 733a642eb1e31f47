using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// Pages each of which lies between two pages of the system that nobody may touch: a read that leaves a page ends the
/// process instead of going unnoticed. As of a page that comes from disk, the first access checks it; each is counted.
/// </summary>
internal sealed unsafe partial class GuardedPages : IPageSource, IDisposable
{
    private const int SystemPageBytes = 4096;
    private const int RegionBytes = PageLayout.PageBytes + 2 * SystemPageBytes;
    private const int None = 0;
    private const int ReadWrite = 3;
    private const int PrivateAnonymous = 0x22;

    private readonly Dictionary<uint, nint> _pages = [];
    private readonly HashSet<uint> _loaded = [];

    public FuzzSteps Steps { get; set; } = new(int.MaxValue);

    public string Path => "guarded";

    public IEnumerable<uint> Numbers => _pages.Keys;

    public Span<byte> Bytes(uint number) => new((byte*)_pages[number] + SystemPageBytes, PageLayout.PageBytes);

    public void Put(uint number, ReadOnlySpan<byte> page)
    {
        if (!_pages.ContainsKey(number))
            _pages.Add(number, Map());
        _loaded.Remove(number);
        page.CopyTo(Bytes(number));
    }

    public byte* Page(uint number, ulong rootGeneration)
    {
        Steps.Take();
        if (!_pages.TryGetValue(number, out nint region))
            throw PageErrors.Misplaced(Path, number, 0);
        byte* page = (byte*)region + SystemPageBytes;
        if (!_loaded.Contains(number))
            PageGuard.RequireLoaded(Path, page, number, rootGeneration);
        PageGuard.RequireGeneration(Path, page, number, rootGeneration);
        _loaded.Add(number);
        return page;
    }

    public void Prefetch(ReadOnlySpan<uint> numbers, ulong rootGeneration) => Steps.Take(numbers.Length);

    public void Dispose()
    {
        foreach (nint region in _pages.Values)
            _ = munmap(region, RegionBytes);
        _pages.Clear();
    }

    private static nint Map()
    {
        nint region = mmap(0, RegionBytes, ReadWrite, OperatingSystem.IsMacOS() ? 0x1002 : PrivateAnonymous, -1, 0);
        Assert.NotEqual(-1, region);
        Assert.Equal(0, mprotect(region, SystemPageBytes, None));
        Assert.Equal(0, mprotect(region + SystemPageBytes + PageLayout.PageBytes, SystemPageBytes, None));
        return region;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint mmap(nint at, nint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mprotect(nint at, nint length, int protection);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int munmap(nint at, nint length);
}
