using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// One version of one key in a write buffer's arena. Nothing in it changes once a slot or a newer version names it.
/// </summary>
/// <remarks>
/// LAYOUT  (native memory, aligned to 8 bytes)
/// <code>
///   0 u64 LSN · 8 u32 the version before it, 0 = none · 12 u32 value length, bit 31 = delete · 16 u16 key length
///   18 key … value …
/// </code>
/// A newer version repeats the key: so a read touches one place, and a slot is replaced by one 4-byte write.
/// </remarks>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct BufferEntry
{
    public const int HeaderBytes = 18;
    private const uint DeleteBit = 1u << 31;

    [FieldOffset(0)] public ulong Lsn;
    [FieldOffset(8)] public uint Older;
    [FieldOffset(12)] private uint _valueField;
    [FieldOffset(16)] private ushort _keyBytes;

    public readonly bool IsDelete => (_valueField & DeleteBit) != 0;
    public readonly int ValueBytes => (int)(_valueField & ~DeleteBit);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ReadOnlySpan<byte> KeyOf(BufferEntry* entry) => new((byte*)entry + HeaderBytes, entry->_keyBytes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ReadOnlySpan<byte> ValueOf(BufferEntry* entry) =>
        new((byte*)entry + HeaderBytes + entry->_keyBytes, entry->ValueBytes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ValueRef ValueRefOf(BufferEntry* entry) =>
        new((byte*)entry + HeaderBytes + entry->_keyBytes, entry->ValueBytes);

    /// <summary>Writes a version that nobody can see yet; its <see cref="Older"/> is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(
        BufferEntry* entry, ulong lsn, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isDelete)
    {
        entry->Lsn = lsn;
        entry->Older = 0;
        entry->_valueField = (uint)value.Length | (isDelete ? DeleteBit : 0);
        entry->_keyBytes = (ushort)key.Length;
        byte* to = (byte*)entry + HeaderBytes;
        key.CopyTo(new Span<byte>(to, key.Length));
        value.CopyTo(new Span<byte>(to + key.Length, value.Length));
    }
}
