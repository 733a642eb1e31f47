using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Backup under load, archive, and restore to every kind of target, through the facade with the real engine.</summary>
public sealed class PointInTimeRecoveryTests
{
    private static async Task<RecoveryLab> RecordedAsync(int before = 12, int after = 12)
    {
        var lab = new RecoveryLab();
        await using PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive);
        await lab.CreateTableAsync(database, "orders");
        await lab.CommitManyAsync(database, before);
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
        while (!backup.IsCompleted)
            await lab.CommitAsync(database);
        await backup;
        await lab.CommitManyAsync(database, after);
        return lab;
    }

    [Fact]
    public async Task A_restore_without_target_brings_everything_that_was_committed()
    {
        RecoveryLab lab = await RecordedAsync();

        string content = await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest);

        Assert.Equal(lab.Content, content);
    }
}
