using Akka.Actor;

namespace Pitr;

/// <summary>How a database is opened. Every default is meant to be right for a service on a small machine.</summary>
public sealed record PitrOptions
{
    /// <summary>
    /// WAL segment file size in bytes, fixed when the database is created: a multiple of 4096 from 64 KiB. Default 16
    /// MiB.
    /// </summary>
    public int WalSegmentBytes { get; init; } = 16 << 20;

    /// <summary>
    /// Memory for write buffers and cached pages together, in bytes; at least 16 MiB. The default is a quarter of the
    /// memory that the process may use, at least 64 MiB and at most 4 GiB.
    /// </summary>
    public long MemoryBudgetBytes { get; init; } =
        Math.Clamp(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4, 64L << 20, 4L << 30);

    /// <summary>
    /// Bytes of changes not yet in the datafiles at which commits wait. From half of it they are delayed in proportion.
    /// Null: half of <see cref="MemoryBudgetBytes"/>.
    /// </summary>
    public long? WriteBufferBytesMax { get; init; }

    /// <summary>A checkpoint begins after so many bytes of WAL. Default 256 MiB.</summary>
    public long CheckpointWalBytes { get; init; } = 256L << 20;

    /// <summary>A checkpoint begins at the latest after so long, if there were changes. Default 5 minutes.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// A heartbeat record is logged when nothing else was for so long (six times as long after ten idle minutes).
    /// Default 10 s.
    /// </summary>
    public TimeSpan HeartbeatInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// A segment in use is switched after so long, so that the archive gets it whole. Default 1 hour.
    /// </summary>
    public TimeSpan SegmentAgeMax { get; init; } = TimeSpan.FromHours(1);

