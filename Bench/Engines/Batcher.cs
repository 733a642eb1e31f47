using System.Collections.Concurrent;

namespace Pitr.Bench;

/// <summary>
/// The application-level group commit that every asynchronous peer shares: one thread takes all queued puts, commits
/// them in one durable batch, and completes their tasks.
/// </summary>
internal sealed class Batcher : IDisposable
{
    private readonly ConcurrentQueue<Put> _queue = new();
    private readonly SemaphoreSlim _wake = new(0);
    private readonly Thread _thread;
    private readonly Action<List<Put>> _commit;
    private volatile bool _ended;

    public Batcher(Action<List<Put>> commit)
    {
        _commit = commit;
        _thread = new Thread(Run) { IsBackground = true, Name = "batcher" };
        _thread.Start();
    }

    public ValueTask CommitAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value)
    {
        var put = new Put(key, value);
        _queue.Enqueue(put);
        _wake.Release();
        return new ValueTask(put.Done.Task);
    }

    public void Dispose()
    {
        _ended = true;
        _wake.Release();
        _thread.Join();
        _wake.Dispose();
    }

    private void Run()
    {
        var puts = new List<Put>();
        while (!_ended)
        {
            _wake.Wait();
            while (_wake.CurrentCount > 0 && _wake.Wait(0))
            {
                // one wake-up for all that are queued
            }

            while (_queue.TryDequeue(out Put? put))
                puts.Add(put);
            if (puts.Count == 0)
                continue;
            _commit(puts);
            foreach (Put put in puts)
                put.Done.SetResult();
            puts.Clear();
        }
    }

    internal sealed class Put(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value)
    {
        public ReadOnlyMemory<byte> Key { get; } = key;
        public ReadOnlyMemory<byte> Value { get; } = value;
        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
