using System.Text;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>Encrypted archives: nothing in the clear, nothing believed that was not sealed under its name.</summary>
public sealed class EncryptedStoreTests
{
    private static readonly ArchiveKey Key = new(Bytes(32, 7));
    private readonly SimulatedDisk _disk;
    private readonly FolderStore _plain;
    private readonly EncryptedStore _store;
    private ulong _drawn;

    public EncryptedStoreTests()
    {
        (_disk, _plain) = NewStore();
        _store = Open(Key);
    }

    public static TheoryData<int> Lengths =>
        [0, 1, SealedObject.FrameBytes - 1, SealedObject.FrameBytes, SealedObject.FrameBytes + 1, 2 * SealedObject.FrameBytes];

    [Theory]
    [MemberData(nameof(Lengths))]
    public void What_is_sealed_at_once_or_out_of_a_stream_is_the_same_when_it_is_read(int length)
    {
        byte[] content = new byte[length];
        new Random(length).NextBytes(content);
        _store.Put("a", content);
        _store.Put("b", new MemoryStream(content));
        foreach (string name in new[] { "a", "b" })
        {
            Assert.True(content.AsSpan().SequenceEqual(_store.Get(name).Span));
            using Stream stream = _store.OpenRead(name);
            Assert.Equal(length, stream.Length);
            var copy = new MemoryStream();
            stream.CopyTo(copy, 4321);
            Assert.True(content.AsSpan().SequenceEqual(copy.ToArray()));
            Assert.Equal(length, _store.Stat(name)!.LengthBytes);
            Assert.Equal(SealedObject.SealedLength(length), _plain.Stat(name)!.LengthBytes);
        }
    }

    [Fact]
    public void Nothing_lies_in_the_store_in_the_clear_and_nothing_twice_in_the_same_form()
    {
        byte[] secret = Encoding.ASCII.GetBytes("a balance of four thousand seven hundred and eleven");
        _store.Put("a", secret);
        byte[] first = _plain.Get("a").ToArray();
        _store.Put("a", secret);
        byte[] second = _plain.Get("a").ToArray();
        Assert.True(first.AsSpan().IndexOf(secret.AsSpan(0, 8)) < 0);
        Assert.NotEqual( // without the tags, which differ with the headers
            first[SealedObject.HeaderBytes..^SealedObject.TagBytes], second[SealedObject.HeaderBytes..^SealedObject.TagBytes]);
        _store.Put("b", new byte[4096]);
        Assert.True(_plain.Get("b").Span[SealedObject.HeaderBytes..].IndexOf(new byte[16]) < 0);
    }

    /// <summary>H25: two pushes of one segment differ in every byte, and are equal.</summary>
    [Fact]
    public void A_segment_that_is_there_sealed_is_found_equal_by_its_plain_bytes()
    {
        Assert.Equal(PushOutcome.Pushed, ArchivePush.Push(_store, Whole(1)));
        Assert.Equal(PushOutcome.AlreadyThere, ArchivePush.Push(Open(Key), Whole(1)));
        Assert.Equal(
            ErrorCode.ArchiveConflict,
            Assert.Throws<RefusedException>(() => ArchivePush.Push(_store, Whole(1, recordCount: 3))).Code);
    }

    [Fact]
    public void A_changed_byte_anywhere_is_never_other_content()
    {
        _store.Put("a", Bytes(100, 3));
        byte[] good = _plain.Get("a").ToArray();
        for (int at = 0; at < good.Length; at++)
        {
            byte[] bad = [.. good];
            bad[at] ^= 0x41;
            _plain.Put("a", bad);
            ErrorCode code = Assert.ThrowsAny<PitrException>(() => _store.Get("a")).Code;
            Assert.Equal(code, Assert.ThrowsAny<PitrException>(() => ReadStream("a")).Code);
            ErrorCode expected = at switch
            {
                < 8 => ErrorCode.StoreNotSealed,
                < 10 => ErrorCode.FormatVersion,
                >= 16 and < 24 => ErrorCode.StoreKeyWrong,
                _ => ErrorCode.ArchiveDamaged,
            };
            Assert.Equal((at, expected), (at, code));
        }
    }

    [Fact]
    public void An_object_that_was_cut_off_prolonged_or_whose_frames_were_exchanged_is_damage()
    {
        byte[] content = new byte[(2 * SealedObject.FrameBytes) + 10];
        new Random(5).NextBytes(content);
        _store.Put("a", content);
        byte[] good = _plain.Get("a").ToArray();
        const int frame = SealedObject.FrameBytes + SealedObject.TagBytes;
        const int header = SealedObject.HeaderBytes;
        foreach (byte[] bad in new byte[][]
        {
            good[..^1], good[..(header + frame)], good[..(header + (2 * frame))], good[..header], good[..(header + 5)],
            [.. good, 0], [.. good, .. good[header..]],
            [.. good[..header], .. good[(header + frame)..(header + (2 * frame))], .. good[header..(header + frame)], .. good[(header + (2 * frame))..]],
            [.. good[..(header + frame)], .. good[(header + (2 * frame))..]],
        })
        {
            _plain.Put("a", bad);
            Assert.Equal(ErrorCode.ArchiveDamaged, Assert.Throws<DamageException>(() => _store.Get("a")).Code);
            Assert.Equal(ErrorCode.ArchiveDamaged, Assert.Throws<DamageException>(() => ReadStream("a")).Code);
        }
        _plain.Put("a", good.AsMemory(0, 20));
        Assert.Throws<DamageException>(() => _store.Get("a"));
    }

