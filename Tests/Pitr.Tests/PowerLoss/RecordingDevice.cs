using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Pitr.Tests;

/// <summary>
/// A disk in memory that the kernel uses as a block device, and that remembers every write and every sync in order: so
/// the disk as it would be after a power loss at any moment can be made from it.
/// </summary>
/// <remarks>
/// A FUSE file system with a single file, <see cref="ImagePath"/>; a loop device on that file is the block device, and
/// a real file system with its journal lies on it. What the loop device does reaches this class as:
/// <code>
///   pitr serve ─▶ ext4 ─▶ /dev/loopN ─ WRITE ─▶ FUSE_WRITE   an entry of the log
///                                    ─ FLUSH ─▶ FUSE_FSYNC   a sync in the log: what came before it is durable
/// </code>
/// FAULT MODEL of <see cref="ImageAt"/>: writes before the last sync are there; each later one may be there, be
/// missing, or be torn at 512 bytes, whatever the others are; but not the first block, which ext4 itself takes for whole
/// or absent: its superblock has 1,024 bytes and a checksum, and no journal brings a torn one back. A device that
/// breaks its promise of a sync is not among it. A journal commit's FUA write arrives as a write and a sync, since a loop device has no FUA of its own.
/// THREADS  one of its own answers the kernel; the log may be read meanwhile.
/// </remarks>
internal sealed unsafe partial class RecordingDevice : IDisposable
{
    private const int SectorBytes = 512;
    private const int SuperblockEnd = 4096;
    private const int InHeaderBytes = 40;
    private const int OutHeaderBytes = 16;
    private const int MaxWriteBytes = 1 << 20;
    private const ulong RootNode = 1;
    private const ulong ImageNode = 2;
    private const int NotThere = -2; // ENOENT
    private const int NotKnown = -38; // ENOSYS
    private const int ReadWrite = 2;
    private const int NoSuidNoDev = 6;
    private const int Detach = 2;

    private readonly string _folder;
    private readonly byte[] _content;
    private readonly List<Entry> _log = [];
    private readonly Lock _lock = new();
    private readonly Thread _thread;
    private readonly int _device;

    private RecordingDevice(string folder, byte[] content, int device)
    {
        (_folder, _content, _device) = (folder, content, device);
        _thread = new Thread(Serve) { IsBackground = true, Name = "fuse" };
        _thread.Start();
    }

    /// <summary>The file that is the disk.</summary>
    public string ImagePath => Path.Combine(_folder, "disk.img");

    /// <summary>How many writes and syncs there were.</summary>
    public int LogLength
    {
        get
        {
            lock (_lock)
                return _log.Count;
        }
    }

    /// <summary>How many of them were syncs.</summary>
    public int Syncs
    {
        get
        {
            lock (_lock)
                return _log.Count(entry => entry.Bytes is null);
        }
    }

    /// <summary>Mounts a disk of these bytes on a folder; null if this system does not let us.</summary>
    public static RecordingDevice? TryMount(string folder, byte[] content)
    {
        int device = open("/dev/fuse", ReadWrite);
        if (device < 0)
            return null;
        string options = string.Create(
            CultureInfo.InvariantCulture, $"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other");
        if (mount("pitr-test", folder, "fuse", NoSuidNoDev, options) == 0)
            return new RecordingDevice(folder, content, device);
        _ = close(device);
        return null;
    }

    /// <summary>A copy of the disk as it was when mounted.</summary>
    public static byte[] Blank(int megabytes) => new byte[megabytes << 20];

    /// <summary>The disk after a power loss when the log had so many entries.</summary>
    /// <param name="before">The disk when it was mounted.</param>
    /// <param name="length">Entries of the log that had come.</param>
    /// <param name="chance">What of the writes after the last sync is there.</param>
    public byte[] ImageAt(byte[] before, int length, FuzzChance chance)
    {
        Entry[] log;
        lock (_lock)
            log = [.. _log[..length]];
        byte[] image = [.. before];
        int synced = Array.FindLastIndex(log, static entry => entry.Bytes is null) + 1;
        foreach (Entry entry in log[..synced])
            entry.Bytes?.CopyTo(image, entry.Offset);
        int lost = chance.Next(4); // none, half of the writes, half of the sectors, all
        foreach (Entry entry in log[synced..])
        {
            bool isWriteLost = lost == 3 || (lost == 1 && chance.Percent(50));
            int part;
            for (int at = 0; at < entry.Bytes!.Length && !isWriteLost; at += part)
            {
                int unit = Math.Max(SectorBytes, SuperblockEnd - (int)Math.Min(SuperblockEnd, entry.Offset + at));
                part = Math.Min(unit, entry.Bytes.Length - at);
                if (lost != 2 || chance.Percent(50))
                    entry.Bytes.AsSpan(at, part).CopyTo(image.AsSpan((int)entry.Offset + at));
            }
        }
        return image;
    }

    public void Dispose()
    {
        _ = umount2(_folder, Detach);
        _thread.Join();
        _ = close(_device);
    }

    // ---- the kernel's requests -------------------------------------------------------------------

