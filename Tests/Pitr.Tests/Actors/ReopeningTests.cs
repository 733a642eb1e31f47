using Akka.Actor;
using Akka.Configuration;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>What goes on over the end of an engine, orderly or not.</summary>
public sealed class ReopeningTests
{
    private readonly RecoveryLab _lab = new();

    /// <summary>
    /// The redo point passes the records that show which ids were given: the control file has to know.
    /// </summary>
    [Fact]
    public async Task Transaction_ids_are_never_given_twice()
    {
        var given = new List<ulong>();
        await using (PitrDatabase database = await _lab.CreateAsync())
        {
            await database.CreateTableAsync("orders");
            given.Add(await PutAsync(database));
        }

        for (int start = 0; start < 3; start++)
        {
            await using PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, _lab.Options);
            given.Add(await PutAsync(database));
            given.Add(await PutAsync(database));
            if (start == 1)
                await database.CheckpointAsync();
        }

        SimulatedDisk killed;
        await using (PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, _lab.Options))
        {
            given.Add(await PutAsync(database));
            await database.CheckpointAsync();
            killed = _lab.Disk.KillCopy();
        }

        await using (
            PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, RecoveryLab.OptionsOn(killed)))
            given.Add(await PutAsync(database));

        Assert.Equal(Enumerable.Range(1, given.Count).Select(id => (ulong)id), given);
    }

    /// <summary>Found by the simulation: each opening added them once more, and took longer than the one before.</summary>
    [Fact]
    public async Task A_given_actor_system_gets_the_dispatchers_once()
    {
        using var system = ActorSystem.Create("given", "akka { loglevel = OFF, stdout-loglevel = OFF }");
        PitrOptions options = _lab.Options with { ActorSystem = system };
        await (await PitrDatabase.CreateAsync(RecoveryLab.Folder, options)).DisposeAsync();
        Config first = system.Settings.Config;

        await using (PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, options))
            Assert.Same(first, system.Settings.Config);
    }

    /// <summary>I12: a process that opens databases one after the other holds the memory of those that are open.</summary>
    [Fact]
    public async Task A_closed_database_has_given_its_memory_back()
    {
        await (await PitrDatabase.CreateAsync(RecoveryLab.Folder, _lab.Options)).DisposeAsync();
        PitrDatabase database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, _lab.Options);
        await database.CreateTableAsync("orders");
        await PutAsync(database);
        Assert.NotEqual(0, database.HeldBytes.BufferBytes);
        await database.CheckpointAsync();
        Assert.NotNull(database.Get(database.GetTable("orders"), "k"u8));
        Assert.NotEqual(0, database.HeldBytes.CachedBytes);

        await database.DisposeAsync();

        Assert.Equal((0, 0), database.HeldBytes);
    }

    private static async Task<ulong> PutAsync(PitrDatabase database) =>
        (await database.PutAsync(database.GetTable("orders"), "k"u8.ToArray(), "v"u8.ToArray())).TransactionId.Value;
}
