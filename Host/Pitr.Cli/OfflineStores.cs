using Pitr.Actors;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>Stores that a verb reads by itself, without an engine.</summary>
internal static class OfflineStores
{
    /// <summary>The store at an address that is full already; the tar of a set, too.</summary>
    /// <param name="address">Where it is.</param>
    /// <param name="stores">Which commands, and which key, there are: <see cref="StoreKinds.OptionsOf"/>.</param>
    public static IArchiveStore Open(string address, PitrOptions stores) =>
        StoreFactory.Of(stores).OpenToRead(StoreAddress.Parse(address, "/"));
}
