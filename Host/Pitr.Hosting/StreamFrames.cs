using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Hosting;

/// <summary>
/// The bytes of streamed rows and of loads on the HTTP endpoint; docs/formats/admin-wire.md draws them.
/// </summary>
/// <remarks>
/// LAYOUT  (integers little endian)
/// <code>
///   row      u8 1 · u32 keyLength · u32 valueLength · key · value
///   end      u8 2 · u64 count                    the last frame of a stream that is whole
///   problem  u8 3 · u32 length · JSON            the last frame of a stream that is not
///   commit   u8 4 · u64 lsn · i64 ticks (UTC) · u64 transactionId
/// </code>
/// INVARIANT  a stream without its last frame was cut off, and its reader says so (a count that differs, too).
/// </remarks>
internal static class StreamFrames
{
    private const byte RowKind = 1;
    private const byte EndKind = 2;
    private const byte ProblemKind = 3;
    private const byte CommitKind = 4;
    private const int RowHeaderBytes = 9;
    private const int EndBytes = 9;
    private const int ProblemHeaderBytes = 5;
    private const int ProblemBytesMax = 1 << 20;

    /// <summary>Bytes of a commit frame.</summary>
    public const int CommitBytes = 25;

    public static void WriteRow(IBufferWriter<byte> output, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        Span<byte> header = output.GetSpan(RowHeaderBytes);
        header[0] = RowKind;
        BinaryPrimitives.WriteUInt32LittleEndian(header[1..], (uint)key.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[5..], (uint)value.Length);
        output.Advance(RowHeaderBytes);
        output.Write(key);
        output.Write(value);
    }

    public static void WriteEnd(IBufferWriter<byte> output, long count)
    {
        Span<byte> frame = output.GetSpan(EndBytes);
        frame[0] = EndKind;
        BinaryPrimitives.WriteUInt64LittleEndian(frame[1..], (ulong)count);
        output.Advance(EndBytes);
    }

