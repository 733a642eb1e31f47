using Pitr.Actors;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>Promise 1 as the kernel sees it: between Fenced and Unfenced no call that changes the file reaches it.</summary>
[Collection("traced")]
public sealed class FenceTraceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-fence-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Commits, a checkpoint and a spill come meanwhile; the trace sees those of the WAL, and none of the file.</summary>
    [TracedFact]
    public async Task No_system_call_writes_to_a_fenced_file()
    {
        string home = Path.Combine(_folder, "db");
        await using PitrDatabase database = await PitrDatabase.CreateAsync(
            home, new PitrOptions { WriteBufferBytesMax = 4 << 20 });
        await database.CreateTableAsync("t").Within();
        await database.PutAsync("t", "before", "v");
        await database.CheckpointAsync().Within();
        FenceGrant grant = await database.FenceAsync("main", TimeSpan.FromHours(1)).Within();
        Table table = database.GetTable("t");
        List<string> calls = await SystemCallTrace.Of(home, () =>
        {
            for (int i = 0; i < 40; i++)
                database.PutAsync(table, Bytes($"large{i}"), new byte[100_000]).AsTask().Within().GetAwaiter().GetResult();
            database.CheckpointAsync().Within().GetAwaiter().GetResult();
        });
        Assert.Contains(calls, call => call.StartsWith("pwrite64 wal/", StringComparison.Ordinal));
        Assert.Contains(calls, call => call.StartsWith("pwrite64 main.pitr.spill", StringComparison.Ordinal));
        Assert.DoesNotContain(calls, IsOfTheFile);

        calls = await SystemCallTrace.Of(home, () => database.UnfenceAsync(grant.FenceId).Within().GetAwaiter().GetResult());
        Assert.Contains(calls, IsOfTheFile); // the trace sees what is written to it
    }

    private static bool IsOfTheFile(string call) =>
        call.Split(' ') is [var name, "main.pitr", ..] && name is not ("openat" or "open" or "fcntl");
}
