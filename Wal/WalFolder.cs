using System.Collections.Concurrent;
using System.Globalization;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// The folder of segments: which are there, the ones made ready ahead, and what happens to those no longer needed.
/// </summary>
/// <remarks>
/// LAYOUT  <c>{24 hex}</c> a segment · <c>{24 hex}.new</c> one that is being made · <c>spare.{16 hex}</c> one to be
/// recycled. The last two are strays after a crash, and are removed at opening. <c>{24 hex}.aside</c> one that was left
/// behind a fork (<see cref="LeftWal"/>): the operator's.
///
/// INVARIANTS
///   W1  A segment has its name only when its header and its zeroes are durable, and is handed out only when its name
///       is (H5).
///   W3  Beyond the end of the log a ready segment holds zeroes.
///
/// DURABILITY  of making one ready: zeroes · header · SyncData, all under a temporary name · rename · SyncFolder.
/// Of recycling: rename to a spare name · SyncFolder · then the steps above. The first sync keeps the old name from
/// standing for the new content after a power loss.
///
/// A recycled segment is zeroed, although its stale records could not pass (their start LSNs and lineage do not fit,
/// H2): (1) zeroes in the page cache keep the commit path from reading a page to change a part of it; (2) by W3 the
/// filler of a switch writes its header only, and opening has little to zero; (3) every byte beyond the end that is not
/// zero is the rest of a torn group, so H6's scan reads nothing else. What recycling saves is allocation, and the room
/// it holds.
///
/// THREADS  <see cref="EnsureReady"/> and <see cref="Recycle"/>: one worker at a time. <see cref="TryTakeReady"/>: the
/// appender's thread. <see cref="List"/>, <see cref="ReadyCount"/>: any.
/// FAILURE  making a segment ready may fail (a full disk) and be tried again: no log byte depends on it yet.
/// </remarks>
internal sealed class WalFolder : IDisposable
{
    public const int ReadyAhead = 2;
    public const int SparesMax = 4;

    private const int ChunkBytes = 1 << 20;
    private const string MakingSuffix = ".new";
    private const string SparePrefix = "spare.";

    private readonly IFileSystem _files;
    private readonly Action<IFileHandle, long, ReadOnlySpan<byte>> _write;
    private readonly ConcurrentQueue<WalSegment> _ready = new();
    private readonly Queue<string> _spares = new();
    private readonly byte[] _zeroes;
    private ulong _nextNumber;
    // the number whose rename was done and whose folder sync threw: its name is made again
    private ulong _nameNotSynced;

    /// <param name="files">The disk.</param>
    /// <param name="folder">The folder; it exists.</param>
    /// <param name="segmentBytes">Bytes of a segment file.</param>
    /// <param name="identity">The timeline that new segments belong to.</param>
    /// <param name="write">Writes the chunks of a new segment (≤ 1 MiB each): the paced writer, or the handle
    /// itself.</param>
    public WalFolder(
        IFileSystem files, string folder, int segmentBytes, WalIdentity identity,
        Action<IFileHandle, long, ReadOnlySpan<byte>>? write = null)
    {
        _files = files;
        Folder = folder;
        Geometry = new WalGeometry(segmentBytes);
        Identity = identity;
        _write = write ?? ((handle, offset, bytes) => handle.Write(offset, bytes));
        _zeroes = new byte[Math.Min(segmentBytes, ChunkBytes)];
    }

    public string Folder { get; }
    public WalGeometry Geometry { get; }
    public WalIdentity Identity { get; }
    public IFileSystem Files => _files;

    /// <summary>How many segments are ready behind the one in use.</summary>
    public int ReadyCount => _ready.Count;

    public string PathOf(SegmentName name) => $"{Folder}/{name}";

    /// <summary>The segments that are there, of all timelines, by timeline and number.</summary>
    public IReadOnlyList<SegmentName> List()
    {
        var found = new List<SegmentName>();
        foreach (string name in _files.List(Folder))
        {
            if (SegmentName.TryParse(name, out SegmentName segment))
                found.Add(segment);
        }
        found.Sort();
        return found;
    }

    /// <summary>The highest timeline that a segment is of, also one that was set aside; 0 if there is none.</summary>
    public TimelineId HighestTimeline()
    {
        uint highest = 0;
        foreach (string name in _files.List(Folder))
        {
            bool isKept = name.Length == SegmentName.Length
                || name.AsSpan(Math.Min(name.Length, SegmentName.Length)).StartsWith(AsideName.Suffix);
            if (isKept && SegmentName.TryParse(name.AsSpan(0, SegmentName.Length), out SegmentName segment))
                highest = Math.Max(highest, segment.Timeline.Value);
        }
        return new TimelineId(highest);
    }

    /// <summary>Removes what an interrupted step left (segments being made, spares). Only at opening.</summary>
    public void RemoveStrays()
    {
        bool any = false;
        foreach (string name in _files.List(Folder))
        {
            bool isMaking = name.EndsWith(MakingSuffix, StringComparison.Ordinal)
                && SegmentName.TryParse(name.AsSpan(0, name.Length - MakingSuffix.Length), out _);
            bool isSpare = name.StartsWith(SparePrefix, StringComparison.Ordinal)
                && name.Length == SparePrefix.Length + 16;
            if (!isMaking && !isSpare)
                continue;
            _files.Delete($"{Folder}/{name}");
            any = true;
        }
        if (any)
            _files.SyncFolder(Folder);
    }

