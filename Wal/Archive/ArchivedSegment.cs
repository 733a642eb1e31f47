using System.Buffers.Binary;
using System.IO.Hashing;
using System.Security.Cryptography;
using Pitr.Storage;
using ZstdSharp;

namespace Pitr.Wal;

/// <summary>Which segment: of which database, on which branch, with which number.</summary>
internal sealed record SegmentIdentity(SystemIdentifier System, TimelineId Timeline, Lineage Lineage, ulong Number);

/// <summary>A stretch of WAL in its archived form: a whole segment file, or a part of a segment's stream.</summary>
/// <remarks>
/// LAYOUT  of the object (integers little endian)
/// <code>
///    0  8 magic "PITRSEGA"           8 u16 format version (1)    10 u16 kind: 1 whole, 2 part
///   12 u32 header bytes (160)       16 u64 system identifier
///   24 u32 timeline                 28 u32 compression: 1 zstd
///   32 u64 lineage                  40 u64 segment number
///   48 u64 from LSN                 56 u64 to LSN                (the stream's bytes [from, to))
///   64 u64 plain bytes              72 u64 compressed bytes      (to the object's end)
///   80 i64 first commit time        88 i64 last commit time
///   96 i64 least raw clock         104 u64 0                     (100 ns ticks; see SegmentTimes)
///  112 32 SHA-256 of the plain bytes
///  144 u64 XxHash3-64 of the frame 152 u64 XxHash3-64 of the bytes 0 … 151
///  160 …  one zstd frame
/// </code>
/// The plain bytes of a whole segment are the segment's file, header included; those of a part are the stream's bytes.
///
/// INVARIANTS
///   A1  Two objects are equal if and only if identity, kind, range and SHA-256 of the plain bytes are: compression
///       (and encryption by a store) may give other bytes each time (H25).
///   A2  Nothing of an object is used before header hash, lengths, frame hash, decompression and SHA-256 have passed;
///       the frame's hash comes before the decompressor sees a byte.
///
/// FAILURE  DamageException ArchiveDamaged for every byte that is not what was written; RefusedException FormatVersion
///          for a newer program's object.
/// </remarks>
internal sealed class ArchivedSegment
{
    public const int HeaderBytes = 160;
    private const int Version = 1;
    private const int CompressionLevel = 1;

    /// <summary>zstd's level where others wait: half of the processor's time for some hundredths more bytes.</summary>
    public const int FastCompressionLevel = -3;

    private const int PlainBytesMax = WalGeometry.SegmentBytesMax;
    private const int FrameHashAt = 144;
    private const int HashAt = 152;
    private const ulong Magic = 0x4147_4553_5254_4950; // "PITRSEGA"

    private ArchivedSegment(
        SegmentIdentity identity, bool isPart, Lsn from, Lsn to, SegmentTimes times, ReadOnlyMemory<byte> plain, byte[] sha)
    {
        (Identity, IsPart, From, To) = (identity, isPart, from, to);
        (Times, Plain, PlainSha256) = (times, plain, sha);
    }

    public SegmentIdentity Identity { get; }

    /// <summary>True for a part of a segment's stream, false for a whole segment's file.</summary>
    public bool IsPart { get; }

    /// <summary>The first LSN of the stretch.</summary>
    public Lsn From { get; }

    /// <summary>Just past the stretch.</summary>
    public Lsn To { get; }

    public SegmentTimes Times { get; }

    /// <summary>The plain bytes.</summary>
    public ReadOnlyMemory<byte> Plain { get; }

    public ReadOnlyMemory<byte> PlainSha256 { get; }

    /// <summary>The stream's bytes [From, To): without the file header that a whole segment has.</summary>
    public ReadOnlyMemory<byte> Stream => Plain[(Plain.Length - (int)(To - From))..];

    /// <summary>The name under which it is archived.</summary>
    public string Name => IsPart
        ? ObjectName.Part(Identity.Timeline, Identity.Number, From, To)
        : ObjectName.Segment(Identity.Timeline, Identity.Number);

    /// <summary>A whole segment, from its file's bytes.</summary>
    /// <param name="identity">Whose it is.</param>
    /// <param name="from">The LSN that its stream begins with.</param>
    /// <param name="headerBytes">Bytes of the segment's own header.</param>
    /// <param name="file">The file, header included.</param>
    /// <param name="after">What follows in the stream, at least 64 bytes if there are as many (for its times).</param>
    public static ArchivedSegment Whole(
        SegmentIdentity identity, Lsn from, int headerBytes, ReadOnlyMemory<byte> file, ReadOnlySpan<byte> after = default)
    {
        ReadOnlySpan<byte> stream = file.Span[headerBytes..];
        return new ArchivedSegment(
            identity, isPart: false, from, from + stream.Length, SegmentTimes.Scan(stream, from, after), file,
            SHA256.HashData(file.Span));
    }

