using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>A table as a stretch of WAL names it.</summary>
/// <param name="Id">Never given twice.</param>
/// <param name="File">The datafile that it lies in.</param>
/// <param name="Name">May be given again after a drop.</param>
internal sealed record NamedTable(TableId Id, FileId File, string Name);

/// <summary>
/// Which keys the records that begin in one whole segment touch, beside that segment in an archive: so that whoever
/// looks for a key fetches only the segments that may have it.
/// </summary>
/// <remarks>
/// LAYOUT  of the object <c>index/keys-TTTTTTTTNNNNNNNNNNNNNNNN.idx</c> (integers little endian)
/// <code>
///    0  8 magic "PITRKEYS"           8 u16 format version (1)    10 u16 hashes of an entry (7)
///   12 u32 timeline                 16 u64 segment number
///   24 u64 lineage                  32 i64 last commit time of a record that begins here; 0 without one
///   40 u32 bytes of the filter      44 u32 names
///   48 …   the filter: a Bloom filter, 10 bits an entry
///    …     names: u32 table, u32 datafile, u8 bytes of the name, name in UTF-8
///   -8 u64 XxHash3-64 of everything before
/// </code>
/// An entry is an XxHash3-64, seeded by what it says: of a tree key (table and key) that it was touched (0) or deleted
/// (1), of a table's id that it was created or one of its keys touched (2) or that it was dropped (3), of a datafile's id that it was
/// dropped (4). Bit i of an entry is (low half + i × (high half | 1)) mod bits.
///
/// INVARIANTS
///   X1  It never says no to what a record that begins in the segment does: about one in a hundred times it says yes
///       for nothing, which costs reading.
///   X2  It is never needed: one that is missing, damaged or of a newer program only costs reading.
/// Immutable; any thread.
/// </remarks>
internal sealed class KeyIndex
{
    public const int HeaderBytes = 48;
    private const int HashBytes = 8;
    private const int Version = 1;
    private const int BitsOfEntry = 10;
    private const int HashesOfEntry = 7;
    private const ulong Magic = 0x5359_454B_5254_4950; // "PITRKEYS"

    private readonly byte[] _filter;

    private KeyIndex(
        TimelineId timeline, ulong number, Lineage lineage, long lastCommitTicks, byte[] filter,
        IReadOnlyList<NamedTable> tables)
    {
        (Timeline, Number, Lineage, LastCommitTicks) = (timeline, number, lineage, lastCommitTicks);
        (_filter, Tables) = (filter, tables);
    }

    public TimelineId Timeline { get; }
    public ulong Number { get; }
    public Lineage Lineage { get; }

    /// <summary>Commit time of the last record that begins in the segment; 0 if none does.</summary>
    public long LastCommitTicks { get; }

    /// <summary>Tables that records of the segment create, drop, or name in a checkpoint.</summary>
    public IReadOnlyList<NamedTable> Tables { get; }

    /// <summary>The index of a segment, from the entries of its records.</summary>
    public static KeyIndex Of(
        SegmentIdentity identity, long lastCommitTicks, IReadOnlyCollection<ulong> entries,
        IReadOnlyList<NamedTable> tables)
    {
        byte[] filter = new byte[8 * (1 + (entries.Count * BitsOfEntry / 64))];
        ulong bits = (ulong)filter.Length * 8;
        foreach (ulong entry in entries)
        {
            ulong bit = (uint)entry % bits;
            ulong step = ((uint)(entry >> 32) | 1) % bits;
            for (int n = 0; n < HashesOfEntry; n++)
            {
                filter[bit >> 3] |= (byte)(1 << (int)(bit & 7));
                bit += step; // as BitOf, without a division for each
                bit -= bit >= bits ? bits : 0;
            }
        }
        return new KeyIndex(identity.Timeline, identity.Number, identity.Lineage, lastCommitTicks, filter, tables);
    }

    /// <summary>The index of a segment that a store has; null if there is none that can be used (X2).</summary>
    public static KeyIndex? Read(IArchiveStore store, TimelineId timeline, ulong number)
    {
        try
        {
            return store.TryGet(ObjectName.KeyIndex(timeline, number)) is { } bytes
                && TryDecode(bytes.Span) is { } index && index.Timeline == timeline && index.Number == number
                ? index
                : null;
        }
        catch (StorageFailedException)
        {
            return null; // if the segment can't be had either, that is told
        }
    }

    /// <summary>True unless no record here touches the key.</summary>
    public bool MayTouch(NamedTable table, ReadOnlySpan<byte> key) =>
        MayHave(Entry.OfKey(Entry.Touched, table.Id, key)) || MayDrop(table);

    /// <summary>True unless no record here deletes the key, or drops what it is in.</summary>
    public bool MayDelete(NamedTable table, ReadOnlySpan<byte> key) =>
        MayHave(Entry.OfKey(Entry.Deleted, table.Id, key)) || MayDrop(table);

    /// <summary>True unless no record here concerns the table.</summary>
    public bool MayTouch(NamedTable table) =>
        MayHave(Entry.OfTable(Entry.TableTouched, table.Id)) || MayDrop(table);

