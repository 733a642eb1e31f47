using System.Text.Json;

namespace Pitr.Wal;

/// <summary>
/// Whose archive a store holds: written once when the store is set up, checked by every engine start.
/// </summary>
/// <remarks>
/// It tells an empty mount point from the archive that should be mounted there, and another database's archive from
/// one's own. Setting up also probes that the store honours conditional creates: without them no claim, without a claim
/// no push (H27).
/// </remarks>
/// <param name="System">The database.</param>
/// <param name="StoreId">Random.</param>
/// <param name="Created">When it was set up.</param>
internal sealed record ArchiveIdentity(SystemIdentifier System, ulong StoreId, DateTimeOffset Created)
{
    private const int Format = 1;

    /// <summary>Makes an empty store the archive of a database; nothing happens if it is already.</summary>
    /// <exception cref="RefusedException">ForeignSystem, StoreWithoutClaims.</exception>
    public static ArchiveIdentity SetUp(
        IArchiveStore store, SystemIdentifier system, Func<ulong> random, DateTimeOffset now)
    {
        if (store.Abilities.HasFlag(StoreAbilities.Claims))
            Probe(store, random());
        var mine = new ArchiveIdentity(system, random(), now);
        store.TryPutIfAbsent(ObjectName.Identity, mine.Encode());
        return Check(store, system);
    }

    /// <summary>What the store says; null if it was never set up.</summary>
    public static ArchiveIdentity? Read(IArchiveStore store) =>
        store.TryGet(ObjectName.Identity) is { } bytes ? Decode(store.Name, bytes.Span) : null;

    /// <summary>That the store is the archive of this database.</summary>
    /// <exception cref="StorageFailedException">StoreFailed: it was never set up, or something else is mounted
    /// there.</exception>
    /// <exception cref="RefusedException">ForeignSystem.</exception>
    public static ArchiveIdentity Check(IArchiveStore store, SystemIdentifier system)
    {
        ArchiveIdentity found = Read(store)
            ?? throw ArchiveErrors.StoreFailed(store.Name, ObjectName.Identity, "it is no archive, or is not mounted");
        return found.System == system ? found : throw ArchiveErrors.ForeignSystem(store.Name, system, found.System);
    }

    private static void Probe(IArchiveStore store, ulong id)
    {
        string name = $"probe-{id:X16}";
        byte[] first = [1, .. BitConverter.GetBytes(id)];
        byte[] second = [2, .. BitConverter.GetBytes(id)];
        try
        {
            bool created = store.TryPutIfAbsent(name, first);
            bool again = store.TryPutIfAbsent(name, second);
            if (!created || again || !store.Get(name).Span.SequenceEqual(first))
                throw ArchiveErrors.WithoutClaims(store.Name);
        }
        finally
        {
            store.Delete(name);
        }
    }

    private ReadOnlyMemory<byte> Encode() => SealedText.Seal(JsonSerializer.SerializeToUtf8Bytes(
        new IdentityJson
        {
            Format = Format,
            System = System.ToString(),
            Store = StoreId.ToString("X16", null),
            Created = ArchiveJson.Text(Created),
        }, ArchiveJson.Default.IdentityJson));

    private static ArchiveIdentity Decode(string store, ReadOnlySpan<byte> bytes) => ArchiveJson.Read(
        store, ObjectName.Identity, bytes, ArchiveJson.Default.IdentityJson, Format, static json => json.Format,
        static json => new ArchiveIdentity(
            new SystemIdentifier(ArchiveJson.Id(json.System)), ArchiveJson.Id(json.Store),
            ArchiveJson.Time(json.Created)));
}