    private void Serve()
    {
        int room = MaxWriteBytes + 4096;
        byte* request = (byte*)NativeMemory.AlignedAlloc((nuint)room, 4096);
        byte[] answer = new byte[OutHeaderBytes + MaxWriteBytes];
        while (true)
        {
            long length = read(_device, request, (nuint)room);
            if (length < InHeaderBytes)
            {
                int error = Marshal.GetLastPInvokeError();
                if (length < 0 && error is 4 or 11 or 2) // interrupted, or withdrawn by the kernel
                    continue;
                break; // ENODEV: unmounted
            }
            var bytes = new ReadOnlySpan<byte>(request, (int)length);
            int body = Answer(bytes, answer);
            if (body == int.MinValue)
                continue; // nothing is to be said
            int total = OutHeaderBytes + Math.Max(0, body);
            BinaryPrimitives.WriteInt32LittleEndian(answer, total);
            BinaryPrimitives.WriteInt32LittleEndian(answer.AsSpan(4), Math.Min(0, body));
            bytes.Slice(8, 8).CopyTo(answer.AsSpan(8));
            fixed (byte* from = answer)
                _ = write(_device, from, (nuint)total);
        }
        NativeMemory.AlignedFree(request);
    }

    // Fills in what follows the header; answers its bytes, or a negative errno.
    private int Answer(ReadOnlySpan<byte> request, byte[] answer)
    {
        uint operation = BinaryPrimitives.ReadUInt32LittleEndian(request[4..]);
        ulong node = BinaryPrimitives.ReadUInt64LittleEndian(request[16..]);
        ReadOnlySpan<byte> body = request[InHeaderBytes..];
        Span<byte> to = answer.AsSpan(OutHeaderBytes);
        switch (operation)
        {
            case 26: // INIT
                to[..64].Clear();
                BinaryPrimitives.WriteUInt32LittleEndian(to, 7);
                BinaryPrimitives.WriteUInt32LittleEndian(to[4..], 31);
                BinaryPrimitives.WriteUInt32LittleEndian(to[8..], MaxWriteBytes);
                BinaryPrimitives.WriteUInt32LittleEndian(to[12..], (1 << 5) | (1 << 22)); // big writes, max pages
                BinaryPrimitives.WriteUInt32LittleEndian(to[20..], MaxWriteBytes);
                BinaryPrimitives.WriteUInt32LittleEndian(to[24..], 1);
                BinaryPrimitives.WriteUInt16LittleEndian(to[28..], MaxWriteBytes / 4096);
                return 64;
            case 1: // LOOKUP
                if (!body.StartsWith("disk.img\0"u8))
                    return NotThere;
                to[..128].Clear();
                BinaryPrimitives.WriteUInt64LittleEndian(to, ImageNode);
                BinaryPrimitives.WriteUInt64LittleEndian(to[16..], 3600);
                BinaryPrimitives.WriteUInt64LittleEndian(to[24..], 3600);
                WriteAttributes(to[40..], ImageNode);
                return 128;
            case 3 or 4: // GETATTR, SETATTR
                to[..104].Clear();
                BinaryPrimitives.WriteUInt64LittleEndian(to, 3600);
                WriteAttributes(to[16..], node);
                return 104;
            case 14 or 27: // OPEN, OPENDIR
                to[..16].Clear();
                return 16;
            case 15: // READ
                return Read(body, to);
            case 16: // WRITE
                return Write(body, to);
            case 17: // STATFS
                to[..80].Clear();
                BinaryPrimitives.WriteUInt32LittleEndian(to[40..], 4096);
                BinaryPrimitives.WriteUInt32LittleEndian(to[48..], 4096);
                return 80;
            case 20: // FSYNC
                lock (_lock)
                    _log.Add(new Entry(0, null));
                return 0;
            case 18 or 25 or 29 or 34 or 38: // RELEASE, FLUSH, RELEASEDIR, ACCESS, DESTROY
                return 0;
            case 2 or 36 or 42: // FORGET, INTERRUPT, BATCH_FORGET
                return int.MinValue;
            default:
                return NotKnown;
        }
    }

    private int Read(ReadOnlySpan<byte> body, Span<byte> to)
    {
        long offset = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        int length = (int)Math.Clamp(
            _content.Length - offset, 0, BinaryPrimitives.ReadUInt32LittleEndian(body[16..]));
        _content.AsSpan((int)offset, length).CopyTo(to);
        return length;
    }

    private int Write(ReadOnlySpan<byte> body, Span<byte> to)
    {
        long offset = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        int length = (int)BinaryPrimitives.ReadUInt32LittleEndian(body[16..]);
        byte[] bytes = body.Slice(40, length).ToArray();
        bytes.CopyTo(_content, offset);
        lock (_lock)
            _log.Add(new Entry(offset, bytes));
        to[..8].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(to, (uint)length);
        return 8;
    }

    private void WriteAttributes(Span<byte> to, ulong node)
    {
        bool isRoot = node == RootNode;
        BinaryPrimitives.WriteUInt64LittleEndian(to, node);
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], isRoot ? 0 : (ulong)_content.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], isRoot ? 0 : (ulong)_content.Length / SectorBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[60..], isRoot ? 0x41EDu : 0x8180u); // 040755, 0100600
        BinaryPrimitives.WriteUInt32LittleEndian(to[64..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(to[80..], 4096);
    }

    /// <summary>A write, or, without bytes, a sync.</summary>
    private readonly record struct Entry(long Offset, byte[]? Bytes);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int file, byte* to, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int file, byte* from, nuint count);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mount(string source, string target, string type, ulong flags, string options);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int umount2(string target, int flags);
}
