using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// A store in which somebody else does something in the middle of a conditional create; and, if it only looks like one,
/// which makes what is there already (H27).
/// </summary>
/// <param name="inner">The store behind it.</param>
/// <param name="isLookAlike">True: it ignores the condition, and says that it created.</param>
/// <param name="before">What comes before the first create.</param>
/// <param name="after">What comes after it, before anything is read back.</param>
internal sealed class MeddledStore(
    IArchiveStore inner, bool isLookAlike = false, Action? before = null, Action? after = null) : IArchiveStore
{
    private Action? _before = before;
    private Action? _after = after;

    public string Name => inner.Name;

    public string Place => inner.Place;

    public StoreAbilities Abilities => inner.Abilities;

    public void CreateRoot() => inner.CreateRoot();

    public void Put(string name, ReadOnlyMemory<byte> content)
    {
        Do(ref _before);
        inner.Put(name, content);
        Do(ref _after);
    }

    public void Put(string name, Stream content) => inner.Put(name, content);

    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content)
    {
        Do(ref _before);
        bool created = true;
        if (isLookAlike)
            inner.Put(name, content);
        else
            created = inner.TryPutIfAbsent(name, content);
        Do(ref _after);
        return created;
    }

    public ReadOnlyMemory<byte> Get(string name) => inner.Get(name);

    public ReadOnlyMemory<byte>? TryGet(string name) => inner.TryGet(name);

    public Stream OpenRead(string name) => inner.OpenRead(name);

    public IReadOnlyList<string> List(string prefix) => inner.List(prefix);

    public void Delete(string name) => inner.Delete(name);

    public StoredObject? Stat(string name) => inner.Stat(name);

    public int RemoveStrays() => inner.RemoveStrays();

    private static void Do(ref Action? once)
    {
        Action? action = once;
        once = null;
        action?.Invoke();
    }
}

/// <summary>A store that can do less than others, as one of commands or a bucket of another make; not asked for more.</summary>
/// <param name="inner">The store behind it.</param>
/// <param name="abilities">What it can.</param>
internal sealed class LimitedStore(IArchiveStore inner, StoreAbilities abilities) : IArchiveStore
{
    public string Name => inner.Name;

    public string Place => inner.Place;

    public StoreAbilities Abilities => abilities;

    public void CreateRoot() => inner.CreateRoot();

    public void Put(string name, ReadOnlyMemory<byte> content) => inner.Put(name, content);

    public void Put(string name, Stream content) => inner.Put(name, content);

    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) => inner.TryPutIfAbsent(name, content);

    public ReadOnlyMemory<byte> Get(string name) => inner.Get(name);

    public ReadOnlyMemory<byte>? TryGet(string name) => inner.TryGet(name);

    public Stream OpenRead(string name) => inner.OpenRead(name);

    public IReadOnlyList<string> List(string prefix) => abilities.HasFlag(StoreAbilities.Lists)
        ? inner.List(prefix)
        : throw new SimulationFailure($"A store that does not list is asked for '{prefix}' (H27).");

    public void Delete(string name)
    {
        if (!abilities.HasFlag(StoreAbilities.Deletes))
            throw new SimulationFailure($"A store that does not delete is asked to for '{name}' (H27).");
        inner.Delete(name);
    }

    public StoredObject? Stat(string name) => inner.Stat(name);

    public int RemoveStrays() => inner.RemoveStrays();
}