    private bool MayDrop(NamedTable table) =>
        MayHave(Entry.OfTable(Entry.TableDropped, table.Id)) || MayHave(Entry.OfFile(table.File));

    private bool MayHave(ulong entry)
    {
        for (int n = 0; n < HashesOfEntry; n++)
        {
            uint bit = BitOf(entry, n, _filter.Length);
            if ((_filter[bit >> 3] & (1 << (int)(bit & 7))) == 0)
                return false;
        }
        return true;
    }

    private static uint BitOf(ulong entry, int n, int filterBytes) =>
        (uint)(((uint)entry + ((ulong)n * ((uint)(entry >> 32) | 1))) % ((ulong)filterBytes * 8));

    /// <summary>The object's bytes.</summary>
    public byte[] Encode()
    {
        byte[][] names = [.. Tables.Select(table => Encoding.UTF8.GetBytes(table.Name))];
        byte[] bytes = new byte[HeaderBytes + _filter.Length + names.Sum(name => 9 + name.Length) + HashBytes];
        Span<byte> header = bytes;
        BinaryPrimitives.WriteUInt64LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteUInt16LittleEndian(header[10..], HashesOfEntry);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], Timeline.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], Number);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], Lineage.Value);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], LastCommitTicks);
        BinaryPrimitives.WriteUInt32LittleEndian(header[40..], (uint)_filter.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[44..], (uint)names.Length);
        _filter.CopyTo(header[HeaderBytes..]);
        int at = HeaderBytes + _filter.Length;
        for (int n = 0; n < names.Length; n++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(header[at..], Tables[n].Id.Value);
            BinaryPrimitives.WriteUInt32LittleEndian(header[(at + 4)..], Tables[n].File.Value);
            header[at + 8] = (byte)names[n].Length;
            names[n].CopyTo(header[(at + 9)..]);
            at += 9 + names[n].Length;
        }
        BinaryPrimitives.WriteUInt64LittleEndian(header[at..], XxHash3.HashToUInt64(header[..at]));
        return bytes;
    }

    /// <summary>Reads an object; null for whatever is not what was written, or of a newer program (X2).</summary>
    public static KeyIndex? TryDecode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeaderBytes + HashBytes || BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Magic
            || BinaryPrimitives.ReadUInt64LittleEndian(bytes[^HashBytes..])
                != XxHash3.HashToUInt64(bytes[..^HashBytes])
            || BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]) != Version
            || BinaryPrimitives.ReadUInt16LittleEndian(bytes[10..]) != HashesOfEntry)
            return null;
        ReadOnlySpan<byte> rest = bytes[HeaderBytes..^HashBytes];
        uint filterBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes[40..]);
        if (filterBytes == 0 || filterBytes > rest.Length)
            return null;
        byte[] filter = rest[..(int)filterBytes].ToArray();
        rest = rest[(int)filterBytes..];
        var tables = new List<NamedTable>();
        for (uint left = BinaryPrimitives.ReadUInt32LittleEndian(bytes[44..]); left > 0; left--)
        {
            if (rest.Length < 9 || rest.Length < 9 + rest[8])
                return null;
            tables.Add(new NamedTable(
                new TableId(BinaryPrimitives.ReadUInt32LittleEndian(rest)),
                new FileId(BinaryPrimitives.ReadUInt32LittleEndian(rest[4..])),
                Encoding.UTF8.GetString(rest.Slice(9, rest[8]))));
            rest = rest[(9 + rest[8])..];
        }
        return rest.IsEmpty
            ? new KeyIndex(
                new TimelineId(BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..])),
                BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
                new Lineage(BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..])),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]), filter, tables)
            : null;
    }

    /// <summary>What is put into the filter.</summary>
    internal static class Entry
    {
        public const int Touched = 0;
        public const int Deleted = 1;
        public const int TableTouched = 2;
        public const int TableDropped = 3;
        private const int FileDropped = 4;

        /// <param name="what"><see cref="Touched"/> or <see cref="Deleted"/>.</param>
        /// <param name="treeKey">The table's id, big endian, and the key.</param>
        public static ulong OfTreeKey(int what, ReadOnlySpan<byte> treeKey) => XxHash3.HashToUInt64(treeKey, what);

        public static ulong OfKey(int what, TableId table, ReadOnlySpan<byte> key)
        {
            byte[] treeKey = new byte[OperationCodec.TableIdBytes + key.Length];
            BinaryPrimitives.WriteUInt32BigEndian(treeKey, table.Value);
            key.CopyTo(treeKey.AsSpan(OperationCodec.TableIdBytes));
            return OfTreeKey(what, treeKey);
        }

        public static ulong OfTable(int what, TableId table) => OfId(what, table.Value);

        public static ulong OfFile(FileId file) => OfId(FileDropped, file.Value);

        private static ulong OfId(int what, uint id)
        {
            Span<byte> bytes = stackalloc byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32BigEndian(bytes, id);
            return XxHash3.HashToUInt64(bytes, what);
        }
    }
}
