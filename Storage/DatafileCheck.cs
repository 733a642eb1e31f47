using System.Globalization;

namespace Pitr.Storage;

/// <summary>What a check of a whole datafile found.</summary>
/// <param name="Meta">The meta page that opening would believe.</param>
/// <param name="Tree">What was found in the tree.</param>
/// <param name="Problems">Everything wrong, the tree's problems included, one sentence each; empty if all is
/// well.</param>
internal sealed record DatafileReport(MetaPage Meta, TreeReport Tree, IReadOnlyList<string> Problems)
{
    public bool IsSound => Problems.Count == 0;
}

/// <summary>
/// Re-reads every page that a datafile's meta page reaches, and requires that every page has exactly one use.
/// </summary>
/// <remarks>
/// What is checked: the meta page; the chain of free pages (F2, F3); the tree (<see cref="TreeCheck"/>); and that each
/// page in [2, page count) is exactly one of: reached by the root, listed as free, of the chain itself.
/// THREADS  one, not inside an epoch. The file may be open elsewhere, if nothing is flushed into it meanwhile.
/// </remarks>
internal static class DatafileCheck
{
    private const int ProblemsMax = 100;

    /// <exception cref="DamageException">No meta page is valid, or the chain of free pages is not what was
    /// written.</exception>
    /// <exception cref="StorageFailedException">The disk could not be read.</exception>
    public static DatafileReport Run(
        DatafileEnvironment environment, string path, CancellationToken cancellation = default)
    {
        using IFileHandle handle = DatafileOpening.OpenHandle(environment.Files, path, FileOpen.Read);
        using PagedFile pages = environment.Cache.OpenFile(handle, path);
        return Run(environment.Epochs, handle, pages, cancellation);
    }

    /// <summary>The same of a file that is open already.</summary>
    /// <exception cref="DamageException">As above.</exception>
    /// <exception cref="StorageFailedException">As above.</exception>
    public static DatafileReport Run(
        EpochTable epochs, IFileHandle handle, IPageSource pages, CancellationToken cancellation)
    {
        MetaPage meta = DatafileOpening.ChooseMetaPage(handle, expected: null);
        DatafileOpening.RequireLength(handle, meta);
        FreeChainContent chain = FreeChain.Read(handle, meta);
        TreeReport tree = CheckTree(epochs, pages, meta.Root, cancellation);
        var problems = new List<string>();
        foreach (TreeProblem problem in tree.Problems)
            problems.Add(problem.ToString());
        CheckUses(meta, tree, chain, problems);
        return new DatafileReport(meta, tree, problems);
    }

    private static TreeReport CheckTree(
        EpochTable epochs, IPageSource pages, TreeRoot root, CancellationToken cancellation)
    {
        EpochHold hold = epochs.Hold();
        try
        {
            return TreeCheck.Run(pages, root, () =>
            {
                hold.Dispose();
                hold = epochs.Hold();
            }, cancellation);
        }
        finally
        {
            hold.Dispose();
        }
    }

    private static void CheckUses(MetaPage meta, TreeReport tree, FreeChainContent chain, List<string> problems)
    {
        var free = new PageBits();
        foreach (PageRun run in chain.Runs)
            free.Add(run.First, run.Count);
        var ofChain = new HashSet<uint>(chain.Pages);
        for (uint page = MetaPage.Slots; page < meta.PageCount && problems.Count < ProblemsMax; page++)
        {
            bool isReached = tree.Reachable.Contains(page);
            bool isFree = free.Contains(page);
            bool isOfChain = ofChain.Contains(page);
            int uses = (isReached ? 1 : 0) + (isFree ? 1 : 0) + (isOfChain ? 1 : 0);
            if (uses == 0)
                problems.Add(string.Create(CultureInfo.InvariantCulture, $"Page {page} is neither reached nor free."));
            else if (uses > 1)
                problems.Add(string.Create(CultureInfo.InvariantCulture,
                    $"Page {page} has more than one use: reached {isReached}, free {isFree}, of the free chain {isOfChain}."));
        }
        if (tree.Reachable.Contains(0) || tree.Reachable.Contains(1))
            problems.Add("The tree reaches a meta page.");
    }
}
