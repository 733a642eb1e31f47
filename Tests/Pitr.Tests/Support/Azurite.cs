using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Azure.Storage.Blobs;

namespace Pitr.Tests;

/// <summary>A test that needs Azurite, the emulator of Azure Blob Storage; skipped, with the reason, without it.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class AzuriteFactAttribute : FactAttribute
{
    public AzuriteFactAttribute() => Skip = Azurite.WhyNot;
}

/// <summary>
/// Azurite as <c>.ci/run</c> installs it (npm, into artifacts/npm), one process for all tests, each of which makes a
/// container of its own.
/// </summary>
internal static class Azurite
{
    private const string Account = "pitr";

    private static readonly string Script = Path.Combine(
        SourceTree.Root, "artifacts/npm/node_modules/azurite/dist/src/blob/main.js");

    private static readonly Lazy<string> Running = new(Start);

    /// <summary>Why it can't be had; null if it can.</summary>
    public static string? WhyNot { get; } = File.Exists(Script)
        ? null
        : "There is no Azurite: npm install --prefix artifacts/npm azurite@3.37.0 (as .ci/run does).";

    /// <summary>How to reach it; starts it.</summary>
    public static string ConnectionString => Running.Value;

    /// <summary>A new, empty container.</summary>
    public static BlobContainerClient NewContainer()
    {
        var container = new BlobContainerClient(ConnectionString, $"test-{Guid.NewGuid():N}");
        container.Create();
        return container;
    }

    private static string Start()
    {
        int port = FreePort();
        string key = Convert.ToBase64String(RandomNumberGenerator.GetBytes(64));
        var start = new ProcessStartInfo("node")
        {
            ArgumentList =
            {
                Script, "--inMemoryPersistence", "--blobHost", "127.0.0.1",
                "--blobPort", port.ToString(CultureInfo.InvariantCulture), "--disableTelemetry", "--skipApiVersionCheck",
            },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["AZURITE_ACCOUNTS"] = $"{Account}:{key}" },
        };
        Process azurite = Process.Start(start)!;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => azurite.Kill();
        var isUp = new TaskCompletionSource();
        var said = new StringBuilder();
        azurite.EnableRaisingEvents = true;
        azurite.Exited += (_, _) => isUp.TrySetException(new InvalidOperationException($"Azurite ended: {said}"));
        azurite.OutputDataReceived += (_, line) => Hear(line.Data);
        azurite.ErrorDataReceived += (_, line) => Hear(line.Data);
        azurite.BeginOutputReadLine();
        azurite.BeginErrorReadLine();
        isUp.Task.WaitAsync(PitrProcess.Patience).GetAwaiter().GetResult();
        return $"DefaultEndpointsProtocol=http;AccountName={Account};AccountKey={key};"
            + $"BlobEndpoint=http://127.0.0.1:{port}/{Account};";

        void Hear(string? line)
        {
            lock (said)
                said.AppendLine(line);
            if (line?.Contains("successfully listens", StringComparison.Ordinal) is true)
                isUp.TrySetResult();
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
