using Pitr.Storage;

namespace Pitr.Tests;

public sealed class WriteBatchTests
{
    private static readonly Table Rows = new("rows", new TableId(1), FileId.Main);

    /// <summary>A value of 64 MiB must not cost twice its length, nor stay with a batch that is used again.</summary>
    [Fact]
    public void A_large_record_is_as_long_as_needed_and_is_let_go()
    {
        var batch = new WriteBatch();
        byte[] value = new byte[32 << 20];
        batch.Put(Rows, "k"u8, value);
        int sealedBytes = batch.SealRecord();
        Assert.InRange(batch.Record.Length, sealedBytes, value.Length + 1024);
        batch.Clear();
        Assert.InRange(batch.Record.Length, 1, 1024);
        batch.Put(Rows, "k"u8, value.AsSpan(0, 100));
        Assert.Equal(1, batch.Count);
    }
}
