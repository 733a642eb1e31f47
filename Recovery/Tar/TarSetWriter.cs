using System.Formats.Tar;
using System.Runtime.ExceptionServices;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Writes one backup set as a tar that can't be rewound, step by step; the fences are the caller's.</summary>
/// <remarks>
/// LAYOUT  POSIX (pax), no private keywords; an entry is an object of the set, at the top (docs/formats/backup-set.md).
/// ORDER
/// <code>
///   1. Copy        one file, while it is fenced; for each file: fence, Copy, unfence; a broken fence: Discard
///   2. (the caller has BackupEnd logged)
///   3. IncludeWal  the WAL from start to stop, unless it stays in the archive
///   4. Complete    control file, label, and last the manifest; then the end of the archive
/// </code>
/// INVARIANTS
///   T1  An entry begins at a multiple of 512 bytes, behind the whole of the one before: a copy that was cut off is
///       filled up with zeroes first.
///   T2  Nothing is written once a write has failed: that tar has no manifest, so it is no set (S4 of BackupWriter).
///   T3  Of several entries of one name the last counts, for tar and for <see cref="TarIndex"/>; the manifest has the
///       digest of that one. A copy that is void is followed by the valid one, or is not in the manifest.
///   T4  WAL is written and read back from what was written, record by record, from start to stop (S5 there).
///
/// THREADS  one, and for the digests those that were given. FAILURE  as BackupWriter's; what the destination throws is
/// thrown on.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "The framework's writer holds nothing, and its end writes the closing blocks.")]
internal sealed class TarSetWriter
{
    private const int BlockBytes = 512;
    private const int ChunkBytes = 1 << 20;

    private readonly IFileSystem _disk;
    private readonly TarOutput _output;
    private readonly TarWriter _tar;
    private readonly BackupStart _start;
    private readonly IReachablePages _reachable;
    private readonly IThreads? _threads;
    private readonly Action<long> _pace;
    private readonly SetContents _contents;
    private readonly HashSet<string> _included = [];
    private long _restBytes; // of the entry that was cut off
    private bool _includesWal;
    private ExceptionDispatchInfo? _endOfWal; // the destination failed while WAL was written

    /// <param name="disk">Where the datafiles are.</param>
    /// <param name="destination">Gets the tar; stays open.</param>
    /// <param name="start">What was read when it began.</param>
    /// <param name="reachable">Tells which pages count, asked only when one fails.</param>
    /// <param name="threads">Where digests are made beside the writing; null: not beside it.</param>
    /// <param name="pace">Called with the bytes just copied; may wait (rate limit) and count (progress).</param>
    public TarSetWriter(
        IFileSystem disk, Stream destination, BackupStart start, IReachablePages reachable, IThreads? threads = null,
        Action<long>? pace = null)
    {
        (_disk, _start, _reachable, _threads) = (disk, start, reachable, threads);
        _pace = pace ?? (static _ => { });
        _output = new TarOutput(destination);
        _tar = new TarWriter(_output, TarEntryFormat.Pax, leaveOpen: true);
        _contents = new SetContents(start);
    }

    /// <summary>Bytes of the tar so far.</summary>
    public long BytesWritten => _output.Written;

    /// <summary>The destination has failed: the tar ends here.</summary>
    public bool HasFailed => _output.HasFailed;

    /// <summary>Where the set's WAL begins, as far as it is known.</summary>
    public Lsn StartLsn => _contents.StartLsn;

    /// <summary>
    /// Step 1, for one file that is fenced from before the call until after it. If it throws, the entry is cut off:
    /// <see cref="Discard"/>, or the tar ends.
    /// </summary>
    public void Copy(FencedFile file, CancellationToken cancellation)
    {
        using IFileHandle handle = _disk.Open(file.Path, FileOpen.Read);
        using var pages = new PageCopyStream(handle, file, _pace, cancellation, _threads);
        WriteEntry(BackupSet.DatafileName(file.Name), pages);
        pages.RequireSound(_reachable);
        _contents.NoteCopy(file, pages.Sha256());
    }

    /// <summary>The copy is void, whole or cut off: its entry is made whole, so that others can follow.</summary>
    public void Discard(FencedFile file, CancellationToken cancellation)
    {
        _contents.Discard(file);
        byte[] zeroes = new byte[(int)Math.Min(ChunkBytes, _restBytes)];
        while (_restBytes > 0)
        {
            cancellation.ThrowIfCancellationRequested();
            int part = (int)Math.Min(zeroes.Length, _restBytes);
            _output.Write(zeroes.AsSpan(0, part));
            _restBytes -= part;
        }
    }

