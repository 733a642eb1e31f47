using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What a store does wrong.</summary>
public enum StoreLie
{
    /// <summary>It says no.</summary>
    Fails,

    /// <summary>An object ends before its end.</summary>
    Shorter,

    /// <summary>An object goes on behind its end.</summary>
    Longer,

    /// <summary>An object is not there, though it was put.</summary>
    Loses,
}

/// <summary>
/// The store of a folder, of which one question, counted from the first, gets a wrong answer; or none of them any before
/// somebody lets it go on.
/// </summary>
internal sealed class LyingStore(IArchiveStore store, Func<StoreLie?> next) : IArchiveStore
{
    public string Name => "s3://lying/archive";

    public string Place => Name;

    public void CreateRoot() => store.CreateRoot();

    public void Put(string name, ReadOnlyMemory<byte> content) => store.Put(name, content);

    public void Put(string name, Stream content) => store.Put(name, content);

    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) => store.TryPutIfAbsent(name, content);

    public void Delete(string name) => store.Delete(name);

    public int RemoveStrays() => store.RemoveStrays();

    public ReadOnlyMemory<byte> Get(string name) => TryGet(name) ?? throw ArchiveErrors.ObjectUnknown(Name, name);

    public ReadOnlyMemory<byte>? TryGet(string name)
    {
        StoreLie? lie = Next(name);
        return lie == StoreLie.Loses || store.TryGet(name) is not { } content ? null : Bent(content, lie);
    }

    public Stream OpenRead(string name)
    {
        StoreLie? lie = Next(name);
        if (lie == StoreLie.Loses)
            throw ArchiveErrors.ObjectUnknown(Name, name);
        if (lie is null)
            return store.OpenRead(name);
        return new MemoryStream(Bent(store.Get(name), lie).ToArray(), writable: false);
    }

    public IReadOnlyList<string> List(string prefix)
    {
        StoreLie? lie = Next(prefix);
        IReadOnlyList<string> names = store.List(prefix);
        return lie == StoreLie.Loses ? [.. names.SkipLast(1)] : names;
    }

    public StoredObject? Stat(string name)
    {
        StoreLie? lie = Next(name);
        return (lie, store.Stat(name)) switch
        {
            (StoreLie.Loses, _) or (_, null) => null,
            (StoreLie.Shorter, { } there) => there with { LengthBytes = there.LengthBytes - 1 },
            (StoreLie.Longer, { } there) => there with { LengthBytes = there.LengthBytes + 1 },
            (_, { } there) => there,
        };
    }

    private StoreLie? Next(string name)
    {
        StoreLie? lie = next();
        return lie == StoreLie.Fails ? throw ArchiveErrors.StoreFailed(Name, name, "the service is not available") : lie;
    }

    private static ReadOnlyMemory<byte> Bent(ReadOnlyMemory<byte> content, StoreLie? lie) => lie switch
    {
        StoreLie.Shorter => content.Length == 0 ? content : content[..^1],
        StoreLie.Longer => new byte[][] { content.ToArray(), [0x20] }.SelectMany(part => part).ToArray(),
        _ => content,
    };
}

/// <summary>Opens them: the one of the address <c>s3://lying/archive</c> is the folder /archive of a disk.</summary>
internal sealed class LyingStores(IFileSystem disk) : ArchiveStoreKind("s3")
{
    public const string Address = "s3://lying/archive";

    private int _asked;

    /// <summary>How many questions were asked.</summary>
    public int Asked => Volatile.Read(ref _asked);

    /// <summary>The question that gets the wrong answer; 0: none.</summary>
    public int LiesAt { get; set; }

    public StoreLie Lie { get; set; }

    /// <summary>Called before each answer, with the question's number.</summary>
    public Action<int>? Before { get; set; }

    internal override IArchiveStore Open(StoreAddress address) => new LyingStore(
        ArchiveTestData.Store(disk, RecoveryLab.Archive),
        () =>
        {
            int number = Interlocked.Increment(ref _asked);
            Before?.Invoke(number);
            return number == LiesAt ? Lie : null;
        });
}
