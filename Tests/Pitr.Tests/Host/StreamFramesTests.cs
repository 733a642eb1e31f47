using System.Buffers;
using System.Text;
using Pitr.Actors;
using Pitr.Hosting;

namespace Pitr.Tests;

/// <summary>The frames of data over HTTP, byte by byte (docs/formats/admin-wire.md), and read again.</summary>
public sealed class StreamFramesTests
{
    private static readonly CommitResult s_commit = new(
        new Lsn(0x1_016B3F80), new DateTimeOffset(2026, 11, 22, 14, 5, 0, TimeSpan.Zero).AddTicks(1234567),
        new TransactionId(77));

    [Fact]
    public async Task The_bytes_of_the_frames_do_not_change_unnoticed()
    {
        byte[] row = BytesOf(static to => StreamFrames.WriteRow(to, "key"u8, "value"u8));
        byte[] empty = BytesOf(static to => StreamFrames.WriteRow(to, [0], []));
        byte[] end = BytesOf(static to => StreamFrames.WriteEnd(to, 2));
        byte[] problem = BytesOf(static to => StreamFrames.WriteProblem(
            to, new AdminProtocol.AdminProblem(3001, 3, "There is no table.", "List them.")));
        byte[] commit = BytesOf(static to => StreamFrames.WriteCommit(to, s_commit));
        var text = new StringBuilder();
        foreach ((string kind, byte[] frame) in new[]
            { ("row", row), ("row", empty), ("end", end), ("problem", problem), ("commit", commit) })
            text.Append(kind).Append(' ').Append(Convert.ToHexStringLower(frame)).Append('\n');
        GoldenFile.Check("stream-frames.txt", text.ToString());

        Assert.Equal(["6B6579=76616C7565", "00="], await RowsAsync([.. row, .. empty, .. end]));
        NotFoundException told = await Assert.ThrowsAsync<NotFoundException>(() => RowsAsync([.. row, .. problem]));
        Assert.Equal((ErrorCode)3001, told.Code);
        Assert.Equal(s_commit, StreamFrames.ReadAnswer(commit));
        Assert.Null(StreamFrames.ReadAnswer(end));
        Assert.Throws<NotFoundException>(() => StreamFrames.ReadAnswer(problem));
        Assert.Equal(2, StreamFrames.ReadTransaction((byte[])[.. row, .. empty]).Count);
    }

    private static byte[] BytesOf(Action<IBufferWriter<byte>> write)
    {
        var output = new ArrayBufferWriter<byte>();
        write(output);
        return output.WrittenSpan.ToArray();
    }

    private static async Task<List<string>> RowsAsync(byte[] stream)
    {
        var rows = new List<string>();
        await foreach (KeyValue row in StreamFrames.ReadRowsAsync(
            new MemoryStream(stream), static count => new EndOfStreamException($"{count}"), CancellationToken.None))
            rows.Add($"{Convert.ToHexString(row.Key)}={Convert.ToHexString(row.Value)}");
        return rows;
    }
}
