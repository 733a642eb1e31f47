using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>The sample service as its customers meet it: orders while a file is fenced, after a kill, at the end.</summary>
public sealed class ShopSampleTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-shop-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task An_order_that_was_answered_survives_a_kill_and_the_next_start_goes_on_from_it()
    {
        await using (ShopProcess shop = await ShopProcess.StartAsync(_home))
        {
            Assert.Equal(1, await shop.OrderAsync("ada", "lamp", 3));
            Assert.Equal(2, await shop.OrderAsync("alan", "lamp", 4));
            shop.Kill();
        }

        await using ShopProcess again = await ShopProcess.StartAsync(_home);
        Assert.Equal("ada", (await again.GetAsync("/orders/1")).GetProperty("customer").GetString());
        Assert.Equal(93, (await again.GetAsync("/stock")).GetProperty("lamp").GetInt32());
        Assert.Equal(3, await again.OrderAsync("grace", "vase", 1));
    }

    [Fact]
    public async Task Of_many_customers_at_once_nobody_gets_what_is_not_there()
    {
        await using ShopProcess shop = await ShopProcess.StartAsync(_home);
        long?[] numbers = await Task.WhenAll(Enumerable.Range(0, 12).Select(n => shop.OrderAsync($"customer {n}", "rug", 1)));
        Assert.Equal([1L, 2, 3, 4, 5], numbers.OfType<long>().Order()); // there were five
        Assert.Equal(0, (await shop.GetAsync("/stock")).GetProperty("rug").GetInt32());
    }

    [Fact]
    public async Task Orders_go_on_while_the_file_is_fenced_and_the_stop_waits_until_it_is_not()
    {
        await using ShopProcess shop = await ShopProcess.StartAsync(_home, withAdministration: true);
        await CliInProcess.MustAsync(_home, "fence", "orders", "--host", shop.Administration);
        Assert.Equal(1, await shop.OrderAsync("ada", "lamp", 1));
        await shop.SignalAsync();
        await shop.WhenLoggedAsync("The stop waits for the fence");
        Assert.False(shop.HasEnded);
        await CliInProcess.MustAsync(_home, "unfence", "orders", "--host", shop.Administration);
        Assert.Equal(0, await shop.EndAsync());
    }

    [Fact]
    public async Task What_is_no_order_and_no_disk_is_a_bad_request_and_changes_nothing()
    {
        await using ShopProcess shop = await ShopProcess.StartAsync(_home);
        foreach (object wrong in new object[]
        {
            new { }, new { customer = "ada", item = "lamp", quantity = 0 }, new { customer = "ada", item = "lamp", quantity = -3 },
            new { customer = " ", item = "lamp", quantity = 1 }, new { customer = "ada", quantity = 1 },
        })
            Assert.Equal(HttpStatusCode.BadRequest, await shop.PostAsync("/orders", wrong));
        foreach (string disk in new[] { "", "../../elsewhere", "/elsewhere", "a%2Fb", ".." })
            Assert.Equal(HttpStatusCode.BadRequest, await shop.PostAsync($"/office/move?to={disk}", new { }));
        Assert.Equal(100, (await shop.GetAsync("/stock")).GetProperty("lamp").GetInt32());
        Assert.Equal(1, await shop.OrderAsync("ada", "lamp", 1));
        Assert.False(Directory.Exists(Path.Combine(_home, "shop-data", "disks")));
    }

    /// <summary>Somebody ends its fence while <c>cp</c> runs: what that made is void, and the copy of before is not.</summary>
    [Fact]
    public async Task A_copy_whose_fence_broke_leaves_the_good_one_of_before()
    {
        string bin = Directory.CreateDirectory(Path.Combine(_home, "bin")).FullName;
        string cp = Path.Combine(bin, "cp");
        await File.WriteAllTextAsync(cp, """
            #!/bin/sh
            /bin/cp "$@" || exit
            if [ -p "$HOME/copied" ]; then
                echo > "$HOME/copied"
                read -r line < "$HOME/go"
            fi
            """);
        using (Process made = Process.Start("chmod", ["+x", cp]))
            await made.WaitForExitAsync();
        await using ShopProcess shop = await ShopProcess.StartAsync(
            _home, withAdministration: true, ("PATH", $"{bin}:{Environment.GetEnvironmentVariable("PATH")}"));
        Assert.Equal(HttpStatusCode.OK, await shop.PostAsync("/office/copy", new { }));
        string copies = Path.Combine(_home, "shop-data", "copies");
        string copy = Path.Combine(copies, "orders.pitr");
        byte[] good = await File.ReadAllBytesAsync(copy);
        Assert.Equal(1, await shop.OrderAsync("ada", "lamp", 1));
        using (Process made = Process.Start("mkfifo", [Path.Combine(_home, "copied"), Path.Combine(_home, "go")]))
            await made.WaitForExitAsync();

        Task<HttpStatusCode> copying = shop.PostAsync("/office/copy", new { });
        await File.ReadAllTextAsync(Path.Combine(_home, "copied")).WaitAsync(PitrProcess.Patience);
        await CliInProcess.MustAsync(_home, "unfence", "orders", "--host", shop.Administration);
        await File.WriteAllTextAsync(Path.Combine(_home, "go"), "\n").WaitAsync(PitrProcess.Patience);

        Assert.NotEqual(HttpStatusCode.OK, await copying.WaitAsync(PitrProcess.Patience));
        Assert.Equal(good, await File.ReadAllBytesAsync(copy));
        Assert.Equal([copy], Directory.GetFiles(copies));
    }

    [Fact]
    public async Task A_bad_setting_keeps_it_from_starting()
    {
        using Process process = ShopProcess.Begin(_home, ("PITR__MEMORYBUDGETBYTES", "plenty"));
        string output = await process.StandardOutput.ReadToEndAsync().WaitAsync(PitrProcess.Patience);
        string error = await process.StandardError.ReadToEndAsync().WaitAsync(PitrProcess.Patience);
        await process.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        Assert.NotEqual(0, process.ExitCode);
        Assert.Contains("PITR__MEMORYBUDGETBYTES of the environment", output + error, StringComparison.Ordinal);
    }
}