    /// <summary>
    /// The longest that the end of the engine waits for the archive, and then for backups and moves which it has ended to
    /// remove what they had begun. Default 60 s.
    /// </summary>
    public TimeSpan ArchiveShutdownWait { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// WAL that an archive store may lack, in bytes, before <see cref="ArchiveLagChoice"/> is carried out. Null: what
    /// <c>pitr.json</c> says, or 16 GiB.
    /// </summary>
    public long? ArchiveLagBytesMax { get; init; }

    /// <summary>
    /// Finished WAL segments that are shipped to a store side by side, from 1 to 16, when several wait; each takes about
    /// three times its size of memory on its way. Default: one more than there are processors, at most 4.
    /// </summary>
    public int ArchiveSegmentsAtOnce { get; init; } = Math.Min(4, System.Environment.ProcessorCount + 1);

    /// <summary>
    /// A commit completes only when every store has it, read back, and waits for that at most so long; then it fails with
    /// CommitNotArchived, although it is durable and visible. Null, the default: commits do not wait for the archive.
    /// Stores of commands that take finished segments only are not waited for.
    /// </summary>
    public TimeSpan? ArchiveCommitWait { get; init; }

    /// <summary>
    /// What happens when a store lacks more than <see cref="ArchiveLagBytesMax"/>. Null: what <c>pitr.json</c> says, or
    /// <see cref="Pitr.ArchiveLagChoice.RefuseCommits"/>.
    /// </summary>
    public ArchiveLagChoice? ArchiveLagChoice { get; init; }

    /// <summary>
    /// WAL kept for a file that is fenced, offline or in need of recovery, in bytes, before its fences are broken (of
    /// several files first those of the one that has been held longest), or <see cref="KeptWalChoice"/> is carried out.
    /// Also for a set of pgtar, which is let go then, a backup, which reads it from the archive, or fails if there is none,
    /// and a recovery of one datafile that has stood still for ten minutes, which fails. Default 16 GiB.
    /// </summary>
    public long FencedWalBytesMax { get; init; } = 16L << 30;

    /// <summary>
    /// What happens at <see cref="FencedWalBytesMax"/> if the file that needs most is offline or needs recovery. Default:
    /// <see cref="Pitr.KeptWalChoice.RefuseCommits"/>.
    /// </summary>
    public KeptWalChoice KeptWalChoice { get; init; }

    /// <summary>
    /// Room, in bytes, that commits leave free on the disk of the WAL, so that the engine can stop and start again cleanly;
    /// what a flush of the buffered changes may need comes on top, on each datafile's disk. With less free, commits are
    /// refused with DiskFull. 0: they are taken until the disk is full. Null: three WAL segments and 8 MiB.
    /// </summary>
    public long? DiskReserveBytes { get; init; }

    /// <summary>The oldest a snapshot may get before it is ended with an exception. Default 1 hour.</summary>
    public TimeSpan SnapshotAgeMax { get; init; } = TimeSpan.FromHours(1);

    /// <summary>
    /// Memory of write buffers, in bytes, that may be kept for snapshots alone, because their changes are in the
    /// datafiles already; past it the oldest snapshot is ended with an exception. Null: half of
    /// <see cref="WriteBufferBytesMax"/>.
    /// </summary>
    public long? SnapshotBytesMax { get; init; }

    /// <summary>
    /// Stores to archive into, besides those of <c>pitr.json</c>; addresses as in the command line's contract.
    /// </summary>
    public IReadOnlyList<string> ArchiveStores { get; init; } = [];

    /// <summary>
    /// The commands behind stores <c>command:NAME</c>, by their names, besides those of <c>pitr.json</c>.
    /// </summary>
    public IReadOnlyDictionary<string, ArchiveCommand> ArchiveCommands { get; init; } =
        System.Collections.Immutable.ImmutableDictionary<string, ArchiveCommand>.Empty;

    /// <summary>
    /// A file with the key (64 hexadecimal digits, readable by its owner only) that everything in the stores is encrypted
    /// with: archived WAL, histories, backup sets. Null: what <c>pitr.json</c> says, or nothing is encrypted.
    /// </summary>
    public string? ArchiveKeyFile { get; init; }

    /// <summary>
    /// Backups, verifications and expires at times of their own, run by <c>pitr serve</c> and by hosts (<c>AddPitr</c>,
    /// <c>WithPitr</c>); nobody else looks at them. Default: what <c>pitr.json</c> says, or none.
    /// </summary>
    public IReadOnlyList<PitrSchedule> Schedules { get; init; } = [];

    /// <summary>
    /// Kinds of stores besides folders that addresses may name, each from a package of its own. Default: none.
    /// </summary>
    public IReadOnlyList<ArchiveStoreKind> ArchiveStoreKinds { get; init; } = [];

    /// <summary>
    /// How long administrative requests wait for an answer before they fail with TimedOut. Default 60 s.
    /// </summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The actor system to run in; null: one of the database's own, without remoting.</summary>
    public ActorSystem? ActorSystem { get; init; }

    /// <summary>The clock. Default: the system's.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Opens a database that is paused at a recovery target, for reading only.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>
    /// The options that a database's <c>pitr.json</c> and the environment (<c>PITR__NAME</c>) say, over the defaults:
    /// what <see cref="PitrDatabase.OpenAsync"/> takes when it is given none. What a program changes in them wins.
    /// </summary>
    /// <param name="folder">The database's folder; it need not be there yet.</param>
    /// <exception cref="RefusedException">SettingsInvalid: the message names the source.</exception>
    public static PitrOptions For(string folder) =>
        Actors.LayeredSettings.Read(folder, Actors.LayeredSettings.OfProcess()).Options;

    /// <summary>The disk; tests put a simulated one here.</summary>
    internal Storage.IFileSystem? FileSystem { get; init; }

    /// <summary>Draws the random numbers (identifiers, incarnations); tests give a seeded one.</summary>
    internal Func<ulong>? DrawRandom { get; init; }

    /// <summary>Where long work runs; a simulation runs it in an order of its own.</summary>
    internal Actors.IWorkers? Workers { get; init; }

    /// <summary>Where what is short goes on, and how the engine waits.</summary>
    internal Storage.IThreads? Threads { get; init; }

    /// <summary>How many processors there are for all that goes on.</summary>
    internal int Processors { get; init; } = System.Environment.ProcessorCount;

    /// <summary>Who runs the engine.</summary>
    internal Storage.ThisProcess Process { get; init; } = Storage.ThisProcess.Real;

    /// <summary>Disk and memory that are there already; none of another engine may be in it.</summary>
    internal Storage.DatafileEnvironment? Environment { get; init; }

    /// <summary>Bytes from which on a fenced datafile spills; null: a share of the write buffers.</summary>
    internal long? SpillBytesMin { get; init; }

    /// <summary>A file that is not wanted any more and is longer gives its room back in steps of so many bytes.</summary>
    internal long CutBytes { get; init; } = Storage.PacedWriter.CutBytesDefault;

    /// <summary>How a worker pauses between paced writes.</summary>
    internal Action<TimeSpan>? Delay { get; init; }
}
