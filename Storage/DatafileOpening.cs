using System.Globalization;

namespace Pitr.Storage;

/// <summary>Decides which meta page of a file to believe, and whether the file is the one that is expected.</summary>
/// <remarks>
/// CASES  of the two meta pages; "known" is the generation in the control file, for the incarnation that it names
/// <code>
///   M1  both valid                            the one with the greater generation
///   M2  one valid, its generation ≥ known     that one: the other was torn by a crash before its sync
///   M3  one valid, its generation &lt; known     needs recovery: the newer one was damaged after its pages may have been reused
///   M4  none valid                            damage
/// </code>
/// CASES  of the believed one, in this order (H14 and "ahead of the WAL" are the caller's: they need the path and the
/// WAL)
/// <code>
///   A1  newer format                          refused
///   A2  other system identifier or file id    refused
///   A3  other kind                            refused (H17)
///   A4  other incarnation than known          needs recovery (H16)
///   A5  generation &lt; known                    needs recovery: an older copy
///   A6  generation = known, other LSN         needs recovery: a foreign copy
///   A7  else                                  it is the file; a generation above the known one is normal
/// </code>
/// </remarks>
internal static class DatafileOpening
{
    /// <summary>Reads both meta pages and believes one (M1 … M4).</summary>
    public static MetaPage ChooseMetaPage(IFileHandle handle, DatafileExpectation? expected)
    {
        MetaPage?[] found = new MetaPage?[MetaPage.Slots];
        string[] why = new string[MetaPage.Slots];
        byte[] page = new byte[PageLayout.PageBytes];
        for (uint slot = 0; slot < MetaPage.Slots; slot++)
        {
            int read = handle.Read(slot * PageLayout.PageBytes, page);
            found[slot] = MetaPage.TryRead(page.AsSpan(0, read), slot, out why[slot]);
        }
        if (found[0] is { } even && found[1] is { } odd)
            return Readable(handle.Path, even.Generation > odd.Generation ? even : odd);
        if ((found[0] ?? found[1]) is not { } only)
            throw DatafileErrors.NoMetaPage(handle.Path, why[0], why[1]);
        Readable(handle.Path, only);
        if (expected is not null && IsOf(only, expected) && only.Generation < expected.ControlFileGeneration)
            throw DatafileErrors.NeedsRecovery(handle.Path, string.Create(CultureInfo.InvariantCulture,
                $"its only valid meta page is of generation {only.Generation}, below {expected.ControlFileGeneration}, "
                + $"which the control file knows; the other one {why[1 - only.Slot]}"));
        return only;
    }

    /// <summary>
    /// Requires that a believed meta page is that of the expected file (A2 … A7), and that the file is as long as it
    /// says.
    /// </summary>
    public static void RequireExpected(IFileHandle handle, MetaPage meta, DatafileExpectation expected)
    {
        string path = handle.Path;
        if (meta.SystemId != expected.SystemId)
            throw DatafileErrors.ForeignSystem(path, expected.SystemId, meta.SystemId);
        if (meta.FileId != expected.FileId)
            throw DatafileErrors.OtherFile(path, expected.FileId, meta.FileId);
        if (meta.Kind != expected.Kind)
            throw DatafileErrors.OtherKind(path, expected.Kind, meta.Kind);
        if (!IsOf(meta, expected))
            throw DatafileErrors.NeedsRecovery(path,
                $"it is of incarnation {meta.Incarnation}, the control file names {expected.Incarnation}");
        if (meta.Generation < expected.ControlFileGeneration)
            throw DatafileErrors.NeedsRecovery(path, string.Create(CultureInfo.InvariantCulture,
                $"it is an older copy, of generation {meta.Generation}; the control file knows {expected.ControlFileGeneration}"));
        if (meta.Generation == expected.ControlFileGeneration
            && expected.CheckpointLsn is { } known && known != meta.CheckpointLsn)
            throw DatafileErrors.NeedsRecovery(path,
                $"it is a foreign copy, with checkpoint LSN {meta.CheckpointLsn}; the control file names {known} for that generation");
        RequireLength(handle, meta);
    }

    /// <summary>Requires that the file is as long as its meta page says: so what is read of it is bounded by it.</summary>
    public static void RequireLength(IFileHandle handle, MetaPage meta)
    {
        long lengthBytes = (long)meta.PageCount * PageLayout.PageBytes;
        if (handle.LengthBytes < lengthBytes)
            throw DatafileErrors.TooShort(handle.Path, lengthBytes, handle.LengthBytes);
    }

    /// <summary>Opens a file, telling one that is not there from other failures.</summary>
    public static IFileHandle OpenHandle(IFileSystem files, string path, FileOpen mode)
    {
        try
        {
            return files.Open(path, mode);
        }
        catch (StorageFailedException failure) when (failure.Errno == Errno.ENOENT)
        {
            throw DatafileErrors.Missing(path, failure);
        }
    }

    /// <summary>Locks a file against any other owner, in this process too.</summary>
    public static IDisposable Lock(IFileSystem files, string path)
    {
        try
        {
            return files.TryLock(path) ?? throw DatafileErrors.Locked(path);
        }
        catch (StorageFailedException failure) when (failure.Errno == Errno.ENOENT)
        {
            throw DatafileErrors.Missing(path, failure);
        }
    }

    // What the control file says of a file holds only for the incarnation that it names (H16).
    private static bool IsOf(MetaPage meta, DatafileExpectation expected) =>
        expected.Incarnation is null || expected.Incarnation == meta.Incarnation
        || (expected.RestoreStamp is { } stamp && stamp == meta.RestoreStamp);

    private static MetaPage Readable(string path, MetaPage meta) =>
        meta.FormatVersion > MetaPage.FormatVersionNewest
            ? throw DatafileErrors.FormatVersion(path, meta.FormatVersion)
            : meta;
}
