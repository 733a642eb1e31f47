using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// The one way in which a database writes in bulk (flush, move, backup, spill, new segments), so that the WAL's syncs
/// stay fast beside it.
/// </summary>
/// <remarks>
/// POLICY
/// <code>
///   chunk                   at most 1 MiB (256 KiB below 64 MiB/s), each followed by StartWriteback
///   in flight               beside commits two chunks, and none while the rate makes the next one wait: a sync of the
///                           WAL waits for no more, whatever the rate; without commits 8 MiB
///   before a sync           at most 8 MiB per file beside commits, 256 MiB without: what the disk may still have in a
///                           cache of its own, and the next sync of the WAL may have to wait for
///   rate                    <see cref="BulkRate"/>'s
///   giving room back        16 MiB at a time, which counts as a chunk; of a file that can wait, one each 125 ms
///   urgent                  new WAL segments, for which commits wait: written at once, and no part of the rate
/// </code>
/// What is urgent is not booked either: the WAL's own bandwidth passes through here once more as new segments, and a
/// low rate would owe it more than it pays off, so that what is paced would never come.
///
/// INVARIANTS
///   W1  After a write-back or a sync of a handle failed, nothing is written to it or synced any more (H11): Linux may
///       have dropped the dirty pages and would report success the second time.
///
/// THREADS  any; one handle is written by one thread at a time. No lock is held during I/O.
/// FAILURE  as the handle's; no room on the disk (DiskFull) in a write leaves the handle usable.
/// </remarks>
internal sealed class PacedWriter
{
    public const int ChunkBytesMax = 1 << 20;
    public const int ChunkBytesSlow = 256 << 10;
    public const long DirtyBytesMax = 8L << 20;
    public const long DirtyBytesMaxAlone = 256L << 20;
    public const long CutBytesDefault = 16L << 20;

    /// <summary>What one step of a file that is not wanted any more takes beside commits: 128 MiB/s.</summary>
    public static readonly TimeSpan CutStep = TimeSpan.FromMilliseconds(125);

    private const int ChunksInFlight = 2;
    private const int InFlightBytesAlone = 8 << 20;
    private const double SlowBelow = 64.0 * (1 << 20);

    private readonly Action<TimeSpan> _delay;
    private readonly BulkRate _rate;
    // as long as anybody holds the handle
    private readonly ConditionalWeakTable<IFileHandle, HandleState> _handles = [];

    /// <param name="clock">The time.</param>
    /// <param name="delay">Waits; called without locks.</param>
    /// <param name="fillOfBuffers">How full the write buffers are, 1 being full; null: empty.</param>
    public PacedWriter(TimeProvider clock, Action<TimeSpan> delay, Func<double>? fillOfBuffers = null) =>
        (_delay, _rate) = (delay, new BulkRate(clock, fillOfBuffers ?? (static () => 0)));

    /// <summary>A file that is not wanted any more and is longer gives its room back in steps of so many bytes.</summary>
    public long CutBytes { get; init; } = CutBytesDefault;

    /// <summary>The present limit in bytes per second; infinity is none.</summary>
    public double BytesPerSecond => _rate.BytesPerSecond;

    /// <summary>A sync of the WAL was reported within the last second.</summary>
    public bool CommitsGoOn => _rate.CommitsGoOn;

    /// <summary>Writes bytes in chunks, at the pace that the WAL allows.</summary>
    public void Write(IFileHandle handle, long offset, ReadOnlySpan<byte> bytes)
    {
        HandleState state = StateOf(handle);
        while (!bytes.IsEmpty)
        {
            int length = AwaitTurn(handle, state, bytes.Length);
            int written = 0;
            try
            {
                handle.Write(offset, bytes[..length]);
                written = length;
                WriteBack(handle, state, offset, length);
            }
            finally
            {
                _rate.End(written);
            }

            offset += length;
            bytes = bytes[length..];
        }
    }

    /// <summary>Copies a range of another file to the same place, in chunks, at the pace that the WAL allows.</summary>
    /// <returns>The bytes copied: fewer than asked for only if the other file ends before.</returns>
    public long Copy(IFileHandle origin, IFileHandle handle, long offset, long lengthBytes)
    {
        HandleState state = StateOf(handle);
        long done = 0;
        while (done < lengthBytes)
        {
            int length = AwaitTurn(handle, state, lengthBytes - done);
            int copied = 0;
            try
            {
                copied = (int)handle.CopyFrom(origin, offset + done, length);
                if (copied > 0)
                    WriteBack(handle, state, offset + done, copied);
            }
            finally
            {
                _rate.End(copied);
            }

            done += copied;
            if (copied < length)
                break;
        }

        return done;
    }

    /// <summary>Writes what commits will wait for: in chunks, but not paced.</summary>
    public void WriteUrgent(IFileHandle handle, long offset, ReadOnlySpan<byte> bytes)
    {
        HandleState state = StateOf(handle);
        while (!bytes.IsEmpty)
        {
            int length = Math.Min(bytes.Length, ChunkBytesMax);
            RequireUsable(handle, state);
            handle.Write(offset, bytes[..length]);
            WriteBack(handle, state, offset, length);
            offset += length;
            bytes = bytes[length..];
        }
    }

