using System.Buffers.Binary;

namespace Pitr.Tests;

/// <summary>Changes bytes as bad sectors, bad programs and bad people do.</summary>
internal static class ByteMutator
{
    /// <summary>One to four changes anywhere; the length may change too.</summary>
    public static byte[] Mutate(byte[] input, FuzzChance chance)
    {
        for (int changes = 1 + chance.Next(4); changes > 0; changes--)
            input = chance.Percent(70) ? InPlace(input, chance, 0, input.Length) : Resize(input, chance);
        return input;
    }

    /// <summary>One to four changes within a range, which leave the length as it is.</summary>
    public static byte[] MutateWithin(byte[] input, FuzzChance chance, int from, int to)
    {
        for (int changes = 1 + chance.Next(4); changes > 0; changes--)
            input = InPlace(input, chance, from, Math.Min(to, input.Length));
        return input;
    }

    private static byte[] InPlace(byte[] input, FuzzChance chance, int from, int to)
    {
        byte[] changed = [.. input];
        if (to <= from)
            return changed;
        Span<byte> bytes = changed.AsSpan(from, to - from);
        int at = chance.Next(bytes.Length);
        int aligned = at & ~7;
        switch (chance.Next(9))
        {
            case 0:
                bytes[at] ^= (byte)(1 << chance.Next(8));
                break;
            case 1:
                bytes[at] = (byte)chance.Number();
                break;
            case 2 when at + 2 <= bytes.Length:
                BinaryPrimitives.WriteUInt16LittleEndian(bytes[(at & ~1)..], (ushort)chance.Number());
                break;
            case 3 when (at & ~3) + 4 <= bytes.Length:
                BinaryPrimitives.WriteUInt32LittleEndian(bytes[(at & ~3)..], (uint)chance.Number());
                break;
            case 4 when aligned + 8 <= bytes.Length:
                BinaryPrimitives.WriteUInt64LittleEndian(bytes[aligned..], chance.Number());
                break;
            case 5 when (at & ~3) + 4 <= bytes.Length:
                uint near = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(at & ~3)..]);
                BinaryPrimitives.WriteUInt32LittleEndian(bytes[(at & ~3)..], near + (uint)chance.Next(17) - 8);
                break;
            case 6:
                bytes.Slice(at, Math.Min(1 + chance.Next(64), bytes.Length - at)).Fill((byte)chance.Number());
                break;
            case 7: // bytes of another place
                int source = chance.Next(bytes.Length);
                int length = Math.Min(1 + chance.Next(64), bytes.Length - Math.Max(at, source));
                bytes.Slice(source, length).ToArray().CopyTo(bytes[at..]);
                break;
            default:
                bytes[at] = (byte)chance.Bits();
                break;
        }
        return changed;
    }

    private static byte[] Resize(byte[] input, FuzzChance chance)
    {
        int at = chance.Next(input.Length + 1);
        int length = Math.Min(1 + chance.Next(chance.Percent(80) ? 16 : 600), input.Length - at);
        return chance.Next(4) switch
        {
            0 => input[..at],
            1 => [.. input[..at], .. input[(at + length)..]],
            2 => [.. input[..at], .. input[at..(at + length)], .. input[at..]],
            _ => [.. input[..at], .. Some(chance), .. input[at..]],
        };
    }

    private static byte[] Some(FuzzChance chance)
    {
        var bytes = new byte[1 + chance.Next(32)];
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] = (byte)chance.Bits();
        return bytes;
    }
}
