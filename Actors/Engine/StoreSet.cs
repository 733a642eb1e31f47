using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>The archive stores of an engine that runs: some may be added, and some removed.</summary>
/// <remarks>
/// THREADS  changed by the Archiver only; anybody reads. Who works with them for longer (a backup) takes the list once.
/// </remarks>
internal sealed class StoreSet(IReadOnlyList<IArchiveStore> stores)
{
    private IReadOnlyList<IArchiveStore> _now = stores;

    public IReadOnlyList<IArchiveStore> Now => Volatile.Read(ref _now);

    public void Add(IArchiveStore store) => Volatile.Write(ref _now, [.. _now, store]);

    public void Remove(IArchiveStore store) => Volatile.Write(ref _now, [.. _now.Where(one => one != store)]);
}
