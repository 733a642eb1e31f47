namespace Pitr.Storage;

/// <summary>What becomes of a datafile that another file takes the place of: at the end of a move, or compacted.</summary>
internal sealed partial class Datafile
{
    /// <summary>Bytes of files that former incarnations keep on the disk for pinned views.</summary>
    private long FormerBytes
    {
        get
        {
            lock (_lock)
                return _kept.OfType<OpenIncarnation>().Sum(static former => former.LengthBytes);
        }
    }

    /// <summary>
    /// Goes on in another file that has the same pages, byte for byte, and the same meta page: the end of a move (H20).
    /// Buffers, cached pages and views stay as they are. The former file is closed, and its lock released, when nobody
    /// can read it any more. The file is held still.
    /// </summary>
    /// <param name="handle">The other file, open for reading and writing; owned from here on.</param>
    /// <param name="fileLock">Its lock.</param>
    /// <param name="takesFormer">
    /// Gets the former file instead of having it closed, on any thread; only if it has no name any more, durably. It must
    /// not throw.
    /// </param>
    public void GoOnIn(IFileHandle handle, IDisposable fileLock, Action<NamelessFile>? takesFormer)
    {
        Invariant.Require(_isStill && _job is null, "D3", "a file that is not held still goes on in another one.");
        _incarnation.GoOnIn(handle, fileLock, takesFormer);
        Environment.Epochs.CollectSoon();
    }

    /// <summary>
    /// Enters another file that has the same rows in other pages, as a flush enters a new root (H42): what is read from
    /// now on is read there, the buffers above it stay. Views that somebody holds keep the former file and its cached
    /// pages; it is closed, and its lock released, when the last of them has ended. The file is held still.
    /// </summary>
    /// <param name="next">Open; owned from here on.</param>
    /// <param name="meta">Its meta page, durable: another incarnation, generation g+1, the same checkpoint LSN.</param>
    /// <param name="takesFormer">As in <see cref="GoOnIn"/>.</param>
    public void Enter(OpenIncarnation next, MetaPage meta, Action<NamelessFile>? takesFormer)
    {
        Invariant.Require(
            _isStill && _job is null && _spillJob is null, "D3", "a file that is not held still is entered anew.");
        Invariant.Require(
            meta.Incarnation != Incarnation && meta.Generation == Generation + 1 && meta.CheckpointLsn == CheckpointLsn
            && meta.Root.Keys == _meta.Root.Keys, "D2", "another file is entered that has not what this one has.");
        OpenIncarnation former = _incarnation;
        next.Pages.WhenDamaged = _whenDamaged;
        former.Pages.WhenDamaged = null; // it is whoever still reads there that meets it, not this file
        former.TakesUnread = takesFormer;
        lock (_lock)
            _kept.Add(former);
        _incarnation = next;
        _meta = meta;
        _views.WaitToClose(former, () => CloseSoon(former));
        _views.Publish(ViewOf(meta));
        Environment.Epochs.CollectSoon();
    }

    /// <summary>
    /// Closes a file beside whoever let go of it: giving gigabytes back takes its time. On whichever thread collects
    /// epochs.
    /// </summary>
    private void CloseSoon(IKeptForReaders file) => Environment.Epochs.Threads.Queue(new KeptEnd(this, file));

    /// <summary>Closes a file that nobody reads any more, unless whoever closes the datafile does.</summary>
    private void CloseKept(IKeptForReaders file)
    {
        lock (_lock)
        {
            if (_disposed || !_kept.Remove(file))
                return;
            _closingKept++;
            _idle.Reset();
        }

        try
        {
            file.Close();
        }
        finally
        {
            lock (_lock)
            {
                if (--_closingKept == 0 && _workers == 0)
                    _idle.Set();
            }
        }
    }

    private sealed class KeptEnd(Datafile datafile, IKeptForReaders file) : IThreadPoolWorkItem
    {
        public void Execute() => datafile.CloseKept(file);
    }
}