    /// <summary>
    /// Gives the room of a file back that nobody needs any more, from its end, in steps of <see cref="CutBytes"/>. A file
    /// that is no longer than one step is left as it is.
    /// </summary>
    /// <param name="handle">The file.</param>
    /// <param name="lengthBytes">How long it is.</param>
    /// <param name="step">Beside commits each step takes at least so long.</param>
    /// <param name="ended">Ends it between two steps.</param>
    public void Cut(IFileHandle handle, long lengthBytes, TimeSpan step, CancellationToken ended)
    {
        while (lengthBytes > CutBytes && !ended.IsCancellationRequested)
        {
            _rate.Decide();
            TimeSpan wait = _rate.Book(ChunkBytesMax); // keeps the disk as busy as writing about so much
            if (!_rate.IsAlone && wait < step)
                wait = step;
            if (wait > TimeSpan.Zero)
                _delay(wait);
            lengthBytes -= CutBytes;
            _rate.Begin();
            try
            {
                handle.SetLength(lengthBytes);
            }
            finally
            {
                _rate.End(0);
            }
        }
    }

    /// <summary>Makes all that was written to the handle durable.</summary>
    public void Sync(IFileHandle handle)
    {
        _rate.Begin();
        try
        {
            Sync(handle, StateOf(handle));
        }
        finally
        {
            _rate.End(0);
        }
    }

    /// <summary>True if a write-back or sync of the handle failed.</summary>
    public bool HasFailed(IFileHandle handle) => StateOf(handle).Failed;

    /// <summary>Forgets a handle that is about to be closed.</summary>
    public void Forget(IFileHandle handle) => _handles.Remove(handle);

    /// <summary>How long a sync of the WAL took. Called by the WAL's owner after each.</summary>
    public void ReportWalSync(TimeSpan took) => _rate.ReportWalSync(took);

    /// <summary>Waits until the next chunk may be written, and begins it; returns its length.</summary>
    private int AwaitTurn(IFileHandle handle, HandleState state, long leftBytes)
    {
        RequireUsable(handle, state);
        int length = (int)Math.Min(leftBytes, _rate.Decide() < SlowBelow ? ChunkBytesSlow : ChunkBytesMax);
        TimeSpan wait = _rate.Book(length);
        _rate.Begin();
        if (wait <= TimeSpan.Zero)
            return length;
        try
        {
            AwaitStarted(handle, state, chunks: 0); // nothing is in flight while it waits
        }
        finally
        {
            _rate.End(0);
        }

        _delay(wait);
        _rate.Begin();
        return length;
    }

    private void WriteBack(IFileHandle handle, HandleState state, long offset, int length)
    {
        RunSync(state, () => handle.StartWriteback(offset, length));
        state.Started.Enqueue((offset, length));
        AwaitStarted(handle, state, (_rate.IsAlone ? InFlightBytesAlone / length : ChunksInFlight) - 1);
        state.DirtyBytes += length;
        if (state.DirtyBytes >= (_rate.IsAlone ? DirtyBytesMaxAlone : DirtyBytesMax))
            Sync(handle, state);
    }

    /// <summary>Until at most so many chunks are in flight.</summary>
    private static void AwaitStarted(IFileHandle handle, HandleState state, int chunks)
    {
        while (state.Started.Count > chunks)
        {
            (long offset, long length) = state.Started.Dequeue();
            RunSync(state, () => handle.AwaitWriteback(offset, length));
        }
    }

    private HandleState StateOf(IFileHandle handle) => _handles.GetValue(handle, static _ => new HandleState());

    private static void Sync(IFileHandle handle, HandleState state)
    {
        RequireUsable(handle, state);
        RunSync(state, handle.SyncData);
        state.Started.Clear();
        state.DirtyBytes = 0;
    }

    private static void RunSync(HandleState state, Action sync)
    {
        try
        {
            sync();
        }
        catch
        {
            state.Failed = true;
            throw;
        }
    }

    private static void RequireUsable(IFileHandle handle, HandleState state)
    {
        if (state.Failed)
            throw PacedWriterErrors.SyncFailedBefore(handle.Path);
    }

    private sealed class HandleState
    {
        public readonly Queue<(long Offset, long LengthBytes)> Started = [];
        public long DirtyBytes;
        public volatile bool Failed;
    }
}

/// <summary>The failures that bulk writing adds to those of the disk.</summary>
internal static class PacedWriterErrors
{
    public static StorageFailedException SyncFailedBefore(string path) =>
        new(ErrorCode.FileOperationFailed,
            $"'{path}' is not written any more, because an earlier sync of it failed.",
            "Look at the disk, then open the file again or write a new one.")
        { Path = path };
}
