using System.Text;
using Akka.Actor;
using Akka.Configuration;
using Microsoft.Extensions.Time.Testing;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A database that archives, on a simulated disk and in virtual time: nothing is shipped unless time goes on.
/// </summary>
internal sealed class ArchiveLab : IAsyncDisposable
{
    public const string Folder = "/db";
    public const string Archive = "/archive";
    public const int SegmentBytes = 16 << 10;
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    public static readonly DateTimeOffset Noon = ClockScheduler.Begin;

    private readonly List<PitrDatabase> _opened = [];
    private readonly ActorSystem _system = ActorSystem.Create(
        "archive-lab",
        ConfigurationFactory
            .ParseString(ClockScheduler.Implementation)
            .WithFallback(EngineConfig.OwnSystem));

    private int _commits;

    public ArchiveLab(SimulatedDisk? disk = null) => Disk = disk ?? new SimulatedDisk(7);

    /// <summary>Rows in the table.</summary>
    public long Acknowledged { get; private set; }

    public SimulatedDisk Disk { get; }

    public FakeTimeProvider Clock => ClockScheduler.ClockOf(_system);

    public PitrOptions Options => new()
    {
        FileSystem = Disk,
        ActorSystem = _system,
        Clock = Clock,
        WalSegmentBytes = SegmentBytes,
        MemoryBudgetBytes = 16 << 20,
        Delay = static _ => { },
    };

    public FolderStore Store => ArchiveTestData.Store(Disk, Archive);

    public ArchiveCatalog Catalog => ArchiveCatalog.Load(Store);

    /// <summary>A new database with the table t and an archive that is set up.</summary>
    public async Task<PitrDatabase> CreateAsync(Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrOptions options = Options with { ArchiveStores = [Archive] };
        Disk.CreateFolders(Archive);
        PitrDatabase database = await PitrDatabase
            .CreateAsync(Folder, with?.Invoke(options) ?? options).WaitAsync(Patience);
        _opened.Add(database);
        ArchiveIdentity.SetUp(Store, database.SystemId, () => 5, Noon);
        await database.CreateTableAsync("t").WaitAsync(Patience);
        return database;
    }

    public async Task<PitrDatabase> OpenAsync(Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await PitrDatabase
            .OpenAsync(Folder, with?.Invoke(Options) ?? Options).WaitAsync(Patience);
        _opened.Add(database);
        return database;
    }

    /// <summary>Commits so many KiB, one at a time.</summary>
    public async Task CommitAsync(PitrDatabase database, int kibibytes = 1)
    {
        Table table = database.GetTable("t");
        for (int i = 0; i < kibibytes; i++)
        {
            await database.PutAsync(table, Encoding.ASCII.GetBytes($"k{_commits++:d6}"), new byte[1 << 10])
                .AsTask().WaitAsync(Patience);
            Acknowledged++;
        }
    }

    /// <summary>Time goes on.</summary>
    public void Advance(TimeSpan by) => Clock.Advance(by);

    public void BreakStore() => Disk.Faults.On(FileOp.Create).Of(Archive).Always().Fail(Errno.EIO);

    /// <summary>Until the archive is as said; time goes on by a step at each look, if it is given.</summary>
    public async Task<ArchiveStatus> UntilAsync(
        PitrDatabase database, Func<ArchiveStatus, bool> holds, TimeSpan step = default) =>
        (await UntilStatusAsync(database, status => holds(status.Archive[0]), step)).Archive[0];

    public async Task<EngineStatus> UntilStatusAsync(
        PitrDatabase database, Func<EngineStatus, bool> holds, TimeSpan step = default)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
            if (holds(status))
                return status;
            Assert.False(
                patience.IsCancellationRequested, $"Still: {status.Archive[0]}, window {status.RecoveryWindow}");
            if (step > TimeSpan.Zero)
                Advance(step);
        }
    }

    /// <summary>Closes it while time goes on.</summary>
    public async Task CloseAsync(PitrDatabase database, TimeSpan step)
    {
        using var patience = new CancellationTokenSource(Patience);
        Task closing = database.ShutdownAsync();
        while (!closing.IsCompleted)
        {
            Assert.False(patience.IsCancellationRequested, "The shutdown does not end.");
            Advance(step);
            await Task.WhenAny(closing, Task.Delay(5));
        }
        await closing;
        _opened.Remove(database);
    }

    /// <summary>Whole segments in the order in which the store got them, since the disk's log was started.</summary>
    public ulong[] SegmentsInOrder()
    {
        Disk.Log.Stop();
        return
        [
            .. Disk.Log.Operations.Where(operation => operation.Op == FileOp.Link)
                .Select(operation => NumberOf($"wal/{Path.GetFileName(operation.Other!)}"))
                .Where(number => number > 0),
        ];
    }

    private static ulong NumberOf(string name) =>
        ObjectName.TryParseSegment(name, out _, out ulong number) ? number : 0;

    /// <summary>After a crash of the disk: nothing can be closed in order.</summary>
    public async Task AbandonAsync()
    {
        _opened.Clear();
        await _system.Terminate().WaitAsync(Patience);
    }

    public async ValueTask DisposeAsync()
    {
        Disk.Faults.Clear();
        foreach (PitrDatabase database in _opened.ToArray())
            await CloseAsync(database, TimeSpan.FromSeconds(1));
        await _system.Terminate().WaitAsync(Patience);
    }
}