    /// <summary>Step 3.</summary>
    /// <param name="history">The database's path.</param>
    /// <param name="sources">Where the WAL is.</param>
    /// <param name="stop">The stop LSN; durable.</param>
    /// <param name="cancellation">Ends the copying.</param>
    /// <exception cref="DamageException">The chain of records does not reach the stop: there is no set.</exception>
    /// <exception cref="RefusedException">WalGap.</exception>
    public void IncludeWal(TimelineHistory history, WalSources sources, Lsn stop, CancellationToken cancellation)
    {
        WalCoverage coverage = sources.Along(history, StartLsn, stop);
        if (coverage.Hole is { } hole)
            throw RecoveryErrors.WalGap(hole.Timeline, hole.From, hole.To, sources.Names);
        WalStretch[] written = [.. coverage.Stretches.Select(
            stretch => stretch with { Open = () => Include(history, stretch, cancellation) })];
        using PathReader reader = WalSources.Open(
            history, coverage with { Stretches = written, DurableEnd = stop }, StartLsn);
        Lsn reached = StartLsn;
        while (reached < stop && reader.MoveNext())
            reached = reader.Current.Lsn;
        _endOfWal?.Throw(); // to a reader whatever a source throws is damage of the WAL
        if (reached != stop || _included.Count < written.Length)
        {
            throw reader.End is { IsWhole: false } broken
                ? broken.ToException()
                : RecoveryErrors.CutMissed(stop, reached, "no record ends at the set's stop");
        }
        _includesWal = true;
    }

    /// <summary>Step 4. The tar is a set when the destination has taken all of it.</summary>
    /// <exception cref="RefusedException">BackupVoid: the stop lies before a file.</exception>
    public BackupLabel Complete(BackupStop stop)
    {
        BackupLabel label = _contents.Label(stop, _includesWal);
        Put(BackupSet.ControlName, _contents.Control());
        Put(BackupSet.LabelName, label.ToBytes());
        WriteEntry(BackupSet.ManifestName, new MemoryStream(_contents.Manifest().ToBytes(), writable: false));
        _tar.Dispose(); // two blocks of zeroes
        _output.Flush();
        return label;
    }

    /// <summary>
    /// A stretch goes into the tar when the reader that proves the chain comes to it; what that one reads is what was
    /// written (T4).
    /// </summary>
    private (Lsn From, ReadOnlyMemory<byte> Stream) Include(
        TimelineHistory history, WalStretch stretch, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        _endOfWal?.Throw(); // T2: a reader asks once more for what it could not read
        (Lsn from, ReadOnlyMemory<byte> bytes) = stretch.Open();
        ReadOnlyMemory<byte> needed = bytes[(int)(stretch.From - from)..(int)(stretch.To - from)];
        TimelineEntry owner = history.OwnerOf(stretch.From);
        var identity = new SegmentIdentity(history.System, owner.Timeline, owner.Lineage, stretch.Number);
        ArchivedSegment part = ArchivedSegment.Part(identity, stretch.From, needed);
        byte[] encoded = part.Encode().ToArray();
        if (_included.Contains(part.Name))
        {
            _contents.RequireSame(part.Name, encoded); // read again: what is proven is what was written
        }
        else
        {
            PutWal(part.Name, encoded);
            _included.Add(part.Name);
            _pace(needed.Length);
        }
        ArchivedSegment again = ArchivedSegment.Decode("the tar", part.Name, encoded);
        return (again.From, again.Stream);
    }

    private void PutWal(string name, byte[] bytes)
    {
        try
        {
            Put(name, bytes);
        }
        catch (Exception failure) when (_output.HasFailed)
        {
            _endOfWal = ExceptionDispatchInfo.Capture(failure);
            throw;
        }
    }

    private void Put(string name, byte[] bytes)
    {
        WriteEntry(name, new MemoryStream(bytes, writable: false));
        _contents.NoteObject(name, bytes);
    }

    /// <param name="name">The object's.</param>
    /// <param name="content">Its length and where it is are asked; it is read forward once.</param>
    private void WriteEntry(string name, Stream content)
    {
        Invariant.Require(!_output.HasFailed, "T2", "the destination has failed.");
        Invariant.Require(
            _restBytes == 0 && _output.Written % BlockBytes == 0, "T1", $"the entry before '{name}' is not whole.");
        long before = _output.Written;
        var entry = new PaxTarEntry(TarEntryType.RegularFile, name)
        {
            Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            ModificationTime = _start.BeganAt,
            DataStream = content,
        };
        try
        {
            _tar.WriteEntry(entry);
        }
        catch when (!_output.HasFailed)
        {
            // What of the content was read has been written: the framework's writer keeps nothing back.
            if (_output.Written > before)
                _restBytes = content.Length - content.Position + PaddingOf(content.Length);
            Invariant.Require(
                (_output.Written + _restBytes) % BlockBytes == 0, "T1", $"the entry '{name}' is cut off in its header.");
            throw;
        }
    }

    private static long PaddingOf(long lengthBytes) => (BlockBytes - (lengthBytes % BlockBytes)) % BlockBytes;
}
