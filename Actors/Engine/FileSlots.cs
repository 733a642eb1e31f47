using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>One datafile as readers see it: the open file, or why there is none.</summary>
/// <remarks>
/// Set by the file's DatafileActor, read by anybody; the file is published before the state that allows reads.
/// </remarks>
internal sealed class FileSlot(FileId id, string name)
{
    private Datafile? _file;
    private Datafile? _former;
    private Problem? _why;
    private long _fencedAt;
    private int _state = (int)DatafileState.Recovering;

    public FileId Id { get; } = id;
    public string Name { get; } = name;

    /// <summary>The open file; null while it can't be read.</summary>
    public Datafile? File
    {
        get => Volatile.Read(ref _file);
        set => Volatile.Write(ref _file, value);
    }

    public DatafileState State
    {
        get => (DatafileState)Volatile.Read(ref _state);
        set => Volatile.Write(ref _state, (int)value);
    }

    /// <summary>
    /// The last one that its owner let go: it may still be closing, on a worker (H13). Null if there was none.
    /// </summary>
    public Datafile? Former
    {
        get => Volatile.Read(ref _former);
        set => Volatile.Write(ref _former, value);
    }

    /// <summary>
    /// When the file was last fenced and had not been, as the clock's timestamp: since then it is held, if it is held.
    /// </summary>
    public long FencedAt
    {
        get => Volatile.Read(ref _fencedAt);
        set => Volatile.Write(ref _fencedAt, value);
    }

    /// <summary>Why it can't be read, or takes no commits.</summary>
    public Problem? Why
    {
        get => Volatile.Read(ref _why);
        set => Volatile.Write(ref _why, value);
    }

    /// <summary>The file, or the typed error that says why it can't be read.</summary>
    public Datafile Readable => File ?? throw (Why?.ToException() ?? EngineErrors.DatafileRecovering(Name));
}

/// <summary>
/// The slots of an engine by file id: an array that is replaced when a file is added, so that a read is two loads.
/// </summary>
internal sealed class FileSlots
{
    private readonly Lock _gate = new();
    private FileSlot?[] _slots = new FileSlot?[8];

    public FileSlot Of(FileId file) => TryOf(file) ?? throw EngineErrors.DatafileUnknown(file);

    public FileSlot? TryOf(FileId file)
    {
        FileSlot?[] slots = Volatile.Read(ref _slots);
        return file.Value < slots.Length ? slots[file.Value] : null;
    }

    public IEnumerable<FileSlot> All => Volatile.Read(ref _slots).OfType<FileSlot>();

    public FileSlot Add(FileId file, string name)
    {
        var slot = new FileSlot(file, name);
        Set(file, slot);
        return slot;
    }

    public void Remove(FileId file) => Set(file, null);

    /// <summary>
    /// Bytes of changes that are not yet in the files, and will be: what an offline file holds for its readers gets no
    /// more, and the commits of the others do not wait for it.
    /// </summary>
    public long BufferedBytes => BytesWhere(static state => state != DatafileState.Offline);

    /// <summary>Of them those that a checkpoint brings into the files.</summary>
    public long FlushableBytes => BytesWhere(static state => state is DatafileState.Open or DatafileState.Flushing);

    /// <summary>Of them those that wait for the end of a fence.</summary>
    public long FencedBytes => BytesWhere(static state => state == DatafileState.Fenced);

    /// <summary>The fenced file that buffers most; null if none is fenced.</summary>
    public FileSlot? LargestFenced => All
        .Where(static slot => slot.State == DatafileState.Fenced)
        .MaxBy(static slot => slot.File?.BufferedBytes ?? 0);

    /// <summary>Memory of write buffers whose changes are in the files, kept for snapshots alone.</summary>
    public long BytesKeptForSnapshots
    {
        get
        {
            long bytes = 0;
            foreach (FileSlot? slot in Volatile.Read(ref _slots))
                bytes += slot?.File?.BytesKeptForViews ?? 0;
            return bytes;
        }
    }

    private long BytesWhere(Func<DatafileState, bool> counts)
    {
        long bytes = 0;
        foreach (FileSlot? slot in Volatile.Read(ref _slots))
        {
            if (slot is not null && counts(slot.State))
                bytes += slot.File?.BufferedBytes ?? 0;
        }

        return bytes;
    }

    private void Set(FileId file, FileSlot? slot)
    {
        lock (_gate)
        {
            var slots = new FileSlot?[Math.Max(_slots.Length, (int)file.Value + 8)];
            _slots.CopyTo(slots, 0);
            slots[file.Value] = slot;
            Volatile.Write(ref _slots, slots);
        }
    }
}
