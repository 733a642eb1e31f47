using Akka.Actor;
using Pitr.Storage;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;

namespace Pitr.Actors;

/// <summary>Puts together what the engine is doing: asks its actors, off the supervisor's thread.</summary>
internal static class StatusReport
{
    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(5);

    /// <summary>Asks everybody; a file without an actor is shown as its slot says.</summary>
    public static async Task<StatusReported> Collect(
        EngineContext engine, OpenedEngine opened, IReadOnlyList<IActorRef> datafiles, IActorRef archiver,
        IActorRef controlFile)
    {
        try
        {
            return await CollectAsync(engine, opened, datafiles, archiver, controlFile).ConfigureAwait(false);
        }
        catch (AskTimeoutException)
        {
            throw EngineErrors.TimedOut(nameof(GetStatus), AnswerWithin);
        }
    }

    private static async Task<StatusReported> CollectAsync(
        EngineContext engine, OpenedEngine opened, IReadOnlyList<IActorRef> datafiles, IActorRef archiver,
        IActorRef controlFile)
    {
        bool isPaused = archiver.IsNobody();
        Task<DatafileStatus?>[] files = [.. datafiles.Select(owner => AskFile(owner, engine))];
        Task<ArchiveReported> archive = isPaused
            ? Task.FromResult(new ArchiveReported([], null))
            : archiver.AskAsync<ArchiveReported>(new GetArchiveStatus(), AnswerWithin, engine);
        ControlFile now =
            (await controlFile.AskAsync<ControlFileChanged>(new GetControlFile(), AnswerWithin, engine)
                .ConfigureAwait(false)).Now;
        DatafileStatus[] reported = [.. (await Task.WhenAll(files).ConfigureAwait(false)).OfType<DatafileStatus>()];
        IEnumerable<DatafileStatus> silent = engine.Slots.All
            .Where(slot => !reported.Any(file => file.Name == slot.Name))
            .Select(slot => new DatafileStatus(
                slot.Name, PathOf(engine, now, slot.Id), DatafileActor.StateName(slot.State),
                now.Catalogue.File(slot.Id)?.CheckpointLsn ?? default, 0,
                now.Catalogue.Tables.Count(table => table.FileId == slot.Id), 0, 0, 0, 0, []));
        ArchiveReported archived = await archive.ConfigureAwait(false);
        return new StatusReported(new EngineStatus(
            now.SystemId, isPaused ? "paused" : "running", now.Timeline, engine.Visibility.Visible, engine.DurableLsn, now.RedoLsn,
            [.. reported.Concat(silent).OrderBy(file => file.Name, StringComparer.Ordinal)],
            archived.Stores, archived.Window)
        {
            Disks = engine.Disks,
            Schedules = engine.Schedules,
        });
    }

    private static string PathOf(EngineContext engine, ControlFile now, FileId file) =>
        now.Catalogue.File(file) is { } known ? Catalogue.FullPath(engine.Folder, known.Path) : "";

    /// <summary>Null if it died after it was asked.</summary>
    private static async Task<DatafileStatus?> AskFile(IActorRef owner, EngineContext engine)
    {
        try
        {
            return await owner.AskAsync<DatafileStatus>(new GetDatafileStatus(), AnswerWithin, engine)
                .ConfigureAwait(false);
        }
        catch (AskTimeoutException)
        {
            return null;
        }
    }
}
