using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class ReplayBatchTests
{
    [Theory]
    [InlineData(1, 10, 4, 2)]
    [InlineData(2, 24, 3, 3)]
    [InlineData(3, 200, 2, 4)]
    [InlineData(4, 3000, 12, 2)]
    [InlineData(5, 70_000, 20, 3)]
    [InlineData(6, 70_000, 4, 256)]
    [InlineData(7, 5000, 40, 1)]
    [InlineData(8, 40_000, 1024, 2)]
    public void Sealing_leaves_the_newest_version_of_each_key_in_key_order(
        int seed, int changes, int keyBytesMax, int symbols)
    {
        var random = new Random(seed);
        var oracle = new SortedDictionary<byte[], (ulong Lsn, bool IsDelete, byte[] Value)>(KeyOrder.Instance);
        using var batch = new ReplayBatch();
        batch.Begin(FileId.Main);
        var operation = new byte[4096];
        for (int i = 1; i <= changes; i++)
        {
            var key = new byte[random.Next(keyBytesMax + 1)];
            // Long runs of one symbol: shared prefixes, zeroes at the end, versions of one key.
            int prefix = random.Next(4) == 0 ? random.Next(key.Length + 1) : key.Length;
            for (int b = 0; b < key.Length; b++)
                key[b] = b < prefix - 3 ? (byte)0 : (byte)random.Next(symbols);
            var value = new byte[random.Next(20)];
            random.NextBytes(value);
            bool isDelete = random.Next(5) == 0;
            int length = OperationCodec.Write(
                operation, isDelete ? OperationKind.Delete : OperationKind.Put, FileId.Main,
                new TableId((uint)random.Next(1, 3)), key, isDelete ? [] : value);
            int keyBytes = OperationCodec.TableIdBytes + key.Length;
            batch.Append(operation.AsSpan(0, length), keyBytes, new Lsn((ulong)i * 8));
            oracle[operation.AsSpan(OperationCodec.HeaderBytes, keyBytes).ToArray()] =
                ((ulong)i * 8, isDelete, isDelete ? [] : value);
        }

        batch.Seal();

        Assert.Equal(oracle.Count, batch.KeyCount);
        foreach ((byte[] key, (ulong lsn, bool isDelete, byte[] value)) in oracle)
        {
            Assert.True(batch.MoveNext());
            Assert.True(key.AsSpan().SequenceEqual(batch.Key));
            Assert.Equal(lsn, batch.Lsn.Value);
            Assert.Equal(isDelete, batch.IsDelete);
            Assert.True(value.AsSpan().SequenceEqual(batch.Value));
        }
        Assert.False(batch.MoveNext());
    }

    [Fact]
    public void A_recycled_batch_starts_empty()
    {
        using var pool = new ReplayBatchPool(ordinaryBytes: 1 << 22);
        ReplayBatch batch = pool.Take(new FileId(1));
        var operation = new byte[64];
        int length = OperationCodec.Write(operation, OperationKind.Put, new FileId(1), new TableId(1), "k"u8, "v"u8);
        batch.Append(operation.AsSpan(0, length), 5, new Lsn(8));
        batch.Seal();
        batch.Recycle();

        ReplayBatch again = pool.Take(new FileId(2));
        again.Seal();

        Assert.Same(batch, again);
        Assert.Equal(new FileId(2), again.File);
        Assert.False(again.MoveNext());
    }

    private sealed class KeyOrder : IComparer<byte[]>
    {
        public static KeyOrder Instance { get; } = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
