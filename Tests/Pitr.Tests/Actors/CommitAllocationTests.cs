using Xunit.Abstractions;

namespace Pitr.Tests;

/// <summary>What a commit allocates; alone, since the runtime counts for the whole process.</summary>
[Collection(nameof(CommitAllocationTests))]
[CollectionDefinition(nameof(CommitAllocationTests), DisableParallelization = true)]
public sealed class CommitAllocationTests(ITestOutputHelper output)
{
    /// <summary>Design §3 asks for 64 bytes; twice as much is what a busy test machine may add.</summary>
    [Fact]
    public async Task A_commit_allocates_next_to_nothing_at_steady_state()
    {
        const int writers = 128, rounds = 60;
        string folder = Directory.CreateTempSubdirectory("pitr-commit-").FullName;
        try
        {
            await using PitrDatabase database = await PitrDatabase.CreateAsync(
                Path.Combine(folder, "db"), new PitrOptions { MemoryBudgetBytes = 256 << 20 }).Within();
            Table table = await database.CreateTableAsync("t").Within();
            await RunAsync(20);
            long before = GC.GetTotalAllocatedBytes(precise: true);
            await RunAsync(rounds);
            double each = (double)(GC.GetTotalAllocatedBytes(precise: true) - before) / (writers * rounds);
            output.WriteLine($"{each:f1} bytes a commit");
            Assert.True(each < 128, $"{each:f1} bytes are allocated for a commit");

            Task RunAsync(int count) => Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
            {
                var batch = new WriteBatch();
                byte[] key = BitConverter.GetBytes((long)writer);
                byte[] value = new byte[100];
                for (int i = 0; i < count; i++)
                {
                    batch.Clear();
                    batch.Put(table, key, value);
                    await database.CommitAsync(batch);
                }
            }))).Within();
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
