namespace Pitr.Storage;

/// <summary>
/// What a page must pass once, when it comes from disk, before anybody is given a pointer to it. Code that reads pages
/// in memory relies on it and checks no offset again.
/// </summary>
internal static unsafe class PageGuard
{
    /// <summary>
    /// Requires checksum, number, generation, and that nothing inside the page points out of it. To be called by the
    /// page source for each page that it loads.
    /// </summary>
    /// <exception cref="DamageException">The page is not what was written.</exception>
    public static void RequireLoaded(string path, byte* page, uint number, ulong rootGeneration)
    {
        var bytes = new ReadOnlySpan<byte>(page, PageLayout.PageBytes);
        ulong computed = PageChecksum.Compute(bytes);
        if (computed != PageLayout.Checksum(page))
            throw PageErrors.Checksum(path, number, PageLayout.Checksum(page), computed);
        if (PageLayout.Number(page) != number)
            throw PageErrors.Misplaced(path, number, PageLayout.Number(page));
        RequireGeneration(path, page, number, rootGeneration);
        RequireStructure(path, page, number);
    }

    /// <summary>
    /// Requires what depends on the root through which a page was reached; also for a page that is cached.
    /// </summary>
    public static void RequireGeneration(string path, byte* page, uint number, ulong rootGeneration)
    {
        if (PageLayout.Generation(page) > rootGeneration)
            throw PageErrors.FromTheFuture(path, number, rootGeneration, PageLayout.Generation(page));
    }

    /// <summary>Requires that all arrays, cells and lengths of a tree's page lie inside of it.</summary>
    public static void RequireStructure(string path, byte* page, uint number)
    {
        switch (PageLayout.Kind(page))
        {
            case PageKind.Meta or PageKind.FreeChain:
                break; // their owners look at them field by field
            case PageKind.Leaf:
                new LeafPage(page).RequireStructure(path, number);
                break;
            case PageKind.Branch:
                new BranchPage(page).RequireStructure(path, number);
                break;
            case PageKind.Overflow:
                OverflowPage.RequireStructure(path, page, number);
                break;
            default:
                throw PageErrors.TreeInvalid(path, number, $"is of the unknown kind {(byte)PageLayout.Kind(page)}");
        }
    }
}
