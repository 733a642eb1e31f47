using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>What a group needs of ready segments is known for each of its records (H4).</summary>
public sealed class GroupSegmentsTests
{
    /// <summary>
    /// H4: the record at the front of the backlog was withdrawn, and the next one is larger than what is ready.
    /// </summary>
    [Fact]
    public async Task A_large_commit_behind_a_withdrawn_one_waits_for_segments()
    {
        await using TestDatabase test = await TestDatabase.CreateAsync();
        Table table = await test.CreateTableAsync("t");
        FaultGate gate = test.Disk.Faults.On(FileOp.SyncData).Of("/wal/").Hold();
        Task<CommitResult> first = test.PutAsync(table, "first", "1");
        await gate.Reached.WaitAsync(TestDatabase.Patience);

        // Both stand in the intake while the first one's group is in its sync
        using var cancel = new CancellationTokenSource();
        var small = new WriteBatch();
        small.Put(table, "small"u8, "2"u8);
        Task<CommitResult> withdrawn = test.Database.CommitAsync(small, cancel.Token).AsTask();
        Task<CommitResult> large = test.PutManyAsync(table, 0, 40, valueBytes: 20_000);
        await cancel.CancelAsync();
        gate.Release();

        await first.WaitAsync(TestDatabase.Patience);
        await Assert.ThrowsAsync<OperationCanceledException>(() => withdrawn.WaitAsync(TestDatabase.Patience));
        Assert.True((await large).Lsn > (await first).Lsn);
    }
}
