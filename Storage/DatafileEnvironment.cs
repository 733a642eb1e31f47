namespace Pitr.Storage;

/// <summary>What all datafiles of a database share.</summary>
/// <param name="Files">The disk.</param>
/// <param name="Cache">Clean pages.</param>
/// <param name="Epochs">Who is reading.</param>
/// <param name="Writer">The way in which pages are written.</param>
/// <param name="Arenas">Memory of write buffers.</param>
internal sealed record DatafileEnvironment(
    IFileSystem Files, PageCache Cache, EpochTable Epochs, PacedWriter Writer, ArenaPool Arenas) : IDisposable
{
    /// <summary>
    /// Gives the memory back to the system. Every file has to be closed; waits for readers that are on their way out.
    /// What a snapshot still pins follows when it is let go.
    /// </summary>
    public void Dispose()
    {
        Cache.Dispose();
        Arenas.Dispose();
    }
}

/// <summary>What the control file knows of a datafile, and so what an opened one must be.</summary>
/// <param name="SystemId">The database.</param>
/// <param name="FileId">The datafile.</param>
/// <param name="Kind">What the file is.</param>
/// <param name="ControlFileGeneration">The generation noted last; 0 if none was.</param>
/// <param name="Incarnation">The incarnation for which generation and LSN hold (H16); null if none was noted.</param>
/// <param name="CheckpointLsn">The LSN of that generation; null if none was noted.</param>
/// <param name="RestoreStamp">
/// The unfinished recovery that may have drawn the incarnation anew before a crash kept the control file from noting it
/// (H32).
/// </param>
internal sealed record DatafileExpectation(
    SystemIdentifier SystemId,
    FileId FileId,
    DatafileKind Kind = DatafileKind.Datafile,
    ulong ControlFileGeneration = 0,
    Incarnation? Incarnation = null,
    Lsn? CheckpointLsn = null,
    Guid? RestoreStamp = null);