    /// <summary>A part of a segment's stream.</summary>
    public static ArchivedSegment Part(
        SegmentIdentity identity, Lsn from, ReadOnlyMemory<byte> stream, ReadOnlySpan<byte> after = default) =>
        Part(identity, from, stream, SegmentTimes.Scan(stream.Span, from, after));

    /// <summary>A part of which the times are known already.</summary>
    public static ArchivedSegment Part(
        SegmentIdentity identity, Lsn from, ReadOnlyMemory<byte> stream, SegmentTimes times) =>
        new(identity, isPart: true, from, from + stream.Length, times, stream, SHA256.HashData(stream.Span));

    /// <summary>A1.</summary>
    public bool HasSameContent(ArchivedSegment other) =>
        Identity == other.Identity && IsPart == other.IsPart && From == other.From && To == other.To
        && PlainSha256.Span.SequenceEqual(other.PlainSha256.Span);

    /// <summary>What it is, for messages.</summary>
    public string Describe() =>
        $"database {Identity.System}, lineage {Identity.Lineage}, {From} to {To}, "
        + $"SHA-256 {Convert.ToHexString(PlainSha256.Span[..8])}…";

    /// <summary>Bytes that an object of so many plain bytes can have.</summary>
    public static int ObjectBytesMax(int plainBytes) => HeaderBytes + Compressor.GetCompressBound(plainBytes);

    /// <summary>The object's bytes.</summary>
    /// <param name="compressionLevel">Of zstd; whatever it is, the plain bytes are the same.</param>
    public ReadOnlyMemory<byte> Encode(int compressionLevel = CompressionLevel)
    {
        byte[] bytes = GC.AllocateUninitializedArray<byte>(ObjectBytesMax(Plain.Length));
        return bytes.AsMemory(0, EncodeInto(bytes, compressionLevel));
    }

