using System.Formats.Tar;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A tar with any bytes: its objects are found, or it is told that it is none; each step goes on.</summary>
public sealed class TarFuzzTests
{
    private const int Block = 512;
    private const int ChecksumAt = 148;
    private const int ChecksumBytes = 8;

    [Fact]
    public void A_tar_with_any_bytes_is_read_or_is_damage() => FuzzRun.Run(Target() with { Repair = RightChecksums });

    /// <summary>Changes within the headers: their fields are a small part of a tar.</summary>
    [Fact]
    public void A_tar_with_any_headers_is_read_or_is_damage() => FuzzRun.Run(Target() with
    {
        Repair = RightChecksums,
        Mutate = static (input, chance) =>
        {
            int[] headers = [.. HeadersOf(input)];
            int at = headers[chance.Next(headers.Length)];
            return ByteMutator.MutateWithin(input, chance, at, at + Block);
        },
    });

    /// <summary>A header says that gigabytes of header follow.</summary>
    [Theory]
    [InlineData('x')]
    [InlineData('g')]
    [InlineData('L')]
    [InlineData('K')]
    public void A_header_that_asks_for_gigabytes_gets_none(char type)
    {
        byte[] tar = Good(TarEntryFormat.Pax);
        int at = HeadersOf(tar).First();
        tar[at + 156] = (byte)type;
        "17777777777"u8.CopyTo(tar.AsSpan(at + 124));
        FuzzRun.Require(Target(), RightChecksums(tar));
    }

    private static FuzzTarget Target() => new(
        "tar", [Good(TarEntryFormat.Pax), Good(TarEntryFormat.Gnu), Good(TarEntryFormat.Ustar)],
        static (bytes, steps) =>
        {
            var file = new CountingFile(bytes, steps);
            foreach ((string name, TarPlace place) in TarIndex.Read(file))
            {
                Assert.InRange(place.FromBytes, 0, bytes.Length);
                Assert.InRange(place.LengthBytes, 0, bytes.Length - place.FromBytes);
                Assert.True(Pitr.Wal.ObjectName.IsValid(name));
            }
            return null;
        },
        FuzzTarget.Told)
    {
        BytesPerByte = 512, // a file of nothing but headers has an object of a name and some fields each 512 bytes
        Rounds = 3_000,
    };

    private static byte[] Good(TarEntryFormat format)
    {
        var output = new MemoryStream();
        using (var writer = new TarWriter(output, format, leaveOpen: true))
        {
            foreach (string name in new[]
            {
                "datafiles/main.pitr", $"./wal/{new string('0', 24)}.part", "label.json", "manifest.json",
                format == TarEntryFormat.Ustar ? "short" : $"datafiles/{new string('n', 120)}.pitr",
            })
            {
                TarEntry entry = format switch
                {
                    TarEntryFormat.Pax => new PaxTarEntry(TarEntryType.RegularFile, name),
                    TarEntryFormat.Gnu => new GnuTarEntry(TarEntryType.RegularFile, name),
                    _ => new UstarTarEntry(TarEntryType.RegularFile, name),
                };
                entry.ModificationTime = DateTimeOffset.UnixEpoch;
                entry.DataStream = new MemoryStream(new byte[name.Length * 31]);
                writer.WriteEntry(entry);
            }
            if (format == TarEntryFormat.Pax)
            {
                writer.WriteEntry(new PaxGlobalExtendedAttributesTarEntry(
                    [new KeyValuePair<string, string>("comment", "of all")]));
            }
        }
        return output.ToArray();
    }

    /// <summary>Where blocks look like headers: they have the magic of tar.</summary>
    private static IEnumerable<int> HeadersOf(byte[] tar)
    {
        for (int at = 0; at + Block <= tar.Length; at += Block)
        {
            if (tar.AsSpan(at + 257, 5).SequenceEqual("ustar"u8))
                yield return at;
        }
    }

    private static byte[] RightChecksums(byte[] tar)
    {
        foreach (int at in HeadersOf(tar).ToArray())
        {
            Span<byte> header = tar.AsSpan(at, Block);
            header.Slice(ChecksumAt, ChecksumBytes).Fill((byte)' ');
            int sum = 0;
            foreach (byte one in header)
                sum += one;
            System.Text.Encoding.ASCII.GetBytes(
                Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ", header.Slice(ChecksumAt, ChecksumBytes));
        }
        return tar;
    }

    private sealed class CountingFile(byte[] bytes, FuzzSteps steps) : IFileHandle
    {
        public string Path => "/any.tar";

        public long LengthBytes => bytes.Length;

        public uint Links => 1;

        public int Read(long offset, Span<byte> buffer)
        {
            steps.Take();
            ArgumentOutOfRangeException.ThrowIfNegative(offset);
            if (offset >= bytes.Length)
                return 0;
            int read = (int)Math.Min(buffer.Length, bytes.Length - offset);
            bytes.AsSpan((int)offset, read).CopyTo(buffer);
            return read;
        }

        public void StartRead(long offset, long lengthBytes)
        {
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => throw new NotSupportedException();

        public void SyncData() => throw new NotSupportedException();

        public void StartWriteback(long offset, long lengthBytes) => throw new NotSupportedException();

        public void AwaitWriteback(long offset, long lengthBytes) => throw new NotSupportedException();

        public void SetLength(long lengthBytes) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }
}
