namespace Pitr.Wal;

/// <summary>
/// Stores that do not tell what is in them: WAL goes there, and comes back by its name, but nothing can be planned with it.
/// </summary>
internal static class StoreListing
{
    /// <summary>True if the store tells what is in it.</summary>
    public static bool Lists(this IArchiveStore store) => store.Abilities.HasFlag(StoreAbilities.Lists);

    /// <summary>Those that tell what is in them.</summary>
    public static IEnumerable<IArchiveStore> ThatList(this IEnumerable<IArchiveStore> stores) => stores.Where(Lists);

    /// <summary>What is to be said of each that does not.</summary>
    public static IEnumerable<string> LeftOut(this IEnumerable<IArchiveStore> stores) =>
        stores.Where(static store => !store.Lists()).Select(LeftOut);

    /// <summary>What is to be said of one that does not.</summary>
    public static string LeftOut(IArchiveStore store) =>
        $"Archive store '{store.Name}' is left out: it does not tell what is in it (a store of commands needs 'list').";
}
