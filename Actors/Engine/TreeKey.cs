using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>Makes tree keys of table ids and users' keys.</summary>
internal static class TreeKey
{
    /// <summary>Writes the tree key into the room and returns its part.</summary>
    public static Span<byte> Write(Span<byte> room, TableId table, ReadOnlySpan<byte> key)
    {
        if (key.Length > Limits.KeyBytesMax)
            throw new ArgumentException(
                $"A key of {key.Length} bytes is too long; at most {Limits.KeyBytesMax} are allowed.", nameof(key));
        BinaryPrimitives.WriteUInt32BigEndian(room, table.Value);
        key.CopyTo(room[OperationCodec.TableIdBytes..]);
        return room[..(OperationCodec.TableIdBytes + key.Length)];
    }

    public static byte[] Of(TableId table, ReadOnlySpan<byte> key)
    {
        byte[] room = new byte[OperationCodec.TableIdBytes + key.Length];
        Write(room, table, key);
        return room;
    }
}