    /// <summary>Says which segment is the next to be made; those taken before are the caller's.</summary>
    public void ContinueAt(ulong number)
    {
        Invariant.Require(_ready.IsEmpty, "W1", "Segments are ready already.");
        _nextNumber = number;
    }

    /// <summary>Adds a segment that exists and holds only zeroes behind its header: found ready at opening.</summary>
    public void AddReady(WalSegment segment)
    {
        Invariant.Require(
            segment.Number == _nextNumber, "W1", $"Segment {segment.Number} is not the next one, {_nextNumber}.");
        _nextNumber++;
        _ready.Enqueue(segment);
    }

    /// <summary>
    /// Makes segments until <paramref name="count"/> are ready. What was made before a failure stays.
    /// </summary>
    /// <exception cref="StorageFailedException">The disk is full, or said no. May be tried again.</exception>
    public void EnsureReady(int count = ReadyAhead)
    {
        Invariant.Require(_nextNumber > 0, "W1", "Nobody said which segment is the next.");
        while (_ready.Count < count)
            AddReady(Make(_nextNumber));
    }

    /// <summary>The next ready segment, in order.</summary>
    public bool TryTakeReady(out WalSegment segment) => _ready.TryDequeue(out segment!);

    /// <summary>
    /// Lets segments go that nobody needs any more (the caller knows: redo point, stores, backups, parents): some are
    /// kept as spares for new ones, the others removed. The names are gone durably when it returns.
    /// </summary>
    /// <remarks>
    /// The record that ends at the redo point stays until one above it is durable (a checkpoint's own record is): an
    /// opening that finds nothing above the redo point continues the chain from it.
    /// </remarks>
    public void Recycle(IReadOnlyCollection<SegmentName> segments)
    {
        if (segments.Count == 0)
            return;
        foreach (SegmentName name in segments)
        {
            string path = PathOf(name);
            FileEntry? there = _files.Stat(path);
            if (there is null)
                continue; // it was let go already
            bool fits = there is { IsSymlink: false, IsFolder: false } entry
                && entry.LengthBytes == Geometry.SegmentBytes;
            string spare = string.Create(CultureInfo.InvariantCulture, $"{Folder}/{SparePrefix}{name.Number:X16}");
            if (!fits || _spares.Count >= SparesMax || _spares.Contains(spare)) // two timelines may have one number
            {
                _files.Delete(path);
                continue;
            }
            _files.Rename(path, spare);
            _spares.Enqueue(spare);
        }
        _files.SyncFolder(Folder);
    }

    /// <summary>Removes segments, durably.</summary>
    public void Remove(IReadOnlyCollection<SegmentName> segments)
    {
        if (segments.Count == 0)
            return;
        foreach (SegmentName name in segments)
            _files.Delete(PathOf(name));
        _files.SyncFolder(Folder);
    }

    /// <summary>Opens a segment that must be the one that its name and the identity say.</summary>
    /// <exception cref="DamageException">Its header is damaged, or its length is not that of a segment.</exception>
    /// <exception cref="RefusedException">It belongs to another database or lineage, or is of a newer
    /// format.</exception>
    public IFileHandle Open(ulong number, WalIdentity identity, FileOpen mode)
    {
        var name = new SegmentName(identity.Timeline, number);
        IFileHandle handle = _files.Open(PathOf(name), mode);
        try
        {
            Span<byte> bytes = stackalloc byte[SegmentHeader.Bytes];
            int read = handle.Read(0, bytes);
            SegmentHeader header = SegmentHeader.Read(bytes[..read], handle.Path);
            SegmentHeader expected = SegmentHeader.For(identity, Geometry, number);
            if (header.Identity != identity)
                throw WalErrors.ForeignSegment(handle.Path, Describe(identity), Describe(header.Identity));
            if (header != expected || handle.LengthBytes != Geometry.SegmentBytes)
            {
                throw WalErrors.SegmentHeaderDamaged(handle.Path,
                    $"it says segment {header.Name} of {header.SegmentBytes} bytes, and the file has {handle.LengthBytes}");
            }
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        while (_ready.TryDequeue(out WalSegment? segment))
            segment.Dispose();
    }

    private static string Describe(WalIdentity identity) =>
        $"database {identity.System}, timeline {identity.Timeline}, lineage {identity.Lineage}";

    private WalSegment Make(ulong number)
    {
        var name = new SegmentName(Identity.Timeline, number);
        string path = PathOf(name);
        string making = path + MakingSuffix;
        IFileHandle handle;
        if (_spares.TryDequeue(out string? spare))
        {
            _files.Rename(spare, making);
            handle = _files.Open(making, FileOpen.ReadWrite);
        }
        else
        {
            if (_files.Stat(making) is not null)
                _files.Delete(making); // an earlier try that failed
            handle = _files.Open(making, FileOpen.CreateNew);
        }
        try
        {
            for (long at = 0; at < Geometry.SegmentBytes; at += _zeroes.Length)
                _write(handle, at, _zeroes.AsSpan(0, (int)Math.Min(_zeroes.Length, Geometry.SegmentBytes - at)));
            Span<byte> header = stackalloc byte[SegmentHeader.Bytes];
            SegmentHeader.For(Identity, Geometry, number).Write(header);
            handle.Write(0, header);
            handle.SyncData();
            Invariant.Require(
                number == _nameNotSynced || _files.Stat(path) is null, "W1", $"Segment '{path}' is there already.");
            _files.Rename(making, path);
            _nameNotSynced = number;
            _files.SyncFolder(Folder);
            _nameNotSynced = 0;
            handle.Dispose();
            return new WalSegment(number, _files.Open(path, FileOpen.ReadWrite), Geometry);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }
}
