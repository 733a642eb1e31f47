using Pitr.Cli;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class SegmentPiecesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-pieces-").FullName;
    private readonly RecoveryFixture _fixture = new();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>H36: a running database joins and deletes parts while its archive is dumped or searched.</summary>
    [Theory]
    [InlineData(2)] // there is a longer part then
    [InlineData(200)] // the whole segment
    public void A_part_that_was_joined_since_it_was_listed_is_read_out_of_what_stands_for_it(int commitsMore)
    {
        FolderStore store = Ship(commits: 2);
        PieceSource part = Assert.Single(SegmentPieces.At(_folder, StoreKinds.Options).Pieces);
        StreamPiece listed = part.Read();
        string name = Assert.Single(store.List(ObjectName.WalPrefix));

        Ship(commitsMore);
        store.Delete(name);
        StreamPiece followed = part.Read();

        Assert.Equal((listed.From, listed.To, listed.Lineage), (followed.From, followed.To, followed.Lineage));
        Assert.Equal(listed.Bytes.ToArray(), followed.Bytes.ToArray());
        foreach (string other in store.List(ObjectName.WalPrefix))
            store.Delete(other);
        Assert.Equal(ErrorCode.ArchiveObjectUnknown, Assert.Throws<NotFoundException>(part.Read).Code);
    }

    /// <summary>H6: bad bytes before good ones of their own group are a torn tail, before a later group they are damage.</summary>
    [Theory]
    [InlineData(new[] { 0, 1, 1 }, true)]
    [InlineData(new[] { 0, 1, 1, 3 }, false)]
    [InlineData(new[] { 0, 1, 2 }, false)]
    [InlineData(new[] { 0, 1 }, true)] // the end of the log
    public void Only_what_a_later_group_follows_is_damage(int[] groups, bool isSound)
    {
        byte[] stream = new byte[4096];
        uint previous = 0;
        for (int n = 0; n < groups.Length; n++)
        {
            Span<byte> at = stream.AsSpan(n * 128, 128);
            previous = RecordCodec.WriteHeader(ref at[0], new RecordStamp
            {
                LengthBytes = 128,
                PreviousCrc = previous,
                Kind = WalRecordKind.Transaction,
                StartLsn = 4096 + ((ulong)n * 128),
                GroupStart = 4096 + ((ulong)groups[n] * 128),
                Lineage = 7,
            }, RecordCodec.BodyState(at[RecordCodec.HeaderBytes..]));
        }
        Assert.True(SegmentRecords.IsSound(Piece()));
        stream[128 + 100] ^= 1; // in the second
        Assert.Equal(isSound, SegmentRecords.IsSound(Piece()));

        StreamPiece Piece() => new(TimelineId.First, new Lineage(7), new Lsn(4096), stream);
    }

    private FolderStore Ship(int commits)
    {
        for (int i = 0; i < commits; i++)
            _fixture.Wal.Put(1, 1, "key"u8, new byte[100]).Commit();
        _fixture.Ship(_fixture.Wal);
        var store = new FolderStore(new PosixFileSystem(), _folder, _fixture.Random);
        foreach (string name in _fixture.Store.List(""))
            store.Put(name, _fixture.Store.Get(name));
        return store;
    }
}
