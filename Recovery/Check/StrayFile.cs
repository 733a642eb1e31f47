using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>A file that stands where a datafile is to be made (H23).</summary>
internal static class StrayFile
{
    /// <summary>
    /// True if it is provably ours and holds nothing: one that was dropped, or whose creation a crash cut short before
    /// it was logged.
    /// </summary>
    /// <remarks>
    /// A file is made as two meta pages. What is not zero of them lies in their first sectors, so that a power loss
    /// leaves of each all or nothing.
    /// </remarks>
    public static bool MeansNothing(IFileSystem files, string path, Catalogue catalogue, SystemIdentifier system)
    {
        try
        {
            return Decide(catalogue, system, Datafile.Inspect(files, path)) == FileVerdict.Remove;
        }
        catch (PitrException)
        {
            return IsUnfinished(files, path, catalogue, system);
        }
    }

    private static bool IsUnfinished(IFileSystem files, string path, Catalogue catalogue, SystemIdentifier system)
    {
        using IFileHandle file = files.Open(path, FileOpen.Read);
        var bytes = new byte[MetaPage.Slots * PageLayout.PageBytes];
        if (file.LengthBytes > bytes.Length)
            return false;
        file.Read(0, bytes);
        for (uint slot = 0; slot < MetaPage.Slots; slot++)
        {
            ReadOnlySpan<byte> page = bytes.AsSpan((int)slot * PageLayout.PageBytes, PageLayout.PageBytes);
            if (page.IndexOfAnyExcept((byte)0) < 0)
                continue;
            if (MetaPage.TryRead(page, slot, out _) is not { } meta
                || Decide(catalogue, system, meta) != FileVerdict.Remove)
                return false;
        }

        return true;
    }

    private static FileVerdict Decide(Catalogue catalogue, SystemIdentifier system, MetaPage meta) =>
        ControlFileCase.Decide(FileFacts.OfStray(catalogue, system, meta)).Verdict;
}
