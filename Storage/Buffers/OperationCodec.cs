using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>What an operation does to its key.</summary>
internal enum OperationKind : byte
{
    /// <summary>Sets the key's value.</summary>
    Put = 1,

    /// <summary>Removes the key.</summary>
    Delete = 2,
}

/// <summary>
/// The bytes of one operation in a transaction's body, the same in memory, in the WAL and in the archive: callers
/// encode them once, and everybody downstream reads them in place.
/// </summary>
/// <remarks>
/// LAYOUT  (little endian)
/// <code>
///   0 u8 kind · 1 u8 zero · 2 u16 key length · 4 u32 value length · 8 u32 file id · 12 key … · value …
/// </code>
/// The key is the tree key: table id (4 bytes, big endian) and the user's key. Operations follow each other without
/// padding; the record says how many there are.
/// </remarks>
internal static class OperationCodec
{
    public const int HeaderBytes = 12;
    public const int TableIdBytes = 4;

    /// <summary>Bytes of one operation.</summary>
    public static int SizeOf(int userKeyBytes, int valueBytes) =>
        HeaderBytes + TableIdBytes + userKeyBytes + valueBytes;

    /// <summary>Writes one operation and returns its bytes; the caller made room and checked the limits.</summary>
    public static int Write(
        Span<byte> to, OperationKind kind, FileId file, TableId table, ReadOnlySpan<byte> userKey,
        ReadOnlySpan<byte> value)
    {
        int keyBytes = TableIdBytes + userKey.Length;
        to[0] = (byte)kind;
        to[1] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], (ushort)keyBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[4..], (uint)value.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], file.Value);
        BinaryPrimitives.WriteUInt32BigEndian(to[HeaderBytes..], table.Value);
        userKey.CopyTo(to[(HeaderBytes + TableIdBytes)..]);
        value.CopyTo(to[(HeaderBytes + keyBytes)..]);
        return HeaderBytes + keyBytes + value.Length;
    }
}

/// <summary>Walks the operations of a transaction's body in place.</summary>
internal ref struct OperationReader
{
    private readonly ReadOnlySpan<byte> _body;
    private readonly uint _operationCount;
    private uint _read;
    private int _at;

    public OperationReader(ReadOnlySpan<byte> body, uint operationCount)
    {
        _body = body;
        _operationCount = operationCount;
    }

    public OperationKind Kind { get; private set; }
    public FileId File { get; private set; }
    public ReadOnlySpan<byte> Key { get; private set; }
    public ReadOnlySpan<byte> Value { get; private set; }

    /// <summary>The table that the key belongs to.</summary>
    public readonly TableId Table => new(BinaryPrimitives.ReadUInt32BigEndian(Key));

    /// <summary>
    /// Moves to the next operation. False after the last one. <see cref="IsMalformed"/> if the bytes are none: a record
    /// that passed its CRC never is, and a decoder of untrusted bytes must look.
    /// </summary>
    public bool MoveNext()
    {
        if (_read == _operationCount || IsMalformed)
            return false;
        ReadOnlySpan<byte> rest = _body[_at..];
        if (rest.Length < OperationCodec.HeaderBytes)
            return Malformed();
        int keyBytes = MemoryMarshal.Read<ushort>(rest[2..]);
        uint valueBytes = MemoryMarshal.Read<uint>(rest[4..]);
        Kind = (OperationKind)rest[0];
        File = new FileId(MemoryMarshal.Read<uint>(rest[8..]));
        if (keyBytes is < OperationCodec.TableIdBytes or > OperationCodec.TableIdBytes + Limits.KeyBytesMax
            || valueBytes > Limits.ValueBytesMax || Kind is not (OperationKind.Put or OperationKind.Delete)
            || (ulong)OperationCodec.HeaderBytes + (ulong)keyBytes + valueBytes > (ulong)rest.Length)
            return Malformed();
        Key = rest.Slice(OperationCodec.HeaderBytes, keyBytes);
        Value = rest.Slice(OperationCodec.HeaderBytes + keyBytes, (int)valueBytes);
        _at += OperationCodec.HeaderBytes + keyBytes + (int)valueBytes;
        _read++;
        return true;
    }

    /// <summary>True after <see cref="MoveNext"/> met bytes that are no operation.</summary>
    public bool IsMalformed { get; private set; }

    private bool Malformed()
    {
        IsMalformed = true;
        return false;
    }
}