    /// <summary>Puts the object's bytes into a buffer, and returns how many there are.</summary>
    /// <param name="bytes">At least <see cref="ObjectBytesMax"/> of the plain bytes.</param>
    /// <param name="compressionLevel">Of zstd; whatever it is, the plain bytes are the same.</param>
    public int EncodeInto(Span<byte> bytes, int compressionLevel = CompressionLevel)
    {
        using var compressor = new Compressor(compressionLevel);
        int compressedBytes = compressor.Wrap(Plain.Span, bytes[HeaderBytes..]);

        Span<byte> header = bytes[..HeaderBytes];
        header.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteUInt16LittleEndian(header[10..], (ushort)(IsPart ? 2 : 1));
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], HeaderBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], Identity.System.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(header[24..], Identity.Timeline.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(header[28..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], Identity.Lineage.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(header[40..], Identity.Number);
        BinaryPrimitives.WriteUInt64LittleEndian(header[48..], From.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(header[56..], To.Value);
        BinaryPrimitives.WriteInt64LittleEndian(header[64..], Plain.Length);
        BinaryPrimitives.WriteInt64LittleEndian(header[72..], compressedBytes);
        BinaryPrimitives.WriteInt64LittleEndian(header[80..], Times.FirstCommitTicks);
        BinaryPrimitives.WriteInt64LittleEndian(header[88..], Times.LastCommitTicks);
        BinaryPrimitives.WriteInt64LittleEndian(header[96..], Times.LeastRawClockTicks);
        PlainSha256.Span.CopyTo(header[112..]);
        BinaryPrimitives.WriteUInt64LittleEndian(
            header[FrameHashAt..], XxHash3.HashToUInt64(bytes.Slice(HeaderBytes, compressedBytes)));
        BinaryPrimitives.WriteUInt64LittleEndian(header[HashAt..], XxHash3.HashToUInt64(header[..HashAt]));
        return HeaderBytes + compressedBytes;
    }

    /// <summary>Reads an object, wholly checked (A2), and that it is the one that its name says.</summary>
    /// <param name="store">For messages.</param>
    /// <param name="name">The object's name, which its header must agree with.</param>
    /// <param name="bytes">The object.</param>
    /// <param name="expected">What it should be: the digest of equal plain bytes is known. Null if nothing is.</param>
    /// <param name="into">Memory for the plain bytes, which the result then refers to; used if they fit.</param>
    public static ArchivedSegment Decode(
        string store, string name, ReadOnlySpan<byte> bytes, ArchivedSegment? expected = null, Memory<byte> into = default)
    {
        ArchivedSegment header = DecodeHeader(store, name, bytes);
        long plainBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[64..]);
        long compressedBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes[72..]);
        if (compressedBytes != bytes.Length - HeaderBytes)
            throw ArchiveErrors.Damaged(store, name,
                $"it should have {HeaderBytes + compressedBytes} bytes and has {bytes.Length}", bytes.Length);
        if (XxHash3.HashToUInt64(bytes[HeaderBytes..]) != BinaryPrimitives.ReadUInt64LittleEndian(bytes[FrameHashAt..]))
            throw ArchiveErrors.Damaged(store, name, "its compressed bytes are not those that were written", HeaderBytes);

        using var decompressor = new Decompressor();
        Memory<byte> plain;
        int unwrapped;
        try
        {
            // The frame says it too: a header that asks for more does not get the memory for it.
            ulong stated = Decompressor.GetDecompressedSize(bytes[HeaderBytes..]);
            if (stated != (ulong)plainBytes)
                throw ArchiveErrors.Damaged(
                    store, name, $"its frame is one of {stated} plain bytes instead of {plainBytes}", HeaderBytes);
            plain = plainBytes <= into.Length ? into[..(int)plainBytes] : GC.AllocateUninitializedArray<byte>((int)plainBytes);
            unwrapped = decompressor.Unwrap(bytes[HeaderBytes..], plain.Span);
        }
        catch (ZstdException cause)
        {
            throw ArchiveErrors.Damaged(store, name, $"it cannot be decompressed ({cause.Message})", HeaderBytes);
        }
        if (unwrapped != plainBytes)
            throw ArchiveErrors.Damaged(store, name, $"it holds {unwrapped} plain bytes instead of {plainBytes}", HeaderBytes);
        byte[] sha = expected is not null && plain.Span.SequenceEqual(expected.Plain.Span)
            ? expected.PlainSha256.ToArray()
            : SHA256.HashData(plain.Span);
        if (!sha.AsSpan().SequenceEqual(header.PlainSha256.Span))
            throw ArchiveErrors.Damaged(store, name,
                $"its content has SHA-256 {Convert.ToHexString(sha)} instead of {Convert.ToHexString(header.PlainSha256.Span)}",
                HeaderBytes);
        return new ArchivedSegment(
            header.Identity, header.IsPart, header.From, header.To, header.Times, plain, sha);
    }

    /// <summary>Reads and checks only the header: identity, range and times; <see cref="Plain"/> is empty.</summary>
    /// <param name="store">For messages.</param>
    /// <param name="name">The object's name, which the header must agree with.</param>
    /// <param name="bytes">At least the first <see cref="HeaderBytes"/> bytes of the object.</param>
    public static ArchivedSegment DecodeHeader(string store, string name, ReadOnlySpan<byte> bytes)
    {
        if (SealedObject.IsOne(bytes))
            throw ArchiveErrors.KeyMissing(store, name);
        if (bytes.Length < HeaderBytes)
            throw ArchiveErrors.Damaged(store, name, $"it has only {bytes.Length} bytes", bytes.Length);
        ReadOnlySpan<byte> header = bytes[..HeaderBytes];
        if (BinaryPrimitives.ReadUInt64LittleEndian(header) != Magic)
            throw ArchiveErrors.Damaged(store, name, "it does not begin as an archived segment does", 0);
        ulong expected = BinaryPrimitives.ReadUInt64LittleEndian(header[HashAt..]);
        ulong found = XxHash3.HashToUInt64(header[..HashAt]);
        if (expected != found)
            throw ArchiveErrors.Damaged(store, name, $"its header has hash {found:X16} instead of {expected:X16}", 0);
        int version = BinaryPrimitives.ReadUInt16LittleEndian(header[8..]);
        if (version > Version)
            throw ArchiveErrors.FormatVersion(store, name, version, Version);

        int kind = BinaryPrimitives.ReadUInt16LittleEndian(header[10..]);
        var identity = new SegmentIdentity(
            new SystemIdentifier(BinaryPrimitives.ReadUInt64LittleEndian(header[16..])),
            new TimelineId(BinaryPrimitives.ReadUInt32LittleEndian(header[24..])),
            new Lineage(BinaryPrimitives.ReadUInt64LittleEndian(header[32..])),
            BinaryPrimitives.ReadUInt64LittleEndian(header[40..]));
        var from = new Lsn(BinaryPrimitives.ReadUInt64LittleEndian(header[48..]));
        var to = new Lsn(BinaryPrimitives.ReadUInt64LittleEndian(header[56..]));
        long plainBytes = BinaryPrimitives.ReadInt64LittleEndian(header[64..]);
        var times = new SegmentTimes(
            BinaryPrimitives.ReadInt64LittleEndian(header[80..]),
            BinaryPrimitives.ReadInt64LittleEndian(header[88..]),
            BinaryPrimitives.ReadInt64LittleEndian(header[96..]));
        if (kind is not (1 or 2) || BinaryPrimitives.ReadUInt32LittleEndian(header[28..]) != 1
            || BinaryPrimitives.ReadUInt32LittleEndian(header[12..]) != HeaderBytes
            || to <= from || plainBytes is < 0 or > PlainBytesMax || to.Value - from.Value > (ulong)plainBytes || (kind == 2 && to - from != plainBytes))
            throw ArchiveErrors.Damaged(store, name, "its header holds impossible values", 0);

        var segment = new ArchivedSegment(
            identity, kind == 2, from, to, times, ReadOnlyMemory<byte>.Empty, header.Slice(112, 32).ToArray());
        if (segment.Name != name)
            throw ArchiveErrors.Damaged(store, name, $"it is the content of '{segment.Name}'", 0);
        return segment;
    }
}
