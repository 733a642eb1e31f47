namespace Pitr.Storage;

/// <summary>
/// Finds keys in the tree below one root. Allocates nothing; checks nothing that <see cref="PageGuard"/> has
/// required.
/// </summary>
/// <remarks>
/// THREADS  any number, each inside an epoch; a root's pages do not change.
/// FAILURE  a page of another kind or level than the height asks for is a <see cref="DamageException"/>; the height
/// bounds every descent, whatever the pages say.
/// </remarks>
internal static unsafe class BTree
{
    /// <summary>Looks a key up.</summary>
    /// <param name="source">The pages.</param>
    /// <param name="root">The root.</param>
    /// <param name="key">The whole key, table id first.</param>
    /// <param name="value">Its value; valid until the caller's epoch ends.</param>
    /// <exception cref="DamageException">A page on the way is not what was written.</exception>
    public static bool TryGet(IPageSource source, in TreeRoot root, ReadOnlySpan<byte> key, out ValueRef value)
    {
        if (root.Height != 0)
        {
            uint number = root.Page;
            for (int level = root.Height - 1; level > 0; level--)
            {
                BranchPage branch = BranchPage.Require(source, source.Page(number, root.Generation), number, level);
                number = branch.Child(branch.ChildIndex(key));
            }
            byte* page = source.Page(number, root.Generation);
            KeySlots.Approach(page);
            LeafPage leaf = LeafPage.Require(source, page, number);
            int row = leaf.LowerBound(key, out bool exact);
            if (exact)
            {
                value = leaf.Value(row, source, root.Generation);
                return true;
            }
        }
        value = default;
        return false;
    }
}
