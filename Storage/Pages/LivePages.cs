namespace Pitr.Storage;

/// <summary>
/// The pages that count in a still datafile: all that its meta page reaches, the free chain too (H38); known before they
/// are read, and proven while they are.
/// </summary>
/// <remarks>
/// They are those below the page count that the free chain does not list. Whoever reads the file from its beginning to its
/// end gives each of them to <see cref="Require"/>, which notes what it names; at the end <see cref="RequireAllReached"/>
/// requires that each live page is named by exactly one other, or by the meta page: so that no page is left out because
/// the file's own list of free pages is wrong, and the tree need not be walked.
/// The meta page that is believed counts; the other one does not.
/// THREADS  one.
/// </remarks>
internal sealed class LivePages
{
    private readonly string _path;
    private readonly PageBits _free = new();
    private readonly HashSet<uint> _ofChain;
    private readonly PageSet _reached = new();

    private LivePages(string path, MetaPage meta, FreeChainContent chain)
    {
        (_path, Meta) = (path, meta);
        foreach (PageRun run in chain.Runs)
            _free.Add(run.First, run.Count);
        _ofChain = [.. chain.Pages];
        foreach (uint page in chain.Pages)
            Reach(page, meta.Slot);
        if (meta.Root.Page != 0)
            Reach(meta.Root.Page, meta.Slot);
    }

    /// <summary>The meta page that is believed.</summary>
    public MetaPage Meta { get; }

    /// <summary>Reads the meta pages and the free chain of a file that is held still.</summary>
    /// <exception cref="DamageException">The meta page or the chain is not what was written.</exception>
    public static LivePages Of(IFileHandle handle)
    {
        MetaPage meta = DatafileOpening.ChooseMetaPage(handle, expected: null);
        DatafileOpening.RequireLength(handle, meta);
        return new LivePages(handle.Path, meta, FreeChain.Read(handle, meta));
    }

    public bool Contains(uint page) =>
        page < MetaPage.Slots ? page == Meta.Slot : page < Meta.PageCount && !_free.Contains(page);

    /// <summary>Requires that a live page is what was written, and notes the pages that it names.</summary>
    /// <exception cref="DamageException">It is not, or names a page that is free or named already.</exception>
    public unsafe void Require(ReadOnlySpan<byte> bytes, uint number)
    {
        fixed (byte* page = bytes)
        {
            PageGuard.RequireLoaded(_path, page, number, Meta.Generation);
            if (number < MetaPage.Slots)
                return;
            switch (PageLayout.Kind(page))
            {
                case PageKind.Branch:
                    Reach(new BranchPage(page).ChildNumbers, number);
                    break;
                case PageKind.Leaf:
                    ReachValues(new LeafPage(page), number);
                    break;
                case PageKind.Overflow:
                    Reach(OverflowPage.Numbers(page), number);
                    if (PageLayout.FieldA(page) is > 0 and var next)
                        Reach(next, number);
                    break;
                case PageKind.FreeChain when _ofChain.Contains(number):
                    break;
                default:
                    throw PageErrors.TreeInvalid(
                        _path, number, $"is a {PageLayout.Kind(page)} page, and is not free");
            }
        }
    }

    /// <summary>After the last page: each live page was named once.</summary>
    /// <exception cref="DamageException">A page is neither free nor reached.</exception>
    public void RequireAllReached()
    {
        if (_reached.Count == Meta.PageCount - MetaPage.Slots - _free.Count)
            return;
        for (uint page = MetaPage.Slots; page < Meta.PageCount; page++)
        {
            if (Contains(page) && !_reached.Contains(page))
                throw PageErrors.TreeInvalid(_path, page, "is neither reached nor free");
        }
    }

    private void ReachValues(LeafPage leaf, uint number)
    {
        if (!leaf.HasOverflow)
            return;
        for (int row = 0; row < leaf.Count; row++)
        {
            if (leaf.TryOverflow(row, out uint first, out _))
                Reach(first, number);
        }
    }

    private void Reach(ReadOnlySpan<uint> pages, uint by)
    {
        foreach (uint page in pages)
            Reach(page, by);
    }

    private void Reach(uint page, uint by)
    {
        if (page < MetaPage.Slots || !Contains(page))
            throw PageErrors.TreeInvalid(_path, by, $"names page {page}, which is free");
        if (!_reached.Add(page))
            throw PageErrors.TreeInvalid(_path, by, $"names page {page}, which another one names too");
    }
}
