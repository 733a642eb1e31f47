namespace Pitr.Bench;

/// <summary>A store under measurement. Commits are durable when their task completes.</summary>
internal interface IBenchEngine : IDisposable
{
    string Name { get; }

    /// <summary>True if one commit blocks its thread: then each writer gets a thread of its own.</summary>
    bool IsBlocking { get; }

    /// <summary>Puts all keys in, however fast.</summary>
    void Load();

    /// <summary>One writer's way to commit single puts; used by one writer at a time.</summary>
    Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer();

    /// <summary>One thread's way to get: true if the key was there.</summary>
    Func<byte[], bool> Reader();

    /// <summary>Reads everything in key order and returns the rows.</summary>
    long Scan();
}