    public static void WriteProblem(IBufferWriter<byte> output, AdminProtocol.AdminProblem problem)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(problem, AdminJson.Default.AdminProblem);
        Span<byte> header = output.GetSpan(ProblemHeaderBytes);
        header[0] = ProblemKind;
        BinaryPrimitives.WriteUInt32LittleEndian(header[1..], (uint)json.Length);
        output.Advance(ProblemHeaderBytes);
        output.Write(json);
    }

    public static void WriteCommit(IBufferWriter<byte> output, CommitResult commit)
    {
        Span<byte> frame = output.GetSpan(CommitBytes);
        frame[0] = CommitKind;
        BinaryPrimitives.WriteUInt64LittleEndian(frame[1..], commit.Lsn.Value);
        BinaryPrimitives.WriteInt64LittleEndian(frame[9..], commit.Time.UtcTicks);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[17..], commit.TransactionId.Value);
        output.Advance(CommitBytes);
    }

    /// <summary>
    /// Rows until the end frame. Throws the problem of a problem frame, and <paramref name="cutOff"/> if neither comes.
    /// </summary>
    public static async IAsyncEnumerable<KeyValue> ReadRowsAsync(
        Stream stream, Func<long, Exception> cutOff, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        PipeReader reader = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 64 << 10));
        var rows = new List<KeyValue>();
        long count = 0;
        bool ended = false;
        while (!ended)
        {
            ReadResult read = await ReadOrCutOffAsync(reader, cutOff, count, cancellationToken).ConfigureAwait(false);
            ReadOnlySequence<byte> buffer = read.Buffer;
            long? endCount = null;
            while (endCount is null && TryReadFrame(ref buffer, out KeyValue row, out endCount))
            {
                if (endCount is null)
                    rows.Add(row);
            }
            reader.AdvanceTo(buffer.Start, buffer.End);
            foreach (KeyValue row in rows)
                yield return row;
            count += rows.Count;
            rows.Clear();
            ended = endCount is not null;
            if ((read.IsCompleted && !ended) || (ended && endCount != count))
                throw cutOff(count);
        }
        await reader.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>Reads a message of the load's answers: a commit; null is the end.</summary>
    public static CommitResult? ReadAnswer(ReadOnlySpan<byte> message)
    {
        switch (message.Length > 0 ? message[0] : 0)
        {
            case CommitKind when message.Length == CommitBytes:
                ulong ticks = BinaryPrimitives.ReadUInt64LittleEndian(message[9..]);
                if (ticks > (ulong)DateTimeOffset.MaxValue.UtcTicks)
                    throw AdminErrors.NotAnEngine($"a commit at tick {ticks}");
                return new CommitResult(
                    new Lsn(BinaryPrimitives.ReadUInt64LittleEndian(message[1..])),
                    new DateTimeOffset((long)ticks, TimeSpan.Zero),
                    new TransactionId(BinaryPrimitives.ReadUInt64LittleEndian(message[17..])));
            case EndKind:
                return null;
            case ProblemKind when message.Length >= ProblemHeaderBytes:
                throw ProblemOf(message[ProblemHeaderBytes..]);
            default:
                throw AdminErrors.NotAnEngine("an answer of an unknown kind");
        }
    }

    /// <summary>The rows of a load's message. The message holds nothing else.</summary>
    public static List<KeyValue> ReadTransaction(ReadOnlyMemory<byte> message)
    {
        var rows = new List<KeyValue>();
        var rest = new ReadOnlySequence<byte>(message);
        while (!rest.IsEmpty)
        {
            if (rest.FirstSpan[0] != RowKind)
                throw new ArgumentException("A transaction of a load holds rows only.");
            if (!TryReadFrame(ref rest, out KeyValue row, out _))
                break;
            rows.Add(row);
        }
        return rest.IsEmpty ? rows : throw new ArgumentException("A transaction of a load ends within a row.");
    }

    private static async ValueTask<ReadResult> ReadOrCutOffAsync(
        PipeReader reader, Func<long, Exception> cutOff, long count, CancellationToken cancellationToken)
    {
        try
        {
            return await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is IOException or HttpRequestException)
        {
            throw cutOff(count);
        }
    }

    private static bool TryReadFrame(ref ReadOnlySequence<byte> buffer, out KeyValue row, out long? endCount)
    {
        row = default;
        endCount = null;
        Span<byte> header = stackalloc byte[RowHeaderBytes];
        if (buffer.IsEmpty)
            return false;
        switch (buffer.FirstSpan[0])
        {
            case RowKind when buffer.Length >= RowHeaderBytes:
                buffer.Slice(0, RowHeaderBytes).CopyTo(header);
                uint keyLength = BinaryPrimitives.ReadUInt32LittleEndian(header[1..]);
                uint valueLength = BinaryPrimitives.ReadUInt32LittleEndian(header[5..]);
                if (keyLength > Limits.KeyBytesMax || valueLength > Limits.ValueBytesMax)
                    throw new ArgumentException($"A row has a key of {keyLength} and a value of {valueLength} bytes.");
                if (buffer.Length < RowHeaderBytes + keyLength + valueLength)
                    return false;
                row = new KeyValue(
                    buffer.Slice(RowHeaderBytes, keyLength).ToArray(),
                    buffer.Slice(RowHeaderBytes + keyLength, valueLength).ToArray());
                buffer = buffer.Slice(RowHeaderBytes + keyLength + valueLength);
                return true;
            case EndKind when buffer.Length >= EndBytes:
                buffer.Slice(0, EndBytes).CopyTo(header);
                endCount = (long)BinaryPrimitives.ReadUInt64LittleEndian(header[1..]);
                buffer = buffer.Slice(EndBytes);
                return true;
            case ProblemKind when buffer.Length >= ProblemHeaderBytes:
                buffer.Slice(0, ProblemHeaderBytes).CopyTo(header);
                uint length = BinaryPrimitives.ReadUInt32LittleEndian(header[1..]);
                if (length > ProblemBytesMax)
                    throw AdminErrors.NotAnEngine($"a problem of {length} bytes");
                if (buffer.Length < ProblemHeaderBytes + length)
                    return false;
                throw ProblemOf(buffer.Slice(ProblemHeaderBytes, length).ToArray());
            case RowKind or EndKind or ProblemKind:
                return false;
            default:
                throw AdminErrors.NotAnEngine($"a frame of the unknown kind {buffer.FirstSpan[0]}");
        }
    }

    private static Exception ProblemOf(ReadOnlySpan<byte> json)
    {
        try
        {
            return AdminProblems.ToException(
                JsonSerializer.Deserialize(json, StrictJson.Of(AdminJson.Default.AdminProblem))
                    ?? throw new JsonException("null"));
        }
        catch (JsonException)
        {
            return AdminErrors.NotAnEngine("a problem that is none");
        }
    }
}
