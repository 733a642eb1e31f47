using System.Collections.Concurrent;

namespace Pitr.Wal;

/// <summary>
/// What one engine start has found out about one store. It outlives the shippers, of which there are several if the
/// store is removed and added again, or the actor that drives them is made anew. THREADS  any.
/// </summary>
internal sealed class StoreStanding(OwnerWatch owners)
{
    private Branch? _entered;

    /// <summary>What was seen of owners from another boot (H26).</summary>
    public OwnerWatch Owners => owners;

    /// <summary>
    /// True if this start has entered the store with this branch: it found the store not ahead of the log, so what is there
    /// above the end that the log had then is its own (H7).
    /// </summary>
    public bool HasEntered(Lineage lineage) => Volatile.Read(ref _entered)?.Lineage == lineage;

    /// <summary>Notes that this start may push the branch there.</summary>
    public void Enter(Lineage lineage) => Volatile.Write(ref _entered, new Branch(lineage));

    private sealed record Branch(Lineage Lineage);
}

/// <summary>The standing of one engine start in each store, by its place. THREADS  any.</summary>
internal sealed class StoreStandings(TimeProvider clock, OwnerNotes notes)
{
    private readonly ConcurrentDictionary<string, StoreStanding> _byPlace = new(StringComparer.Ordinal);

    /// <summary>That in a store, however its address was written.</summary>
    public StoreStanding In(IArchiveStore store) =>
        _byPlace.GetOrAdd(store.Place, place => new StoreStanding(new OwnerWatch(clock, notes, place)));
}
