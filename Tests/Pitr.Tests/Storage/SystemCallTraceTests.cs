using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Runs where strace may attach to this process; skipped elsewhere, and says why.</summary>
public sealed class TracedFactAttribute : FactAttribute
{
    public TracedFactAttribute() => Skip = WhyNot();

    private static string? WhyNot()
    {
        if (!OperatingSystem.IsLinux())
            return "System calls are traced on Linux only.";
        if (!File.Exists(SystemCallTrace.Tracer))
            return "strace is not installed; Debian's package strace has it.";
        return Environment.IsPrivilegedProcess
            ? null
            : "A child may trace this process only as root: run the tests as root, or in a container with SYS_PTRACE.";
    }
}

/// <summary>Attaches strace to this process and gives the calls that name a folder, in order.</summary>
internal static partial class SystemCallTrace
{
    public const string Tracer = "/usr/bin/strace";

    private const string Calls = "openat,open,pwrite64,copy_file_range,fdatasync,fsync,sync_file_range,rename,"
        + "renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,ftruncate,flock,fcntl,mkdir,mkdirat";

    /// <summary>The calls that the action makes on things below a folder, as <c>name file flags</c>.</summary>
    public static async Task<List<string>> Of(string folder, Action action)
    {
        string output = Path.Combine(Path.GetTempPath(), $"pitr-trace-{Guid.NewGuid():N}");
        try
        {
            using Process strace = Process.Start(new ProcessStartInfo(Tracer)
            {
                ArgumentList =
                {
                    "-f", "-y", "-e", "trace=" + Calls, "-o", output,
                    "-p", Environment.ProcessId.ToString(CultureInfo.InvariantCulture),
                },
                RedirectStandardError = true,
            })!;
            string? attached = await strace.StandardError.ReadLineAsync();
            Assert.Contains("attached", attached, StringComparison.Ordinal);
            try
            {
                // Threads that began while it attached are followed too; this one was there before.
                action();
            }
            finally
            {
                using Process interrupt = Process.Start(
                    "kill", ["-INT", strace.Id.ToString(CultureInfo.InvariantCulture)]);
                await interrupt.WaitForExitAsync();
                await strace.WaitForExitAsync();
            }
            return [.. File.ReadAllLines(output)
                .Where(line => line.Contains(folder, StringComparison.Ordinal)
                    && !line.Contains(" = -1 ", StringComparison.Ordinal))
                .Select(line => Short(line, folder))];
        }
        finally
        {
            File.Delete(output);
        }
    }

    private static string Short(string line, string folder)
    {
        string call = CallName().Match(line).Groups[1].Value;
        string shown = line.Replace(folder + "/", "", StringComparison.Ordinal)
            .Replace(folder, ".", StringComparison.Ordinal);
        if (call == "copy_file_range")
            shown = shown[(shown.IndexOf(']') + 1)..]; // what is written to is the second file
        string file = FileName().Match(shown) is { Success: true } match ? match.Groups[1].Value : "?";
        string flags = string.Concat(Flags().Matches(line).Select(flag => " " + flag.Value));
        return $"{call} {file}{flags}";
    }

    [GeneratedRegex(@"^\d+\s+(\w+)\(")]
    private static partial Regex CallName();

    // The first name in quotes, or the first path that -y shows for a descriptor.
    [GeneratedRegex("(?:\"|\\d<)([^\">]+)[\">]")]
    private static partial Regex FileName();

    [GeneratedRegex("O_EXCL|O_DIRECTORY|O_CLOEXEC|0[67]00|LOCK_EX")]
    private static partial Regex Flags();
}

/// <summary>Tests that stop every thread of the process for a moment run alone.</summary>
[CollectionDefinition("traced", DisableParallelization = true)]
public sealed class TracedTests
{
}

/// <summary>Design §8: each durable step reaches the kernel as the call that keeps its promise.</summary>
[Collection("traced")]
public sealed class SystemCallTraceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-trace-").FullName;
    private readonly PosixFileSystem _disk = new();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [TracedFact]
    public async Task A_replace_syncs_content_then_renames_then_syncs_the_folder()
    {
        List<string> calls = await SystemCallTrace.Of(
            _folder, () => DurableReplace.Write(_disk, _folder + "/pitr.control", "content"u8));
        Assert.Equal(
            [
                "openat pitr.control.new O_EXCL O_CLOEXEC 0600",
                "pwrite64 pitr.control.new",
                "fdatasync pitr.control.new",
                "rename pitr.control.new",
                "openat . O_CLOEXEC O_DIRECTORY",
                "fsync .",
            ],
            calls.Select(call => call.Replace("renameat2", "rename", StringComparison.Ordinal)
                .Replace("renameat", "rename", StringComparison.Ordinal)
                .Replace("open ", "openat ", StringComparison.Ordinal)));
    }

    [TracedFact]
    public async Task Content_is_synced_by_fdatasync_and_written_back_by_sync_file_range()
    {
        using IFileHandle file = _disk.Open(_folder + "/a", FileOpen.CreateNew);
        using IFileHandle copy = _disk.Open(_folder + "/b", FileOpen.CreateNew);
        List<string> calls = await SystemCallTrace.Of(_folder, () =>
        {
            file.Write(0, new byte[100]);
            file.StartWriteback(0, 100);
            file.AwaitWriteback(0, 100);
            file.SetLength(50);
            file.SyncData();
            copy.CopyFrom(file, 0, 50);
        });
        Assert.Equal(
            [
                "pwrite64 a", "sync_file_range a", "sync_file_range a", "ftruncate a", "fdatasync a", "copy_file_range b",
            ],
            calls);
    }

    [TracedFact]
    public async Task A_database_is_locked_by_its_open_file()
    {
        List<string> calls = await SystemCallTrace.Of(
            _folder, () => DatabaseLock.Take(_disk, _folder, "process 7").Dispose());
        Assert.Contains(calls, call => call == "fcntl pitr.lock");
    }
}
