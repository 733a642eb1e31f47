using Pitr.Actors;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>Stores that a verb reads by itself, without an engine.</summary>
internal static class OfflineStores
{
    /// <summary>The store at an address that is full already; the tar of a set, too.</summary>
    public static IArchiveStore Open(string address) =>
        StoreFactory.Of(StoreKinds.Options).OpenToRead(StoreAddress.Parse(address, "/"));
}
