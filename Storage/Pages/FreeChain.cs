using System.Globalization;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>A run of free pages [First, First + Count).</summary>
internal readonly record struct PageRun(uint First, uint Count);

/// <summary>The free pages of one generation, as the file says them.</summary>
/// <param name="Runs">In ascending order, without neighbours.</param>
/// <param name="Pages">The pages of the chain itself, in order.</param>
internal sealed record FreeChainContent(IReadOnlyList<PageRun> Runs, IReadOnlyList<uint> Pages);

/// <summary>The bytes of the chain of free pages, which the meta page names.</summary>
/// <remarks>
/// LAYOUT  (little endian; the page's header as in <see cref="PageLayout"/>, kind FreeChain, generation: the meta
/// page's FreeChainGeneration)
/// <code>
///   14 u16  runs in this page (at most 1,020)
///   24 u32  next page of the chain (0: the last)
///   28 u32  zero
///   32      runs: u32 first page, u32 pages
/// </code>
/// The chain lists every page in [2, page count) that the root does not reach and that is not of the chain itself: also
/// those that a read view still needed when it was written, since none outlives the process. It is rewritten whole by
/// each flush that writes pages, and is read by the first flush after opening, not by opening.
///
/// INVARIANTS
///   F2  Runs ascend, do not touch, and lie in [2, page count).
///   F3  Each page of the chain has the generation that the meta page names: an older chain page in its place, though
///       its
///       checksum matches, is damage (H38).
/// </remarks>
internal static class FreeChain
{
    private static readonly Comparer<PageRun> ByFirst =
        Comparer<PageRun>.Create(static (left, right) => left.First.CompareTo(right.First));

    public const int RunsPerPage = PageLayout.ContentBytes / 8;

    /// <summary>Pages that a chain of so many runs takes.</summary>
    public static uint PagesFor(long runs) => (uint)((runs + RunsPerPage - 1) / RunsPerPage);

    /// <summary>Reads and verifies the chain that a meta page names.</summary>
    /// <exception cref="DamageException">The chain is not what was written.</exception>
    public static unsafe FreeChainContent Read(IFileHandle handle, MetaPage meta)
    {
        List<PageRun> runs = [];
        List<uint> pages = [];
        ulong free = 0;
        uint end = MetaPage.Slots;
        byte[] page = new byte[PageLayout.PageBytes];
        for (uint number = meta.FreeChain; number != 0; number = PageLayout.FieldA(page))
        {
            if (number < MetaPage.Slots || number >= meta.PageCount || pages.Count == meta.FreeChainPages)
                throw DatafileErrors.FreeChain(handle.Path, number, "is one more than the meta page knows");
            int read = handle.Read((long)number * PageLayout.PageBytes, page);
            page.AsSpan(read).Clear();
            fixed (byte* bytes = page)
                PageGuard.RequireLoaded(handle.Path, bytes, number, meta.FreeChainGeneration);
            RequireOfChain(handle.Path, page, number, meta);
            pages.Add(number);
            ReadOnlySpan<PageRun> found = MemoryMarshal.Cast<byte, PageRun>(page.AsSpan(PageLayout.HeaderBytes));
            foreach (PageRun run in found[..PageLayout.Count(page)])
            {
                if (run.First < end || run.Count == 0 || (ulong)run.First + run.Count > meta.PageCount)
                    throw DatafileErrors.FreeChain(handle.Path, number, "lists runs that do not ascend");
                end = run.First + run.Count;
                free += run.Count;
                runs.Add(run);
            }
        }
        RequireNotListed(handle.Path, runs, pages);
        if (free != meta.FreePages || pages.Count != meta.FreeChainPages)
            throw DatafileErrors.FreeChain(handle.Path, meta.FreeChain, string.Create(CultureInfo.InvariantCulture,
                $"and those behind it list {free} free pages; the meta page knows {meta.FreePages}"));
        return new FreeChainContent(runs, pages);
    }

    /// <summary>Fills one page of the chain with runs from a cursor on; returns the cursor for the next page.</summary>
    public static uint Fill(Span<byte> page, PageBits free, uint from, uint next)
    {
        page[..PageLayout.PageBytes].Clear();
        Span<PageRun> runs = MemoryMarshal.Cast<byte, PageRun>(page.Slice(PageLayout.HeaderBytes, RunsPerPage * 8));
        int count = 0;
        while (count < runs.Length && free.NextRun(from, out uint first, out uint length))
        {
            runs[count++] = new PageRun(first, length);
            from = first + length;
        }
        PageLayout.Describe(page, PageKind.FreeChain, flags: 0, count, fieldA: next, fieldB: 0);
        return from;
    }

    // A flush frees the pages of the chain that it replaces: one that is free already would be given out twice.
    private static void RequireNotListed(string path, List<PageRun> runs, List<uint> pages)
    {
        foreach (uint page in pages)
        {
            int at = runs.BinarySearch(new PageRun(page, 0), ByFirst);
            int before = at < 0 ? ~at - 1 : at;
            if (before >= 0 && page - runs[before].First < runs[before].Count)
                throw DatafileErrors.FreeChain(path, page, "is listed as free itself");
        }
    }

    private static void RequireOfChain(string path, byte[] page, uint number, MetaPage meta)
    {
        if (PageLayout.Kind(page) != PageKind.FreeChain)
            throw DatafileErrors.FreeChain(path, number, $"is of the kind {PageLayout.Kind(page)}");
        if (PageLayout.Generation(page) != meta.FreeChainGeneration)
            throw DatafileErrors.FreeChain(path, number, string.Create(CultureInfo.InvariantCulture,
                $"was written by generation {PageLayout.Generation(page)}; the meta page names {meta.FreeChainGeneration}"));
        if (PageLayout.Count(page) > RunsPerPage)
            throw DatafileErrors.FreeChain(path, number, "lists more runs than it has room for");
    }
}
