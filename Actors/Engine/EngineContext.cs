using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// What the parts of one engine share: its settings, seams and the few published values that readers and committers
/// look at without a message. Everything else travels in messages.
/// </summary>
/// <remarks>
/// THREADS  <see cref="Catalogue"/> is replaced only by the ControlFileActor, <see cref="DurableLsn"/> and
/// <see cref="LastChangeLsn"/> moved only by WalWriter, a slot's file and state set only by its DatafileActor; anybody
/// reads.
/// </remarks>
internal sealed class EngineContext
{
    private ulong _durable;
    private ulong _redo;
    private ulong _lastChange;
    private double _fillAtLastGroup = 1; // nothing is known yet: look
    private CatalogueView _catalogue = CatalogueView.Empty;
    private Problem? _archiveBehind;
    private Problem? _walKept;
    private Problem? _diskLow;
    private IReadOnlyList<DiskStatus> _disks = [];
    private IReadOnlyList<ScheduleStatus> _schedules = [];
    private string? _archiveLeft;
    private OutsideFiles? _outside;

    public required string Folder { get; init; }
    public required PitrOptions Options { get; init; }
    public required IFileSystem FileSystem { get; init; }
    public required TimeProvider Clock { get; init; }

    /// <summary>Draws a random number that is not 0.</summary>
    public required Func<ulong> Draw { get; init; }

    public required DatafileEnvironment Environment { get; init; }
    public required CommitIntake Intake { get; init; }
    public required IWorkers Workers { get; init; }

    /// <summary>Commits that wait for the archive; null: none does.</summary>
    public ArchiveWait? ArchiveWait { get; init; }

    /// <summary>Opens archive stores by their addresses.</summary>
    public required StoreFactory Stores { get; init; }

    /// <summary>How a worker waits.</summary>
    public required Action<TimeSpan> Pause { get; init; }
    public required VisibilityTracker Visibility { get; init; }

    /// <summary>What is counted and timed.</summary>
    public required EngineMetrics Metrics { get; init; }

    /// <summary>
    /// Whose the files outside of the folder are. Set by the opening, and by its replay before anybody else can ask.
    /// </summary>
    public OutsideFiles Outside
    {
        get => Volatile.Read(ref _outside) ?? throw new BugException("Nobody has opened the database yet.");
        set => Volatile.Write(ref _outside, value);
    }

    public FileSlots Slots { get; } = new();
    public OpenSnapshots Snapshots { get; } = new();

    /// <summary>What was opened and is on its way to its owner.</summary>
    public HandOver HandOver { get; } = new();
    public PacedWriter PacedWriter => Environment.Writer;
    public EpochTable Epochs => Environment.Epochs;
    public IThreads Threads => Environment.Epochs.Threads;

    /// <summary>
    /// Gives the memory back, but what was given with the options: it may serve other engines. All is closed.
    /// </summary>
    public void ReleaseMemory()
    {
        if (Options.Environment is null)
            Environment.Dispose();
    }

    /// <summary>Bytes of changes that are not yet in the datafiles, at which commits wait.</summary>
    public required long WriteBufferBytesMax { get; init; }

    /// <summary>The end of what is synced.</summary>
    public Lsn DurableLsn
    {
        get => new(Volatile.Read(ref _durable));
        set => Volatile.Write(ref _durable, value.Value);
    }

    /// <summary>Where a replay would begin to read. Set by the supervisor at the opening, then by the Checkpointer.</summary>
    public Lsn RedoLsn
    {
        get => new(Volatile.Read(ref _redo));
        set => Volatile.Write(ref _redo, value.Value);
    }

    /// <summary>Why commits are refused at this moment; null while they are taken.</summary>
    public Problem? WhyCommitsAreRefused =>
        Intake.ClosedWhy is { } closed ? Problem.From(closed) : ArchiveBehind ?? WalKept ?? DiskLow;

    /// <summary>
    /// The last record that changed data or the catalogue: heartbeats and checkpoints behind it ask for no checkpoint.
    /// </summary>
    public Lsn LastChangeLsn
    {
        get => new(Volatile.Read(ref _lastChange));
        set => Volatile.Write(ref _lastChange, value.Value);
    }

    /// <summary>
    /// Why commits are refused: a store lacks more WAL than it may; null if none does. Set by the Archiver.
    /// </summary>
    public Problem? ArchiveBehind
    {
        get => Volatile.Read(ref _archiveBehind);
        set => Volatile.Write(ref _archiveBehind, value);
    }

    /// <summary>
    /// Why commits are refused: a file that can't be flushed needs more WAL than may be kept. Set by the Checkpointer.
    /// </summary>
    public Problem? WalKept
    {
        get => Volatile.Read(ref _walKept);
        set => Volatile.Write(ref _walKept, value);
    }

    /// <summary>
    /// Why commits are refused: a disk has less room than stopping and starting again may need. Set by the Checkpointer.
    /// </summary>
    public Problem? DiskLow
    {
        get => Volatile.Read(ref _diskLow);
        set => Volatile.Write(ref _diskLow, value);
    }

    /// <summary>The room on the disks at the last look; empty if nobody has looked. Set by the Checkpointer.</summary>
    public IReadOnlyList<DiskStatus> Disks
    {
        get => Volatile.Read(ref _disks);
        set => Volatile.Write(ref _disks, value);
    }

    /// <summary>What is done at times of its own; empty if nothing is. Set by the host that does it.</summary>
    public IReadOnlyList<ScheduleStatus> Schedules
    {
        get => Volatile.Read(ref _schedules);
        set => Volatile.Write(ref _schedules, value);
    }

    /// <summary>What the orderly shutdown could not ship, in words; null if nothing. Set by the supervisor.</summary>
    public string? ArchiveLeft
    {
        get => Volatile.Read(ref _archiveLeft);
        set => Volatile.Write(ref _archiveLeft, value);
    }

    /// <summary>
    /// How full the buffers were when the last group was published: for a first look that costs nothing. Set by
    /// WalWriter.
    /// </summary>
    public double FillAtLastGroup
    {
        get => Volatile.Read(ref _fillAtLastGroup);
        set => Volatile.Write(ref _fillAtLastGroup, value);
    }

    /// <summary>How much of what may be in memory and not in the files is: 1 and above, and commits wait.</summary>
    public double Fill
    {
        get
        {
            long underWay = Intake.Bytes + Visibility.Bytes;
            return Math.Max(
                (double)(Slots.BufferedBytes + underWay) / WriteBufferBytesMax, (double)underWay / Intake.BytesMax);
        }
    }

    /// <summary>The tables and files as of the newest durable change of them.</summary>
    public CatalogueView Catalogue
    {
        get => Volatile.Read(ref _catalogue);
        set => Volatile.Write(ref _catalogue, value);
    }

    /// <summary>
    /// WalWriter, with the stamp of a drop: no later record may touch the table, whatever the ControlFileActor has done
    /// yet (H43).
    /// </summary>
    public void ForgetTable(TableId table) => Catalogue = Catalogue.Without(table);
}
