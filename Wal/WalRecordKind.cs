namespace Pitr.Wal;

/// <summary>
/// What a record is. The numbers are on disk and for ever; the bodies are described in <see cref="WalEvent"/>.
/// </summary>
internal enum WalRecordKind : byte
{
    /// <summary>All changes of one transaction, in all datafiles; the body is a run of operations.</summary>
    Transaction = 1,
    /// <summary>Takes up room up to a segment's end, so that the next record begins a segment (H6).</summary>
    Filler = 2,
    /// <summary>The time, when nothing else was logged.</summary>
    Heartbeat = 3,
    /// <summary>A checkpoint ended; carries the whole table of the control file (H22).</summary>
    Checkpoint = 4,
    /// <summary>A named LSN.</summary>
    RestorePoint = 5,
    /// <summary>The stop of a backup set (H29).</summary>
    BackupEnd = 6,
    /// <summary>A datafile was created.</summary>
    CreateDatafile = 7,
    /// <summary>A datafile was dropped.</summary>
    DropDatafile = 8,
    /// <summary>A table was created.</summary>
    CreateTable = 9,
    /// <summary>A table was dropped.</summary>
    DropTable = 10,
    /// <summary>A datafile was moved; replaying it moves nothing.</summary>
    MoveDatafile = 11,
    /// <summary>The first record of a timeline that another one forked into.</summary>
    TimelineStart = 12,
    /// <summary>The engine was stopped in order.</summary>
    Shutdown = 13,
}
