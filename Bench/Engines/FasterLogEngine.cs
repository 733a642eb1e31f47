using FASTER.core;

namespace Pitr.Bench;

/// <summary>
/// FasterLog with batched enqueue and a waiting commit: a log, no index. Its durability is as it ships.
/// </summary>
internal sealed class FasterLogEngine : IBenchEngine
{
    private readonly IDevice _device;
    private readonly FasterLog _log;
    private readonly Batcher _batcher;

    public FasterLogEngine(string folder)
    {
        _device = Devices.CreateLogDevice(Path.Combine(folder, "log"), deleteOnClose: false);
        _log = new FasterLog(new FasterLogSettings { LogDevice = _device, LogCommitDir = folder });
        _batcher = new Batcher(Commit);
    }

    public string Name => "fasterlog";

    public bool IsBlocking => false;

    public void Load()
    {
        // A log has nothing to load.
    }

    public Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer() => _batcher.CommitAsync;

    public Func<byte[], bool> Reader() => throw new NotSupportedException("A log has no index.");

    public long Scan() => throw new NotSupportedException("A log has no index.");

    public void Dispose()
    {
        _batcher.Dispose();
        _log.Dispose();
        _device.Dispose();
    }

    private void Commit(List<Batcher.Put> puts)
    {
        byte[] entry = new byte[Workload.KeyBytes + Workload.ValueBytes];
        foreach (Batcher.Put put in puts)
        {
            put.Key.Span.CopyTo(entry);
            put.Value.Span.CopyTo(entry.AsSpan(put.Key.Length));
            _log.Enqueue(entry);
        }

        _log.Commit(spinWait: true);
    }
}
