using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>What <c>pitr serve</c> tells of itself: health, metrics, log, and whose settings it takes.</summary>
public sealed partial class ServeTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-serve-").FullName;
    private readonly HttpClient _client = new() { Timeout = PitrProcess.Patience };

    public void Dispose()
    {
        _client.Dispose();
        Directory.Delete(_home, recursive: true);
    }

    [Fact]
    public async Task Health_is_told_without_a_token_and_why_with_one()
    {
        await using ServeProcess serve = await ServeAsync();
        (HttpStatusCode code, JsonElement health) = await HealthAsync(serve, token: null);
        Assert.Equal((HttpStatusCode.OK, "healthy"), (code, health.GetProperty("status").GetString()));
        JsonElement[] checks = [.. health.GetProperty("checks").EnumerateArray()];
        Assert.Equal(
            ["pitr-engine", "pitr-archive", "pitr-datafiles"], checks.Select(check => check.GetProperty("name").GetString()));
        Assert.All(checks, check => Assert.False(check.TryGetProperty("description", out _)));

        string file = Directory.GetFiles(Path.Combine(_home, ".pitr", "run"), "*.token")
            .Single(path => !path.Contains("viewer", StringComparison.Ordinal));
        (_, health) = await HealthAsync(serve, File.ReadAllText(file).Trim());
        Assert.Equal("It takes commits.", health.GetProperty("checks")[0].GetProperty("description").GetString());
        Assert.Equal(0, await serve.TerminateAsync());
    }

    [Fact]
    public async Task Health_is_503_while_the_shutdown_waits_for_a_fence()
    {
        await using ServeProcess serve = await ServeAsync();
        await CliInProcess.MustAsync(_home, "fence", "main", "--host", serve.Host);
        await serve.SignalAsync();
        await serve.WhenLoggedAsync("Shutting down");
        (HttpStatusCode code, JsonElement health) = await HealthAsync(serve, token: null);
        Assert.Equal(
            (HttpStatusCode.ServiceUnavailable, "unhealthy"), (code, health.GetProperty("status").GetString()));
        await CliInProcess.MustAsync(_home, "unfence", "main", "--host", serve.Host);
        Assert.Equal(0, await serve.EndAsync());
    }

    [Fact]
    public async Task Metrics_are_in_the_form_that_prometheus_reads()
    {
        await using ServeProcess serve = await ServeAsync();
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--host", serve.Host);
        for (int i = 0; i < 3; i++)
            await CliInProcess.MustAsync(_home, "put", "t", $"k{i}", "v", "--host", serve.Host);
        await CliInProcess.MustAsync(_home, "checkpoint", "--host", serve.Host);
        using HttpResponseMessage answer = await _client.GetAsync(new Uri($"http://{serve.Http}/metrics"));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal("text/plain", answer.Content.Headers.ContentType?.MediaType);
        string text = await answer.Content.ReadAsStringAsync();

        Assert.Equal(3, Sample(text, "pitr_commits_total"));
        Assert.True(Sample(text, "pitr_wal_written_bytes_total") > 0);
        Assert.Equal(1, Sample(text, "pitr_datafile_state", "pitr_state=\"open\""));
        Assert.True(Sample(text, "pitr_flush_duration_seconds_count", "pitr_datafile=\"main\"") >= 1);
        Assert.True(Sample(text, "pitr_commit_duration_seconds_bucket", "le=\"+Inf\"") >= 1);
        Assert.Contains("dotnet_gc_", text, StringComparison.Ordinal);
        Assert.Equal(0, await serve.TerminateAsync());
    }

    [Fact]
    public async Task Everything_else_at_that_address_needs_a_token()
    {
        await using ServeProcess serve = await ServeAsync();
        foreach (string path in new[] { "/", "/health/x", "/healthz", "/v1/tables/t/count" })
        {
            using HttpResponseMessage answer = await _client.GetAsync(new Uri($"http://{serve.Http}{path}"));
            Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
        }
    }

    [Fact]
    public async Task The_log_can_be_json_a_line_each_and_have_a_least_level()
    {
        await using ServeProcess serve = await ServeAsync("--log-json", "--log-level", "debug");
        await CliInProcess.MustAsync(_home, "checkpoint", "--host", serve.Host);
        Assert.Equal(0, await serve.TerminateAsync());
        string[] lines = serve.Log.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.NotEmpty(lines);
        List<(string? Level, string Message)> entries = [];
        foreach (string line in lines)
        {
            using JsonDocument entry = JsonDocument.Parse(line);
            entries.Add((
                entry.RootElement.TryGetProperty("@l", out JsonElement level) ? level.GetString() : "Information",
                entry.RootElement.GetProperty("@m").GetString()!));
        }

        Assert.Contains(
            entries, static entry => entry.Level == "Debug" && entry.Message.StartsWith("Checkpoint begins", StringComparison.Ordinal));
        Assert.Contains(
            entries, static entry => entry.Level == "Debug" && entry.Message.StartsWith("Session opened", StringComparison.Ordinal));
        Assert.Contains(entries, static entry => entry.Level == "Information");
    }

    [Fact]
    public async Task A_level_that_is_none_is_wrong_usage()
    {
        (int exitCode, _, string error) = await new CliRun(new MemoryTarget()).RunAsync("serve", "db", "--log-level", "loud");
        Assert.Equal(ExitCodes.Usage, exitCode);
        Assert.Contains("'loud' is not a LEVEL: debug, information, warning, error", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_bad_setting_keeps_it_from_starting_and_the_failure_names_the_file()
    {
        await PitrProcess.MustAsync(_home, "init", "db");
        File.WriteAllText(Path.Combine(_home, "db", "pitr.json"), """{ "checkpointInterval": "often" }""");
        Outcome outcome = await PitrProcess.RunAsync(_home, "serve", "db");
        Assert.Equal(ExitCodes.Refused, outcome.ExitCode);
        Assert.Contains(Path.Combine(_home, "db", "pitr.json"), outcome.Error, StringComparison.Ordinal);
        Assert.Contains("'often' is not a DURATION", outcome.Error, StringComparison.Ordinal);
    }

    private async Task<ServeProcess> ServeAsync(params string[] options)
    {
        await CliInProcess.MustAsync(_home, "init", "db");
        return await ServeProcess.StartAsync(_home, "db", options);
    }

    private async Task<(HttpStatusCode Code, JsonElement Health)> HealthAsync(ServeProcess serve, string? token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{serve.Http}/health");
        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using HttpResponseMessage answer = await _client.SendAsync(request);
        using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        return (answer.StatusCode, body.RootElement.Clone());
    }

    /// <summary>The value of the first sample of a name whose labels hold a text.</summary>
    private static double Sample(string metrics, string name, string label = "")
    {
        Match? sample = SampleLine().Matches(metrics).FirstOrDefault(line =>
            line.Groups["name"].Value == name && line.Groups["labels"].Value.Contains(label, StringComparison.Ordinal));
        Assert.True(sample is not null, $"There is no {name}{{{label}}} in\n{metrics}");
        return double.Parse(sample!.Groups["value"].Value, CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"^(?<name>\w+)(\{(?<labels>[^}]*)\})? (?<value>\S+)", RegexOptions.Multiline)]
    private static partial Regex SampleLine();
}