    /// <summary>Who can write into the store cannot put one object in the place of another.</summary>
    [Fact]
    public void The_content_of_another_object_does_not_open_under_this_ones_name()
    {
        _store.Put("history/00000001.json", Bytes(50, 1));
        _store.Put("history/00000002.json", Bytes(50, 2));
        _plain.Put("history/00000002.json", _plain.Get("history/00000001.json"));
        Assert.Equal(
            ErrorCode.ArchiveDamaged, Assert.Throws<DamageException>(() => _store.Get("history/00000002.json")).Code);
    }

    [Fact]
    public void Another_key_no_key_and_what_is_in_the_clear_are_told_apart()
    {
        ArchivePush.Push(_store, Whole(1));
        TimelineClaim.Claim(_store, First);
        EncryptedStore other = Open(new ArchiveKey(Bytes(32, 8)));
        var wrong = Assert.Throws<RefusedException>(() => other.Get(Whole(1).Name));
        Assert.Equal(ErrorCode.StoreKeyWrong, wrong.Code);
        Assert.Contains(Key.Id, wrong.Message, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.StoreKeyWrong, Assert.Throws<RefusedException>(() => other.OpenRead(Whole(1).Name)).Code);
        Assert.Equal(ErrorCode.StoreKeyMissing, Assert.Throws<RefusedException>(() => ArchiveCatalog.Load(_plain)).Code);
        Assert.Equal(
            ErrorCode.StoreKeyMissing, Assert.Throws<RefusedException>(() => ArchivePush.Push(_plain, Whole(1))).Code);
        _plain.Put("clear", Bytes(100, 1));
        Assert.Equal(ErrorCode.StoreNotSealed, Assert.Throws<RefusedException>(() => _store.Get("clear")).Code);
        _plain.Put("clear", Bytes(3, 1));
        Assert.Equal(ErrorCode.StoreNotSealed, Assert.Throws<RefusedException>(() => _store.OpenRead("clear")).Code);
        Assert.Equal(0, _disk.OpenHandleCount);
    }

    [Theory]
    [InlineData("0123456789abcdefABCDEF6789abcdef0123456789abcdef0123456789abcdef", true)]
    [InlineData(" 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", true)]
    [InlineData("", false)]
    [InlineData("0123456789abcdef", false)]
    [InlineData("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg", false)]
    [InlineData("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef00", false)]
    public void A_key_file_holds_64_digits(string text, bool isKey)
    {
        DurableReplace.Write(_disk, "/store/key", Encoding.ASCII.GetBytes(text));
        if (isKey)
            Assert.Equal(16, ArchiveKey.Read(_disk, "/store/key").Id.Length);
        else
            Assert.Equal(ErrorCode.KeyFileInvalid, Assert.Throws<RefusedException>(() => ArchiveKey.Read(_disk, "/store/key")).Code);
    }

    [Fact]
    public void A_key_file_that_others_may_read_or_that_is_not_there_is_refused()
    {
        string folder = Directory.CreateTempSubdirectory("pitr-key-").FullName;
        string path = Path.Combine(folder, "key");
        File.WriteAllText(path, new string('a', 64));
        var files = new PosixFileSystem();
        foreach ((int mode, bool isGood) in new[] { (0x180, true), (0x100, true), (0x1A0, false), (0x184, false), (0x190, false) })
        {
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(path, (UnixFileMode)mode);
            if (isGood)
                ArchiveKey.Read(files, path);
            else
                Assert.Contains("other users", Assert.Throws<RefusedException>(() => ArchiveKey.Read(files, path)).Message, StringComparison.Ordinal);
        }
        Assert.Equal(
            ErrorCode.KeyFileInvalid, Assert.Throws<RefusedException>(() => ArchiveKey.Read(files, folder)).Code);
        Directory.Delete(folder, recursive: true);
        Assert.Equal(
            ErrorCode.KeyFileInvalid, Assert.Throws<RefusedException>(() => ArchiveKey.Read(files, path)).Code);
    }

    private EncryptedStore Open(ArchiveKey key) => new(_plain, key, () => ++_drawn * 0x9E3779B97F4A7C15UL);

    private void ReadStream(string name)
    {
        using Stream content = _store.OpenRead(name);
        content.CopyTo(Stream.Null);
    }
}
