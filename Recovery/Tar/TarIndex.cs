using System.Formats.Tar;
using System.Text;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Where an object's bytes lie in a tar.</summary>
/// <param name="FromBytes">From the start of the file.</param>
/// <param name="LengthBytes">Its length.</param>
internal readonly record struct TarPlace(long FromBytes, long LengthBytes);

/// <summary>Finds the objects of a tar: the files in it whose names could be objects of a store.</summary>
/// <remarks>
/// Any tar that the framework reads is taken (pax, ustar, GNU), so that one that was made again with `tar` from the
/// extracted folder is as good. Names may begin with <c>./</c>. Of several entries of one name the last counts, as it
/// does when tar extracts them. A file that ends without closing blocks is read as far as it goes.
///
/// INVARIANTS
///   R1  Headers of headers (long names, extended attributes) of more than <see cref="MetaBytesMax"/> are damage,
///       before anything is allocated for them.
///   R2  Each step takes 512 bytes or more of the file, so it ends; memory is bounded by the headers that were read.
///   R3  A place lies within the file.
/// THREADS  one. FAILURE  DamageException BackupDamaged for what is no tar.
/// </remarks>
internal static class TarIndex
{
    private const int BlockBytes = 512;
    private const int MetaBytesMax = 64 << 10;
    private const int MetasOfEntryMax = 4;
    private const int SizeAt = 124;
    private const int SizeBytes = 12;
    private const int TypeAt = 156;

    /// <exception cref="DamageException">BackupDamaged.</exception>
    public static SortedDictionary<string, TarPlace> Read(IFileHandle file)
    {
        var places = new SortedDictionary<string, TarPlace>(StringComparer.Ordinal);
        long lengthBytes = file.LengthBytes;
        long at = 0;
        Span<byte> block = stackalloc byte[BlockBytes];
        while (at < lengthBytes)
        {
            if (file.Read(at, block) < BlockBytes)
                break; // the rest of a block: it was cut off here
            if (block.IndexOfAnyExcept((byte)0) < 0)
                break; // the closing blocks
            if (!MetasFit(file, at, lengthBytes))
                break;
            at = Take(file, at, lengthBytes, places);
        }
        return places;
    }

    /// <summary>
    /// R1. False if the file ends before the entry's own header.
    /// </summary>
    private static bool MetasFit(IFileHandle file, long from, long lengthBytes)
    {
        Span<byte> block = stackalloc byte[BlockBytes];
        long at = from;
        for (int metas = 0; ; metas++)
        {
            if (file.Read(at, block) < BlockBytes)
                return false;
            char type = (char)block[TypeAt];
            if (type is not ('x' or 'g' or 'L' or 'K'))
                return true;
            long size = SizeOf(block.Slice(SizeAt, SizeBytes))
                ?? throw RecoveryErrors.TarDamaged(file.Path, at, "the length of a header's extension is no number");
            if (size > MetaBytesMax || metas == MetasOfEntryMax)
            {
                throw RecoveryErrors.TarDamaged(
                    file.Path, at, $"its header has more extensions than any of a backup set ({size} bytes)");
            }
            if (type == 'g')
                return true; // stands for itself
            at += BlockBytes + Padded(size);
            if (at >= lengthBytes)
                return false;
        }
    }

    /// <summary>Notes the entry that begins here; answers where the next one does.</summary>
    private static long Take(
        IFileHandle file, long from, long lengthBytes, SortedDictionary<string, TarPlace> places)
    {
        TarEntry? entry;
        try
        {
            using var window = new HandleStream(file, from, lengthBytes - from, ownsFile: false);
            using var reader = new TarReader(window, leaveOpen: true);
            entry = reader.GetNextEntry();
        }
        catch (EndOfStreamException)
        {
            return lengthBytes;
        }
        catch (Exception bad) when (bad is InvalidDataException or FormatException or ArgumentException
            or OverflowException or NotSupportedException or InvalidOperationException or IOException)
        {
            throw RecoveryErrors.TarDamaged(file.Path, from, bad.Message.TrimEnd('.'));
        }
        if (entry is null)
            return lengthBytes;
        if (entry.EntryType == TarEntryType.GlobalExtendedAttributes)
            return from + BlockBytes + Padded(LengthOfMeta(file, from));
        long data = from + entry.DataOffset;
        long length = entry.Length;
        if (entry.DataOffset < BlockBytes || length < 0 || data > lengthBytes)
            throw RecoveryErrors.TarDamaged(file.Path, from, $"its length is {length}");
        bool isWhole = length <= lengthBytes - data;
        string name = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
        bool isFile = entry.EntryType is TarEntryType.RegularFile or TarEntryType.V7RegularFile
            or TarEntryType.ContiguousFile;
        if (isFile && ObjectName.IsValid(name))
        {
            if (isWhole)
                places[name] = new TarPlace(data, length);
            else
                places.Remove(name); // cut off here: what came before it does not count either
        }
        return isWhole ? data + Padded(length) : lengthBytes;
    }

    private static long LengthOfMeta(IFileHandle file, long at)
    {
        Span<byte> size = stackalloc byte[SizeBytes];
        return file.Read(at + SizeAt, size) < SizeBytes ? 0 : SizeOf(size) ?? 0;
    }

    /// <summary>Octal digits, between spaces and zeroes; null if it is anything else.</summary>
    private static long? SizeOf(ReadOnlySpan<byte> field)
    {
        ReadOnlySpan<byte> digits = field.Trim(" \0"u8);
        long size = 0;
        foreach (byte digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'7')
                return null;
            size = (size * 8) + (digit - '0');
        }
        return size;
    }

    private static long Padded(long lengthBytes) => (lengthBytes + BlockBytes - 1) / BlockBytes * BlockBytes;
}
