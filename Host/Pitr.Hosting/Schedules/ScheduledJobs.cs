using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Wal;

namespace Pitr.Hosting;

/// <summary>What the runs of schedules do, with the words in which they tell it.</summary>
internal sealed class ScheduledJobs(PitrDatabase database)
{
    private EngineContext Engine => database.Engine;

    /// <summary>Does the work, on the calling thread but for a backup; answers what was done.</summary>
    /// <exception cref="PitrException">Why it could not be done.</exception>
    public async Task<string> RunAsync(PitrSchedule schedule, CancellationToken cancellation) => schedule.Run switch
    {
        ScheduledWork.Backup => await BackUpAsync(schedule, cancellation).ConfigureAwait(false),
        ScheduledWork.Verify => await VerifyAsync(schedule, cancellation).ConfigureAwait(false),
        _ => await ExpireAsync(schedule, cancellation).ConfigureAwait(false),
    };

    private async Task<string> BackUpAsync(PitrSchedule schedule, CancellationToken cancellation)
    {
        BackupResult made = await database.BackupAsync(
            new BackupRequest
            {
                Store = StoreAddress.Parse(schedule.Store, Engine.Folder).Absolute,
                BytesPerSecondMax = schedule.BytesPerSecondMax,
                Jobs = schedule.Jobs,
                Incremental = schedule.Incremental,
            },
            cancellation).ConfigureAwait(false);
        string how = made.BaseId is { } onto ? $", built on {onto}" : made.WhyFull is { } why ? $", with all that there is: {why}" : "";
        return $"set {made.BackupId} of {made.Bytes} bytes{how}";
    }

    private async Task<string> VerifyAsync(PitrSchedule schedule, CancellationToken cancellation)
    {
        DateTimeOffset began = Engine.Clock.GetUtcNow();
        IArchiveStore sets = Open(schedule.Store);
        IReadOnlyList<IArchiveStore> archives = await ArchivesAsync(cancellation).ConfigureAwait(false);
        IReadOnlyList<VerifyReport> reports = await Task.Run(
            () => BackupVerifier.Verify(sets, [.. archives.ThatList(), sets], null, Engine.Draw, cancellation), cancellation)
            .ConfigureAwait(false);
        if (reports.Count == 0)
            throw RecoveryErrors.NoBackup(sets.Name);
        SetVerification.Note(sets, reports, began);
        return reports.SelectMany(static report => report.Problems).MaxBy(static problem => problem.ExitCode) is { } worst
            ? throw worst
            : string.Join(
                "; ",
                archives.LeftOut()
                    .Prepend($"{reports.Count} sets restore, {reports.Sum(static report => report.BytesRead)} bytes were read"));
    }

    private async Task<string> ExpireAsync(PitrSchedule schedule, CancellationToken cancellation)
    {
        IArchiveStore sets = Open(schedule.Store);
        IReadOnlyList<IArchiveStore> archives = await ArchivesAsync(cancellation).ConfigureAwait(false);
        IEnumerable<IArchiveStore> own = ArchiveIdentity.Read(sets) is null ? [] : [sets];
        var request = new RetentionRequest
        {
            SetStore = sets,
            Archives = [.. own.Concat(archives).DistinctBy(static store => store.Place)],
            Window = schedule.Window!.Value,
            Now = Engine.Clock.GetUtcNow(),
            OpenStore = name => Engine.Stores.TryOpen(name, Engine.Folder),
        };
        return await Task.Run(
            () =>
            {
                RetentionPlan plan = RetentionPlanner.Plan(request, cancellation);
                RetentionRun.CarryOut(plan, request, cancellation);
                return plan.ToText().TrimEnd();
            },
            cancellation).ConfigureAwait(false);
    }

    private IArchiveStore Open(string store) => Engine.Stores.Open(StoreAddress.Parse(store, Engine.Folder));

    /// <summary>The stores that the database archives into.</summary>
    private async Task<IReadOnlyList<IArchiveStore>> ArchivesAsync(CancellationToken cancellation)
    {
        ArchiveProtocol.ArchiveSeen seen = await database.SeeArchiveAsync(cancellation).ConfigureAwait(false);
        return [.. seen.Stores.Select(static store => store.Store)];
    }
}
