using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>
/// Opening after a kill with far more WAL than the write buffers may hold: the replay flushes on its way.
/// </summary>
public sealed class LongReplayTests
{
    /// <summary>
    /// H21: the redo point moves with what was flushed, and what the files reported stays in the catalogue.
    /// </summary>
    [Fact]
    public async Task A_replay_that_flushes_on_its_way_opens_with_every_row()
    {
        const int Batches = 400;
        var disk = new SimulatedDisk(7);
        var options = new PitrOptions
        {
            MemoryBudgetBytes = 64L << 20,
            WriteBufferBytesMax = 64L << 20,
            FileSystem = disk,
        };
        SimulatedDisk killed;
        PitrDatabase database = await PitrDatabase.CreateAsync("/data/db", options);
        await using (database)
        {
            Table table = await database.CreateTableAsync("orders");
            for (int i = 0; i < Batches; i++)
            {
                var batch = new WriteBatch();
                for (int row = 0; row < 10; row++)
                    batch.Put(table, KeyOf(i, row), new byte[1000]);
                await database.CommitAsync(batch);
            }

            killed = disk.KillCopy();
        }

        PitrDatabase opened = await PitrDatabase.OpenAsync(
            "/data/db", options with { FileSystem = killed, WriteBufferBytesMax = 4L << 20 });
        await using (opened)
        {
            Assert.Equal(Batches * 10, opened.Count(opened.GetTable("orders")));
            await opened.PutAsync(opened.GetTable("orders"), new byte[] { 1 }, new byte[] { 2 });
        }
    }

    private static byte[] KeyOf(int batch, int row) => [(byte)(batch * 37), (byte)(batch >> 8), (byte)batch, (byte)row];
}
