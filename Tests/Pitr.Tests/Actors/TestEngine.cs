using System.Text;
using Akka.Actor;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What tests of a running engine on a simulated disk share.</summary>
internal static class TestEngine
{
    public const string Folder = "/db";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>No heartbeats, no paced pauses, small segments.</summary>
    public static PitrOptions OptionsFor(IFileSystem disk) => new()
    {
        FileSystem = disk,
        WalSegmentBytes = 64 << 10,
        MemoryBudgetBytes = 64 << 20,
        HeartbeatInterval = TimeSpan.FromHours(1),
        DiskReserveBytes = 0,
        Delay = static _ => { },
    };

    public static SimulatedDisk NewDisk(long seed = 1)
    {
        var disk = new SimulatedDisk(seed);
        disk.CreateFolders("/");
        return disk;
    }

    public static Task<PitrDatabase> CreateAsync(IFileSystem disk, Func<PitrOptions, PitrOptions>? with = null) =>
        PitrDatabase.CreateAsync(Folder, with is null ? OptionsFor(disk) : with(OptionsFor(disk))).Within();

    public static Task<PitrDatabase> OpenAsync(IFileSystem disk, Func<PitrOptions, PitrOptions>? with = null) =>
        PitrDatabase.OpenAsync(Folder, with is null ? OptionsFor(disk) : with(OptionsFor(disk))).Within();

    /// <summary>The bound of every wait.</summary>
    public static Task<T> Within<T>(this Task<T> task) => task.WaitAsync(Patience);

    public static Task Within(this Task task) => task.WaitAsync(Patience);

    public static Task<T> Within<T>(this ValueTask<T> task) => task.AsTask().WaitAsync(Patience);

    /// <summary>Looks until it is so; fails loudly if it never is.</summary>
    public static async Task Until(Func<bool> isSo, string what)
    {
        using var bound = new CancellationTokenSource(Patience);
        while (!isSo())
        {
            Assert.False(bound.IsCancellationRequested, $"Never: {what}");
            await Task.Delay(1);
        }
    }

    public static byte[] Bytes(string text) => Encoding.ASCII.GetBytes(text);

    public static Task<CommitResult> PutAsync(this PitrDatabase database, string table, string key, string value) =>
        database.PutAsync(database.GetTable(table), Bytes(key), Bytes(value)).Within();

    public static string? Get(this PitrDatabase database, string table, string key) =>
        database.Get(database.GetTable(table), Bytes(key)) is { } value ? Encoding.ASCII.GetString(value) : null;

    /// <summary>One of the engine's actors, by its name.</summary>
    public static ActorSelection Child(this PitrDatabase database, string name) =>
        database.System.ActorSelection(database.Actors.Supervisor.Path / name);
}
