namespace Pitr.Wal;

/// <summary>
/// What is logged that is no transaction: the closed family of bodies of the records of kind 3 and up. Replay passes
/// them on in order; bodies are UTF-8 JSON, those without members are empty.
/// </summary>
internal abstract record WalEvent
{
    private WalEvent()
    {
    }

    /// <summary>The record's kind.</summary>
    public abstract WalRecordKind Kind { get; }

    /// <summary>The time (in the record's header) when nothing else was logged.</summary>
    public sealed record Heartbeat : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.Heartbeat;
    }

    /// <summary>A checkpoint ended.</summary>
    /// <param name="RedoLsn">The redo point from now on.</param>
    /// <param name="CheckpointLsn">D: what was flushed is clean up to it.</param>
    /// <param name="ControlFile">The JSON payload of the control file, with its whole table (H22).</param>
    public sealed record Checkpoint(Lsn RedoLsn, Lsn CheckpointLsn, string ControlFile) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.Checkpoint;
    }

    /// <summary>This LSN has a name.</summary>
    public sealed record RestorePoint(string Name) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.RestorePoint;
    }

    /// <summary>The stop of a backup set.</summary>
    /// <param name="BackupId">The set.</param>
    /// <param name="StartLsn">Where its WAL begins.</param>
    public sealed record BackupEnd(string BackupId, Lsn StartLsn) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.BackupEnd;
    }

    /// <summary>A datafile was created, and its file and folder synced, before this was logged (H23).</summary>
    /// <param name="FileId">Never given before.</param>
    /// <param name="Name">Its name.</param>
    /// <param name="Path">Relative if it lies inside the database folder. A restore never uses it (H30).</param>
    /// <param name="Incarnation">The file's.</param>
    public sealed record CreateDatafile(FileId FileId, string Name, string Path, Incarnation Incarnation) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.CreateDatafile;
    }

    /// <summary>A datafile is dropped; its file goes after the control file says so (H23).</summary>
    public sealed record DropDatafile(FileId FileId, string Name) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.DropDatafile;
    }

    /// <summary>A table was created in a datafile.</summary>
    public sealed record CreateTable(TableId TableId, FileId FileId, string Name) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.CreateTable;
    }

    /// <summary>A table is dropped, with all its keys.</summary>
    public sealed record DropTable(TableId TableId, FileId FileId, string Name) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.DropTable;
    }

    /// <summary>A datafile is about to be switched to another place. Replay moves nothing.</summary>
    public sealed record MoveDatafile(FileId FileId, string From, string To) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.MoveDatafile;
    }

    /// <summary>A timeline begins.</summary>
    /// <param name="Timeline">Its number.</param>
    /// <param name="Lineage">Its lineage.</param>
    /// <param name="ParentTimeline">The timeline that it comes from.</param>
    /// <param name="ParentLineage">That one's lineage.</param>
    /// <param name="ForkLsn">The last LSN that both share.</param>
    /// <param name="StartLsn">Where its first record begins: a segment boundary.</param>
    /// <param name="Reason">For people.</param>
    public sealed record TimelineStart(
        TimelineId Timeline, Lineage Lineage, TimelineId ParentTimeline, Lineage ParentLineage, Lsn ForkLsn,
        Lsn StartLsn,
        string Reason) : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.TimelineStart;
    }

    /// <summary>The engine was stopped in order; nothing of this start follows.</summary>
    public sealed record Shutdown : WalEvent
    {
        public override WalRecordKind Kind => WalRecordKind.Shutdown;
    }
}
