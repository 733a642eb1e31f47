using System.Text;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Somebody puts another file into a stopped database: it is told by its name, and the others serve.</summary>
public sealed class PutBackFileTests
{
    private const string Early = "/db/early.pitr";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>H16: an older copy put back with cp; H24: what the right file needs is kept meanwhile.</summary>
    [Fact]
    public async Task An_older_copy_that_was_put_back_needs_recovery_while_the_others_serve()
    {
        (RecoveryLab lab, byte[] older) = await StoppedAsync();
        byte[] right = lab.Disk.ReadAll(Early);
        Put(lab.Disk, older);

        await using (PitrDatabase database = await OpenAsync(lab.Disk))
        {
            await RequireEarlyAloneNeedsRecoveryAsync(database);
            await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "1"u8.ToArray());
            await database.CheckpointAsync().WaitAsync(Patience);
            await database.SwitchWalAsync().WaitAsync(Patience);
            await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "2"u8.ToArray());
            await database.CheckpointAsync().WaitAsync(Patience);
            await database.ShutdownAsync().WaitAsync(Patience);
        }
        Assert.Equal(older, lab.Disk.ReadAll(Early));

        Put(lab.Disk, right);
        await using PitrDatabase again = await OpenAsync(lab.Disk);
        Assert.Equal("2", Encoding.UTF8.GetString(again.Get(again.GetTable("orders"), "other"u8.ToArray())!));
        Assert.True(again.Count(again.GetTable("archived")) > 0);
        await again.PutAsync(again.GetTable("archived"), "k"u8.ToArray(), "v"u8.ToArray());
    }

    /// <summary>
    /// H14, H15: a copy out of a database that was restored from this one is of another incarnation and timeline.
    /// </summary>
    [Fact]
    [MixedCase("X3")]
    public async Task A_file_of_a_restored_sibling_needs_recovery_and_each_restore_draws_incarnations_anew()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest, "/one");
        await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest, "/two");
        Incarnation[] drawn =
        [
            .. new[] { "/db", "/one", "/two" }
                .SelectMany(folder => new ControlFileStore(lab.Disk, folder).ReadLive().Catalogue.Files)
                .Select(file => file.Incarnation),
        ];
        Assert.Equal(6, drawn.Distinct().Count());

        Put(lab.Disk, lab.Disk.ReadAll("/one/early.pitr"));
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        await RequireEarlyAloneNeedsRecoveryAsync(database);
    }

    /// <summary>
    /// H14: a file whose checkpoint LSN is of a lineage that is not on the database's path is not used, though
    /// incarnation, generation and LSN fit: as after somebody put a file of the abandoned future into a restore.
    /// </summary>
    [Fact]
    [MixedCase("X4")]
    public async Task A_file_of_a_lineage_that_is_not_on_the_path_needs_recovery()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        MetaPage meta = Datafile.Inspect(lab.Disk, Early);
        byte[] page = new byte[PageLayout.PageBytes];
        (meta with { Lineage = new Lineage(meta.Lineage.Value + 1) }).Write(page);
        using (IFileHandle handle = lab.Disk.Open(Early, FileOpen.ReadWrite))
            handle.Write(meta.Slot * (long)PageLayout.PageBytes, page);

        await using PitrDatabase database = await OpenAsync(lab.Disk);
        await RequireEarlyAloneNeedsRecoveryAsync(database);
    }

    /// <summary>H16: a file ahead of the WAL means that the WAL is not the one that it was written from.</summary>
    [Fact]
    [MixedCase("X6")]
    public async Task A_file_ahead_of_the_WAL_keeps_the_database_closed_and_nothing_is_changed()
    {
        var lab = new RecoveryLab(21);
        SimulatedDisk before;
        await using (PitrDatabase database = await lab.CreateAsync().WaitAsync(Patience))
        {
            await FillAsync(lab, database);
            await database.CheckpointAsync().WaitAsync(Patience);
            before = lab.Disk.KillCopy();
            await lab.CommitManyAsync(database, 10);
            await database.ShutdownAsync().WaitAsync(Patience);
        }
        Put(before, lab.Disk.ReadAll(Early));
        byte[] control = before.ReadAll("/db/pitr.control");

        PitrException refused = await Assert.ThrowsAnyAsync<PitrException>(() => OpenAsync(before));

        Assert.Contains("early", refused.Message, StringComparison.Ordinal);
        Assert.Equal(control, before.ReadAll("/db/pitr.control"));
        Assert.Equal(lab.Disk.ReadAll(Early), before.ReadAll(Early));
    }

    private static async Task FillAsync(RecoveryLab lab, PitrDatabase database)
    {
        await lab.CreateTableAsync(database, "orders");
        await database.CreateDatafileAsync("early");
        await lab.CreateTableAsync(database, "archived", "early");
        await lab.CommitManyAsync(database, 10);
    }

    /// <summary>
    /// A database that was shut down, and an earlier copy of its datafile "early", made under a fence's rule: still.
    /// </summary>
    private static async Task<(RecoveryLab Lab, byte[] Older)> StoppedAsync()
    {
        var lab = new RecoveryLab(20);
        byte[] older;
        await using (PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience))
        {
            await FillAsync(lab, database);
            await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience);
            await database.CheckpointAsync().WaitAsync(Patience);
            older = lab.Disk.ReadAll(Early);
            await lab.CommitManyAsync(database, 5);
            await database.CheckpointAsync().WaitAsync(Patience);
            await lab.CommitManyAsync(database, 5);
            await database.ShutdownAsync().WaitAsync(Patience);
        }
        return (lab, older);
    }

    private static Task<PitrDatabase> OpenAsync(SimulatedDisk disk) =>
        PitrDatabase.OpenAsync(RecoveryLab.Folder, RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);

    private static void Put(SimulatedDisk disk, byte[] content)
    {
        disk.Delete(Early);
        using IFileHandle handle = disk.Open(Early, FileOpen.CreateNew);
        handle.Write(0, content);
    }

    private static async Task RequireEarlyAloneNeedsRecoveryAsync(PitrDatabase database)
    {
        Assert.True(database.Count(database.GetTable("orders")) > 0);
        RefusedException read = Assert.Throws<RefusedException>(
            () => database.Get(database.GetTable("archived"), "k01"u8.ToArray()));
        RefusedException write = await Assert.ThrowsAsync<RefusedException>(
            async () => await database.PutAsync(database.GetTable("archived"), "k"u8.ToArray(), "v"u8.ToArray()));
        Assert.Equal((ErrorCode.DatafileNeedsRecovery, ErrorCode.DatafileNeedsRecovery), (read.Code, write.Code));
        EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
        Assert.Equal("needsRecovery", Assert.Single(status.Datafiles, file => file.Name == "early").State);
    }
}
