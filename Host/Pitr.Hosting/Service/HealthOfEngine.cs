using Microsoft.Extensions.Diagnostics.HealthChecks;
using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>What is asked of an engine's health.</summary>
internal enum HealthQuestion
{
    /// <summary>Does it take commits?</summary>
    Engine,

    /// <summary>Are the stores up to date?</summary>
    Archive,

    /// <summary>Can every datafile be read and written?</summary>
    Datafiles,
}

/// <summary>The health of one engine: three questions, each with an answer in words and numbers.</summary>
/// <remarks>
/// POLICY
/// <code>
///              unhealthy: somebody must act                          degraded: it works on
///   engine     not open yet, closing, ended, commits are refused     open for reading only
///   archive    a store is past its bound, WAL was given up           a try failed, or the lag is older than allowed, or
///                                                                    a scheduled run failed last
///   datafiles  one is offline or needs recovery                      one is being recovered
/// </code>
/// An archive that is down stops no commit, so it alone does not make a service unhealthy before its bound.
/// </remarks>
internal sealed class HealthOfEngine(Func<PitrDatabase?> database, Func<bool> isClosing, TimeSpan lagDegraded)
{
    /// <summary>Longer than it takes, shorter than the patience of what asks.</summary>
    public static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(10);

    /// <summary>The names of the checks, in the order in which they are shown.</summary>
    public static IReadOnlyList<(string Name, HealthQuestion Question)> Checks { get; } =
    [
        ("pitr-engine", HealthQuestion.Engine), ("pitr-archive", HealthQuestion.Archive),
        ("pitr-datafiles", HealthQuestion.Datafiles),
    ];

    /// <summary>Answers one question; never throws but for a cancellation.</summary>
    public async Task<HealthCheckResult> AskAsync(HealthQuestion question, CancellationToken cancellationToken)
    {
        if (database() is not { } open)
            return HealthCheckResult.Unhealthy("The database is not open yet: it is opened, or recovered.");
        HealthCheckResult engine = OfEngine(open);
        if (question == HealthQuestion.Engine)
            return engine;
        if (open.Completion.IsCompleted)
            return HealthCheckResult.Unhealthy("The engine has ended.");
        try
        {
            EngineStatus status = await open.GetStatusAsync(cancellationToken).ConfigureAwait(false);
            return question == HealthQuestion.Archive
                ? OfSchedules(OfArchive(status.Archive, lagDegraded), status.Schedules) : OfDatafiles(status.Datafiles);
        }
        catch (PitrException failure)
        {
            return HealthCheckResult.Unhealthy($"{failure.Message} {failure.Hint}", failure);
        }
    }

    /// <summary>Answers all of them.</summary>
    public async Task<IReadOnlyList<(string Name, HealthCheckResult Result)>> AskAllAsync(CancellationToken cancellationToken)
    {
        var answers = new List<(string Name, HealthCheckResult Result)>();
        foreach ((string name, HealthQuestion question) in Checks)
            answers.Add((name, await AskAsync(question, cancellationToken).ConfigureAwait(false)));
        return answers;
    }

    private HealthCheckResult OfEngine(PitrDatabase open)
    {
        Dictionary<string, object> data = new()
        {
            ["visibleLsn"] = open.VisibleLsn.ToString(),
            ["fill"] = Math.Round(open.Engine.Fill, 3),
        };
        if (open.Completion.IsFaulted)
        {
            Exception failure = open.Completion.Exception!.GetBaseException();
            return HealthCheckResult.Unhealthy($"The engine has failed: {failure.Message}", failure, data);
        }

        if (open.Completion.IsCompleted)
            return HealthCheckResult.Unhealthy("The engine has ended.", data: data);
        if (open.Engine.WhyCommitsAreRefused is { } why)
            return HealthCheckResult.Unhealthy($"Commits are refused: {why.Message} {why.Hint}", data: data);
        if (isClosing())
            return HealthCheckResult.Unhealthy("The database is being closed.", data: data);
        return open.Actors.IsReadOnly
            ? HealthCheckResult.Degraded("It is paused at a recovery target, for reading only.", data: data)
            : HealthCheckResult.Healthy("It takes commits.", data);
    }

    /// <summary>How far the stores are.</summary>
    public static HealthCheckResult OfArchive(IReadOnlyList<ArchiveStatus> stores, TimeSpan lagDegraded)
    {
        var data = new Dictionary<string, object>();
        foreach (ArchiveStatus store in stores)
            data[store.Store] = new Dictionary<string, object> { ["lagBytes"] = store.LagBytes, ["lagSeconds"] = store.LagSeconds };
        if (stores.Count == 0)
            return HealthCheckResult.Healthy("There is no archive.");
        if (stores.FirstOrDefault(store => store.RefusesCommits) is { } full)
        {
            return HealthCheckResult.Unhealthy(
                $"Commits are refused: {full.Store} lacks {full.LagBytes} bytes of WAL, at most {full.LagBytesMax} may be. {full.LastError}",
                data: data);
        }

        if (stores.FirstOrDefault(store => store.Dropped is not null) is { } gap)
            return HealthCheckResult.Unhealthy($"WAL was given up, a gap in {gap.Store}: {gap.Dropped}. Make a backup.", data: data);
        if (stores.FirstOrDefault(store => store.LastError is not null) is { } failing)
            return HealthCheckResult.Degraded($"{failing.Store} is {failing.LagBytes} bytes behind: {failing.LastError}", data: data);
        if (stores.FirstOrDefault(store => store.LagSeconds > lagDegraded.TotalSeconds) is { } behind)
        {
            return HealthCheckResult.Degraded(
                FormattableString.Invariant($"{behind.Store} is {behind.LagSeconds:0} s and {behind.LagBytes} bytes behind."),
                data: data);
        }

        return HealthCheckResult.Healthy("Every store is up to date.", data);
    }

    /// <summary>What is done at times of its own, where the stores are well.</summary>
    public static HealthCheckResult OfSchedules(HealthCheckResult archive, IReadOnlyList<ScheduleStatus> schedules) =>
        archive.Status == HealthStatus.Healthy
            && schedules.FirstOrDefault(static one => one.LastError is not null) is { } failed
            ? HealthCheckResult.Degraded(
                $"The last scheduled {failed.Run} to {failed.Store} failed: {failed.LastError}", data: archive.Data)
            : archive;

    /// <summary>Which files can't be used.</summary>
    public static HealthCheckResult OfDatafiles(IReadOnlyList<DatafileStatus> files)
    {
        Dictionary<string, object> data = files.ToDictionary(file => file.Name, file => (object)file.State, StringComparer.Ordinal);
        string[] broken = [.. files.Where(file => file.State is "offline" or "needsRecovery").Select(file => $"{file.Name} is {file.State}")];
        if (broken.Length > 0)
        {
            return HealthCheckResult.Unhealthy(
                $"{string.Join(", ", broken)}. The others go on; the log says why, and opening the database again recovers what can be.",
                data: data);
        }

        string[] recovering = [.. files.Where(file => file.State == "recovering").Select(file => file.Name)];
        return recovering.Length > 0
            ? HealthCheckResult.Degraded($"{string.Join(", ", recovering)}: being recovered.", data: data)
            : HealthCheckResult.Healthy("Every datafile can be read and written.", data);
    }
}