/// <summary>A running <c>samples/Shop</c>.</summary>
internal sealed class ShopProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly HttpClient _client = new() { Timeout = PitrProcess.Patience };
    private readonly HostLog _log = new();
    private readonly Task _reading;

    private ShopProcess(Process process)
    {
        _process = process;
        _reading = ReadAsync();
    }

    /// <summary>Where the build has put it.</summary>
    public static string Executable { get; } = Path.Combine(
        SourceTree.Root, "artifacts/bin/Pitr.Samples.Shop",
        Path.GetFileName(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory)), "Pitr.Samples.Shop");

    /// <summary>HOST:PORT of the administration.</summary>
    public string Administration { get; private set; } = "";

    public bool HasEnded => _process.HasExited;

    /// <summary>Starts it in a folder; it need not come up.</summary>
    public static Process Begin(string home, params (string Name, string Value)[] variables)
    {
        var start = new ProcessStartInfo(Executable, ["--urls", "http://127.0.0.1:0"])
        {
            WorkingDirectory = home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["HOME"] = home;
        start.Environment.Remove("XDG_RUNTIME_DIR");
        foreach ((string name, string value) in variables)
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>Starts it, and waits until it answers.</summary>
    public static async Task<ShopProcess> StartAsync(
        string home, bool withAdministration = false, params (string Name, string Value)[] variables)
    {
        (string, string)[] administration = withAdministration ? [("PITR__LISTEN", "127.0.0.1:0")] : [];
        var shop = new ShopProcess(Begin(home, [.. variables, .. administration]));
        await shop._log.WhenAsync("Application started");
        shop._client.BaseAddress = new Uri(shop.Said("Now listening on: "));
        if (withAdministration)
            shop.Administration = shop.Said("is administered at --host ").Trim('"');
        return shop;
    }

    /// <summary>The number of an order that was taken; null if there is not enough in stock.</summary>
    public async Task<long?> OrderAsync(string customer, string item, int quantity)
    {
        using HttpResponseMessage answer = await _client.PostAsJsonAsync("/orders", new { customer, item, quantity });
        if (answer.StatusCode == HttpStatusCode.Conflict)
            return null;
        Assert.Equal(HttpStatusCode.Created, answer.StatusCode);
        return (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("number").GetInt64();
    }

    public async Task<HttpStatusCode> PostAsync(string path, object body)
    {
        using HttpResponseMessage answer = await _client.PostAsJsonAsync(path, body);
        return answer.StatusCode;
    }

    public async Task<JsonElement> GetAsync(string path) => await _client.GetFromJsonAsync<JsonElement>(path);

    public Task WhenLoggedAsync(string text) => _log.WhenAsync(text);

    public void Kill() => _process.Kill();

    /// <summary>SIGTERM.</summary>
    public async Task SignalAsync()
    {
        using Process kill =
            Process.Start("kill", ["-TERM", _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }

    public async Task<int> EndAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        await _reading;
        _process.Dispose();
        _client.Dispose();
    }

    /// <summary>What follows a text in the log, to the end of the word.</summary>
    private string Said(string before)
    {
        string line = _log.Lines.First(line => line.Contains(before, StringComparison.Ordinal));
        return line[(line.IndexOf(before, StringComparison.Ordinal) + before.Length)..].Split(' ')[0];
    }

    private async Task ReadAsync()
    {
        Task errors = _process.StandardError.ReadToEndAsync();
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
            _log.Add(line);
        await errors;
    }
}
