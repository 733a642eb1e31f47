using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// A catalogue brought up by what the WAL logs behind it: datafiles that were born, dropped and moved after it was
/// written (H23, H29, H43).
/// </summary>
internal static class LoggedCatalogue
{
    /// <summary>The catalogue at an LSN.</summary>
    /// <param name="from">As of its own LSN; events at or below that are in it.</param>
    /// <param name="events">In LSN order, without a gap from there on.</param>
    /// <param name="to">Events above it take no part.</param>
    /// <exception cref="DamageException">WalDamaged: an event is of something that nothing made, or made twice.</exception>
    public static Catalogue At(Catalogue from, IEnumerable<LoggedEvent> events, Lsn to)
    {
        Catalogue at = from;
        foreach (LoggedEvent logged in events)
        {
            if (logged.Lsn > from.Lsn && logged.Lsn <= to)
                at = With(at, logged);
        }

        return at;
    }

    /// <summary>Where moves were to bring a datafile, the last one first; paths as they were logged.</summary>
    public static IEnumerable<string> PlacesOf(FileId file, IEnumerable<LoggedEvent> events) => events
        .Select(logged => logged.Event)
        .OfType<WalEvent.MoveDatafile>()
        .Where(move => move.FileId == file)
        .Reverse()
        .SelectMany(move => (string[])[move.To, move.From]);

    private static Catalogue With(Catalogue at, LoggedEvent logged) => logged.Event switch
    {
        WalEvent.CreateDatafile it when it.FileId.Value >= at.NextFileId.Value && at.File(it.Name) is null =>
            // As replay would note it: nothing is known of the file but its birth.
            at.CreateFile(
                new CatalogueFile(it.FileId, it.Name, it.Path, it.Incarnation, 0, Lsn.Zero, logged.Lsn), logged.Lsn),
        WalEvent.DropDatafile it when at.File(it.FileId) is not null => at.DropFile(it.FileId, logged.Lsn),
        WalEvent.CreateTable it when it.TableId.Value >= at.NextTableId.Value && at.Table(it.Name) is null
            && at.File(it.FileId) is not null => at.CreateTable(it.TableId, it.Name, it.FileId, logged.Lsn),
        WalEvent.DropTable it when at.Table(it.TableId) is not null => at.DropTable(it.TableId, logged.Lsn),
        WalEvent.CreateDatafile it => throw RecoveryErrors.UnknownId("a second time datafile", it.FileId.Value, logged.Lsn),
        WalEvent.DropDatafile it => throw RecoveryErrors.UnknownId("datafile", it.FileId.Value, logged.Lsn),
        WalEvent.CreateTable it => throw RecoveryErrors.UnknownId("a second time table", it.TableId.Value, logged.Lsn),
        WalEvent.DropTable it => throw RecoveryErrors.UnknownId("table", it.TableId.Value, logged.Lsn),
        _ => at,
    };
}
