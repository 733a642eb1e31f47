namespace Pitr.Storage;

/// <summary>
/// A file's pages for one worker alone, such as one that copies or proves a file: a page table of its own, so that nobody
/// waits for anybody when it is closed.
/// </summary>
/// <remarks>
/// What it is told to read ahead the disk is told, and no other thread reads: so when its worker closes it, nobody is
/// inside, and readers of other files, who may stand still in their epochs, are not waited for.
/// THREADS  one, inside an epoch while it looks at pages.
/// </remarks>
internal sealed class LoneReader : IPageSource, IDisposable
{
    private readonly IFileHandle _handle;
    private readonly PagedFile _pages;

    /// <param name="environment">The datafile's.</param>
    /// <param name="path">The file; it does not change meanwhile.</param>
    /// <param name="name">The datafile's name, for messages.</param>
    public LoneReader(DatafileEnvironment environment, string path, string name)
    {
        _handle = DatafileOpening.OpenHandle(environment.Files, path, FileOpen.Read);
        _pages = environment.Cache.OpenFile(_handle, name);
    }

    public string Path => _pages.Path;

    public IFileHandle Handle => _handle;

    public unsafe byte* Page(uint number, ulong rootGeneration) => _pages.Page(number, rootGeneration);

    public void Prefetch(ReadOnlySpan<uint> numbers, ulong rootGeneration)
    {
        for (int from = 0; from < numbers.Length;)
        {
            int to = from + 1;
            while (to < numbers.Length && numbers[to] == numbers[to - 1] + 1)
                to++;
            _handle.StartRead((long)numbers[from] * PageLayout.PageBytes, (long)(to - from) * PageLayout.PageBytes);
            from = to;
        }
    }

    public void Dispose()
    {
        _pages.CloseUnread();
        _handle.Dispose();
    }
}
