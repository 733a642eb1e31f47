using System.Globalization;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// H34: a moment at which nothing was committed is reached once a heartbeat behind it is in the store, and not before.
/// </summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "IAsyncLifetime disposes of it: xunit calls that.")]
public sealed class IdleTargetTests : IAsyncLifetime
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(500);
    private readonly ArchiveLab _lab = new();

    public Task InitializeAsync() => Task.CompletedTask;

    public Task DisposeAsync() => _lab.DisposeAsync().AsTask();

    [Fact]
    public async Task A_time_within_an_idle_stretch_is_reached_once_a_heartbeat_proves_it()
    {
        PitrDatabase database = await _lab.CreateAsync();
        await _lab.CommitAsync(database, 3);
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = ArchiveLab.Archive });
        while (!backup.IsCompleted)
        {
            _lab.Advance(Tick);
            await Task.WhenAny(backup, Task.Delay(5));
        }
        await backup;
        _lab.Advance(Tick);
        await _lab.CommitAsync(database, 4);
        Lsn last = (await database.GetStatusAsync()).FlushedLsn;
        DateTimeOffset idleFrom = _lab.Clock.GetUtcNow();
        await PassAsync(database, TimeSpan.FromSeconds(5)); // and no heartbeat is due yet

        RefusedException early = await Assert.ThrowsAsync<RefusedException>(
            () => RestoredRowsAsync(idleFrom.AddSeconds(4), "/early"));
        Assert.Equal(ErrorCode.TargetUnreachable, early.Code);

        await PassAsync(database, TimeSpan.FromSeconds(25));
        Assert.True((await database.GetStatusAsync()).FlushedLsn > last);
        await _lab.CommitAsync(database, 2);
        await PassAsync(database, TimeSpan.FromSeconds(1));

        foreach (int second in (int[])[4, 15])
        {
            Assert.Equal(
                _lab.Acknowledged - 2,
                await RestoredRowsAsync(
                    idleFrom.AddSeconds(second), string.Create(CultureInfo.InvariantCulture, $"/after-{second}")));
        }
    }

    /// <summary>So much time goes by, and what is durable then is in the store.</summary>
    private async Task PassAsync(PitrDatabase database, TimeSpan time)
    {
        for (TimeSpan passed = default; passed < time; passed += Tick)
        {
            _lab.Advance(Tick);
            await database.GetStatusAsync().WaitAsync(ArchiveLab.Patience);
        }
        await _lab.UntilAsync(database, store => store.LagBytes == 0);
    }

    /// <summary>On a copy of the disk, in time that goes on by itself.</summary>
    private async Task<long> RestoredRowsAsync(DateTimeOffset time, string into)
    {
        SimulatedDisk copy = _lab.Disk.KillCopy();
        PitrOptions options = RecoveryLab.OptionsOn(copy);
        RestoreResult result = await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = ArchiveLab.Archive,
                Into = into,
                Target = RecoveryTarget.Including(time),
                Detached = true,
            },
            options).WaitAsync(ArchiveLab.Patience);
        Assert.True(result.StoppedAt.Time <= time, $"{result.StoppedAt} for {time:O}");
        await using PitrDatabase restored = await PitrDatabase.OpenAsync(into, options).WaitAsync(ArchiveLab.Patience);
        return restored.Count(restored.GetTable("t"));
    }
}
