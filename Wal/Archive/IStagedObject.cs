namespace Pitr.Wal;

/// <summary>An object on its way into a store, without a name: nobody sees it. Disposing of it leaves nothing.</summary>
/// <remarks>THREADS  one at a time.</remarks>
internal interface IStagedObject : IDisposable
{
    /// <summary>Gives it its name if there is none of that name; false if there is (IArchiveStore S2, S3).</summary>
    bool TryPublish();
}

/// <summary>Of a store that writes an object and gives it its name in one: kept until then.</summary>
internal sealed class UnwrittenObject(IArchiveStore store, string name, ReadOnlyMemory<byte> content) : IStagedObject
{
    public bool TryPublish() => store.TryPutIfAbsent(name, content);

    public void Dispose()
    {
        // Nothing was written.
    }
}
