namespace Pitr;

/// <summary>
/// Every failure a caller can meet, once. A number is for ever: a retired one is not given out again.
/// The story of each is in <c>docs/reference/errors.md</c>.
/// </summary>
public enum ErrorCode
{
    /// <summary>No error.</summary>
    None = 0,

    // 1xxx  the disk or a store said no
    /// <summary>A file-system call failed.</summary>
    FileOperationFailed = 1001,
    /// <summary>There is no room on the disk.</summary>
    DiskFull = 1002,
    /// <summary>A write or sync of the WAL failed; the engine stopped.</summary>
    WalFailed = 1101,
    /// <summary>A write or sync of a datafile failed; the file is offline.</summary>
    DatafileWriteFailed = 1201,
    /// <summary>An archive store did not do what was asked.</summary>
    StoreFailed = 1301,
    /// <summary>The connection to the engine ended.</summary>
    ConnectionLost = 1401,
    /// <summary>The engine did not answer in time.</summary>
    TimedOut = 1402,
    /// <summary>The commit is durable, but a store did not have it in time (synchronous archiving).</summary>
    CommitNotArchived = 1403,

    // 3xxx  not found
    /// <summary>No such table.</summary>
    TableUnknown = 3001,
    /// <summary>No such datafile.</summary>
    DatafileUnknown = 3002,
    /// <summary>No such key.</summary>
    KeyUnknown = 3003,
    /// <summary>No such folder.</summary>
    FolderUnknown = 3004,
    /// <summary>No such backup set.</summary>
    BackupUnknown = 3101,
    /// <summary>The folder is not a database.</summary>
    NotADatabase = 3201,
    /// <summary>The archive store has no such object.</summary>
    ArchiveObjectUnknown = 3301,
    /// <summary>The database does not archive into that store.</summary>
    StoreUnknown = 3302,

