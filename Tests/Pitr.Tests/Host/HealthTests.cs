using Microsoft.Extensions.Diagnostics.HealthChecks;
using Pitr.Hosting;

namespace Pitr.Tests;

/// <summary>Which state of an engine is which health, and what is said of it.</summary>
public sealed class HealthTests
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);
    private static readonly ArchiveStatus UpToDate = new("/archive", "000000010000000000000007", 0, 0, 0, null);

    [Fact]
    public void An_archive_that_is_up_to_date_or_not_there_is_healthy()
    {
        Assert.Equal(HealthStatus.Healthy, HealthOfEngine.OfArchive([], Minute).Status);
        Assert.Equal(HealthStatus.Healthy, HealthOfEngine.OfArchive([UpToDate with { LagSeconds = 60 }], Minute).Status);
    }

    [Fact]
    public void An_archive_that_is_behind_or_failing_is_degraded_since_commits_go_on()
    {
        Assert.Equal(HealthStatus.Degraded, HealthOfEngine.OfArchive([UpToDate, UpToDate with { LagSeconds = 61 }], Minute).Status);
        HealthCheckResult failing = HealthOfEngine.OfArchive([UpToDate with { LastError = "it is full" }], Minute);
        Assert.Equal(HealthStatus.Degraded, failing.Status);
        Assert.Contains("it is full", failing.Description, StringComparison.Ordinal);
    }

    [Fact]
    public void An_archive_past_its_bound_or_with_a_gap_is_unhealthy()
    {
        Assert.Equal(HealthStatus.Unhealthy, HealthOfEngine.OfArchive([UpToDate with { RefusesCommits = true }], Minute).Status);
        Assert.Equal(HealthStatus.Unhealthy, HealthOfEngine.OfArchive([UpToDate with { Dropped = "0/10 to 0/20" }], Minute).Status);
    }

    [Theory]
    [InlineData("open", HealthStatus.Healthy)]
    [InlineData("flushing", HealthStatus.Healthy)]
    [InlineData("fenced", HealthStatus.Healthy)]
    [InlineData("recovering", HealthStatus.Degraded)]
    [InlineData("offline", HealthStatus.Unhealthy)]
    [InlineData("needsRecovery", HealthStatus.Unhealthy)]
    public void A_datafile_that_cannot_be_used_is_named(string state, HealthStatus expected)
    {
        DatafileStatus main = new("main", "/db/main.pitr", "open", default, 0, 0, 0, 0, 0, 0, []);
        HealthCheckResult health = HealthOfEngine.OfDatafiles([main, main with { Name = "orders", State = state }]);
        Assert.Equal(expected, health.Status);
        Assert.Equal(expected != HealthStatus.Healthy, health.Description!.Contains("orders", StringComparison.Ordinal));
        Assert.Equal(state, health.Data["orders"]);
    }

    [Fact]
    public async Task An_engine_is_unhealthy_until_it_is_open_while_it_closes_and_when_it_has_ended()
    {
        string home = Directory.CreateTempSubdirectory("pitr-health-").FullName;
        try
        {
            PitrDatabase? database = null;
            bool isClosing = false;
            var health = new HealthOfEngine(() => database, () => isClosing, Minute);
            Assert.All(await health.AskAllAsync(default), answer => Assert.Equal(HealthStatus.Unhealthy, answer.Result.Status));

            database = await PitrDatabase.CreateAsync(Path.Combine(home, "db"));
            Assert.All(await health.AskAllAsync(default), answer => Assert.Equal(HealthStatus.Healthy, answer.Result.Status));

            isClosing = true;
            Assert.Equal(HealthStatus.Unhealthy, (await health.AskAsync(HealthQuestion.Engine, default)).Status);

            await database.DisposeAsync();
            Assert.All(await health.AskAllAsync(default), answer => Assert.Equal(HealthStatus.Unhealthy, answer.Result.Status));
        }
        finally
        {
            Directory.Delete(home, recursive: true);
        }
    }
}