    // 4xxx  refused: the state does not allow it
    /// <summary>The engine is shutting down.</summary>
    ShuttingDown = 4001,
    /// <summary>Another engine has the database open.</summary>
    DatabaseLocked = 4002,
    /// <summary>The folder already holds something.</summary>
    FolderNotEmpty = 4003,
    /// <summary>The files are of a format version that this program does not read.</summary>
    FormatVersion = 4004,
    /// <summary>This operating system or file system is not supported.</summary>
    PlatformUnsupported = 4005,
    /// <summary>The database was opened for reading only.</summary>
    ReadOnly = 4006,
    /// <summary>The commit was not taken in because the engine stopped; it is not in the WAL.</summary>
    CommitRefused = 4007,
    /// <summary>The engine stopped while the commit was under way; its fate is that of the WAL.</summary>
    CommitFateUnknown = 4008,
    /// <summary>The name is taken.</summary>
    NameTaken = 4009,
    /// <summary>The object is still in use.</summary>
    StillInUse = 4010,
    /// <summary>Changes wait to be flushed, and memory for more is not allowed.</summary>
    BuffersFull = 4011,
    /// <summary>The settings file can't be read.</summary>
    SettingsInvalid = 4012,
    /// <summary>There is no recovery to go on with.</summary>
    NotInRecovery = 4013,
    /// <summary>A datafile can't lie there.</summary>
    PlaceReserved = 4014,
    /// <summary>A datafile can't be moved to that path.</summary>
    MoveRefused = 4015,
    /// <summary>The datafile is being moved already.</summary>
    MoveUnderWay = 4016,
    /// <summary>The move was cancelled; the datafile lies where it lay.</summary>
    MoveCancelled = 4017,
    /// <summary>The move failed where only an opening can tell which of both files counts.</summary>
    MoveUndecided = 4018,
    /// <summary>A datafile can't be compacted.</summary>
    CompactRefused = 4019,
    /// <summary>The datafile is being compacted already.</summary>
    CompactUnderWay = 4020,
    /// <summary>Compacting was cancelled; the datafile is as it was.</summary>
    CompactCancelled = 4021,
    /// <summary>Compacting failed where only an opening can tell which of both files counts.</summary>
    CompactUndecided = 4022,
    /// <summary>The control file is whole: there is nothing to rebuild.</summary>
    ControlFileWhole = 4023,
    /// <summary>Neither the datafiles nor the WAL say what the control file said.</summary>
    ControlFileUnknowable = 4024,
    /// <summary>A fence's token is not known (any more).</summary>
    FenceUnknown = 4101,
    /// <summary>The fence was broken; the copy is void.</summary>
    FenceBroken = 4102,
    /// <summary>The datafile is fenced.</summary>
    DatafileFenced = 4103,
    /// <summary>The lease is not more than zero and at most 24 hours.</summary>
    LeaseOutOfRange = 4104,
    /// <summary>The datafile is offline.</summary>
    DatafileOffline = 4201,
    /// <summary>The datafile needs recovery.</summary>
    DatafileNeedsRecovery = 4202,
    /// <summary>The datafile is being recovered; the message says when it may be ready.</summary>
    DatafileRecovering = 4203,
    /// <summary>The datafile serves: there is nothing to recover.</summary>
    DatafileServes = 4204,
    /// <summary>The recovery of a datafile was cancelled.</summary>
    FileRecoveryCancelled = 4205,
    /// <summary>The datafile lies outside of the folder of a database that was moved or copied.</summary>
    DatafileElsewhere = 4206,
    /// <summary>The transaction conflicts with one that committed after its snapshot.</summary>
    Conflict = 4301,
    /// <summary>The snapshot is too old: what it needs is no longer kept.</summary>
    SnapshotTooOld = 4302,
    /// <summary>The recovery target can't be reached.</summary>
    TargetUnreachable = 4401,
    /// <summary>WAL that is needed is missing.</summary>
    WalGap = 4402,
    /// <summary>More than one branch has transactions of its own beyond the target.</summary>
    BranchAmbiguous = 4403,
    /// <summary>The time target is ambiguous, because the clock had stepped back.</summary>
    TimeAmbiguous = 4404,
    /// <summary>The local WAL ends before what the files, the control file or a store know.</summary>
    WalTooShort = 4405,
    /// <summary>The files belong to another database.</summary>
    ForeignSystem = 4501,
    /// <summary>The control file is one of a backup set.</summary>
    ControlFileOfBackup = 4502,
    /// <summary>The archive belongs to another engine start or database.</summary>
    ArchiveOwned = 4503,
    /// <summary>The store holds other content under the same name.</summary>
    ArchiveConflict = 4504,
    /// <summary>The backup is void.</summary>
    BackupVoid = 4505,
    /// <summary>The operation needs a running engine.</summary>
    NeedsRunningEngine = 4506,
    /// <summary>The caller has not shown the token.</summary>
    NotAuthorized = 4507,
    /// <summary>The text is not the address of an archive store.</summary>
    StoreAddressInvalid = 4511,
    /// <summary>The store does not honour conditional creates, so no timeline can be claimed in it.</summary>
    StoreWithoutClaims = 4512,
    /// <summary>An archive store lacks more WAL than it may, and commits are refused until it has caught up.</summary>
    ArchiveBehind = 4513,
    /// <summary>A datafile that can't be flushed keeps more WAL than it may, and commits are refused.</summary>
    WalKept = 4514,
    /// <summary>An expire was planned before something else happened that it would harm.</summary>
    RetentionOutdated = 4521,
    /// <summary>The set that an incremental backup set builds on is gone, or is not what it was.</summary>
    BackupBaseLost = 4522,
    /// <summary>The address is of a kind of archive store that this program was not given.</summary>
    StoreKindUnavailable = 4531,
    /// <summary>The database archives into that store already.</summary>
    StoreKnown = 4532,
    /// <summary>The store is named by the environment or the program, not by pitr.json.</summary>
    StoreNotInSettings = 4533,
    /// <summary>A store of commands takes WAL, but no backup sets.</summary>
    StoreHoldsNoSets = 4534,
    /// <summary>An archived object is encrypted with another key.</summary>
    StoreKeyWrong = 4535,
    /// <summary>An archived object is encrypted, and there is no key.</summary>
    StoreKeyMissing = 4536,
    /// <summary>An archived object is not encrypted, but should be.</summary>
    StoreNotSealed = 4537,
    /// <summary>The file of the archive's key is missing, readable by others, or holds no key.</summary>
    KeyFileInvalid = 4538,
    /// <summary>What an engine has to answer is longer than a message of remote administration.</summary>
    AnswerTooLong = 4541,

    // 5xxx  damage: bytes are not what was written
    /// <summary>A page's checksum does not match its content.</summary>
    PageChecksum = 5101,
    /// <summary>A page is not the one that was asked for.</summary>
    PageMisplaced = 5102,
    /// <summary>A tree invariant does not hold.</summary>
    TreeInvalid = 5103,
    /// <summary>No meta page is valid.</summary>
    MetaPageDamaged = 5104,
    /// <summary>The datafile is missing.</summary>
    DatafileMissing = 5105,
    /// <summary>The datafile is ahead of the WAL.</summary>
    DatafileAhead = 5106,
    /// <summary>The file is a spill file or an unfinished copy, not a datafile.</summary>
    DatafileOtherKind = 5107,
    /// <summary>The datafile ends before the last page that it should have.</summary>
    DatafileTooShort = 5108,
    /// <summary>The chain of free pages is not what was written.</summary>
    FreeChainInvalid = 5109,
    /// <summary>The control file is damaged.</summary>
    ControlFileDamaged = 5201,
    /// <summary>A WAL record below the known end is damaged.</summary>
    WalDamaged = 5301,
    /// <summary>A WAL segment's header is damaged.</summary>
    SegmentHeaderDamaged = 5302,
    /// <summary>An archived object's content is not what its digest says.</summary>
    ArchiveDamaged = 5401,
    /// <summary>A file of a backup set is not what its manifest says.</summary>
    BackupDamaged = 5402,

    // 9xxx  a bug of Pitr
    /// <summary>An invariant does not hold.</summary>
    InvariantBroken = 9001,
}
