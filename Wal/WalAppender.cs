using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>Where an appender goes on: the end of a log.</summary>
/// <param name="Next">Where the next record begins; everything below is durable.</param>
/// <param name="LastCrc">The CRC of the record that ends there; of a timeline without one, that of its lineage.</param>
/// <param name="LastTime">The times of the last group; what a filler carries.</param>
internal readonly record struct LogTail(Lsn Next, uint LastCrc, GroupTime LastTime)
{
    /// <summary>The tail of a timeline that holds no record yet.</summary>
    public static LogTail OfNewTimeline(Lsn start, Lineage lineage) =>
        new(start, RecordCodec.FirstPreviousCrc(lineage), default);
}

/// <summary>Writes the log: one group at a time, stamped, chained, written and synced as one.</summary>
/// <remarks>
/// <code>
///   BeginGroup · Stage · Stage · … · WriteAndSync        BeginGroup · … or Switch
/// </code>
/// Stage copies a record behind the others of its group into the staging buffer (1 MiB) and stamps it there; a record
/// of more than 128 KiB is stamped in its own buffer and written from it. A group that fits the staging buffer costs
/// one write for each segment that it touches, and one sync each.
///
/// INVARIANTS
///   W4  A record is staged only if the segments that were ready at BeginGroup hold it (H4).
///   W5  DurableLsn moves only after every segment that the group touched was synced (H4).
///   W6  After a write or sync that threw, nothing is written, staged or synced any more.
///
/// DURABILITY  of a group: writes in LSN order · SyncData of each touched segment, in order · DurableLsn.
/// THREADS  one, its owner's; <see cref="DurableLsn"/> may be read by any.
/// FAILURE  fail-stop (W6): a failed sync may have dropped the pages, and a second one would report success (H3). The
///          group may survive or not; nothing of it was acknowledged. Opening decides.
/// COST  nothing is allocated for a record or a group.
/// </remarks>
internal sealed class WalAppender : IDisposable
{
    public const int StagingBytes = 1 << 20;
    public const int StagingBytesMin = 256 << 10; // with tiny segments
    public const int DirectBytesMin = 128 << 10;

    private readonly WalFolder _folder;
    private readonly ulong _lineage;
    private byte[] _staging;
    private readonly List<WalSegment> _touched = new(8);

    private WalSegment? _segment; // where _written lies, unless that is a boundary that was not passed yet
    private State _state = State.Idle;
    private ulong _durable;
    private ulong _next;
    private ulong _written; // bytes below it were given to the disk; those from it to _next are staged
    private ulong _heldEnd;
    private ulong _groupStart;
    private uint _lastCrc;
    private long _commitTimeTicks;
    private long _rawClockTicks;

    private enum State
    {
        Idle,
        InGroup,
        Failed,
    }

    /// <param name="folder">Where ready segments come from.</param>
    /// <param name="segment">The open segment that holds the tail; null if the tail is a segment boundary.</param>
    /// <param name="tail">Where to go on.</param>
    public WalAppender(WalFolder folder, WalSegment? segment, LogTail tail)
    {
        bool atBoundary = folder.Geometry.StartOf(folder.Geometry.NumberOf(tail.Next)) == tail.Next;
        Invariant.Require(
            segment is null ? atBoundary : tail.Next >= segment.Start && tail.Next <= segment.End, "W2",
            $"The tail {tail.Next} is not in the segment.");
        _folder = folder;
        _staging = PinnedBuffers.Rent((int)Math.Clamp(
            4 * folder.Geometry.PayloadBytes, StagingBytesMin, StagingBytes));
        _segment = segment;
        _lineage = folder.Identity.Lineage.Value;
        _durable = _next = _written = _groupStart = tail.Next.Value;
        _lastCrc = tail.LastCrc;
        _commitTimeTicks = tail.LastTime.CommitTime.UtcTicks;
        _rawClockTicks = tail.LastTime.RawClock.UtcTicks;
    }

    /// <summary>The end of what is synced.</summary>
    public Lsn DurableLsn => new(Volatile.Read(ref _durable));

    /// <summary>Where the next record begins; the LSN of the last one staged.</summary>
    public Lsn NextLsn => new(_next);

    /// <summary>Where the last group began; before the first one, where the appender began.</summary>
    public Lsn LastGroupStart => new(_groupStart);

    /// <summary>The CRC of the last record staged or durable.</summary>
    public uint LastCrc => _lastCrc;

    /// <summary>True after a write or sync that threw (W6).</summary>
    public bool HasFailed => _state == State.Failed;

    /// <summary>Bytes of the group that is being staged.</summary>
    public long StagedBytes => _state == State.InGroup ? (long)(_next - _groupStart) : 0;

    /// <summary>
    /// How many segments must be ready beyond the <see cref="WalFolder.ReadyCount"/> that are, for so many bytes behind
    /// <see cref="NextLsn"/>.
    /// </summary>
    public int SegmentsMissing(long bytes)
    {
        long missing = bytes - (long)(HeldEnd() - _next);
        return missing <= 0 ? 0 : (int)((missing + _folder.Geometry.PayloadBytes - 1) / _folder.Geometry.PayloadBytes);
    }

    /// <summary>
    /// True if ready segments hold so many bytes behind <see cref="NextLsn"/> (W4). In a group: of those that were
    /// ready when it began.
    /// </summary>
    public bool CanHold(long bytes) =>
        bytes <= (long)((_state == State.InGroup ? _heldEnd : HeldEnd()) - _next);

    /// <summary>Begins a group with its two times.</summary>
    /// <exception cref="StorageFailedException">The appender has failed (W6).</exception>
    public void BeginGroup(DateTimeOffset commitTime, DateTimeOffset rawClock)
    {
        RequireNotFailed();
        Invariant.Require(_state == State.Idle, "W4", "A group is open.");
        Invariant.Require(
            commitTime.UtcTicks > _commitTimeTicks, "I9",
            $"Commit time {commitTime:O} is not above that of the last group.");
        Begin(commitTime.UtcTicks, rawClock.UtcTicks);
    }

    /// <summary>Stamps a record as the next of the group and takes its bytes; returns its LSN.</summary>
    /// <param name="record">
    /// 64 bytes of room for the header, the body, zeroes up to a multiple of 8. The caller's again when this returns,
    /// the room for the header with whatever content.
    /// </param>
    /// <param name="kind">What it is.</param>
    /// <param name="transactionId">Its number; default unless it is a transaction.</param>
    /// <param name="operationCount">Operations in the body.</param>
    /// <param name="bodyCrcState"><see cref="RecordCodec.BodyState"/> of everything behind the header.</param>
    /// <exception cref="StorageFailedException">The appender has failed, or did now (a full staging buffer was
    /// written).</exception>
    public Lsn Stage(
        Span<byte> record, WalRecordKind kind, TransactionId transactionId, uint operationCount, uint bodyCrcState)
    {
        int length = record.Length;
        if (_state != State.InGroup || !RecordCodec.IsLength((uint)length) || (ulong)length > _heldEnd - _next)
            RefuseToStage(length);
        var stamp = new RecordStamp
        {
            LengthBytes = length,
            PreviousCrc = _lastCrc,
            Kind = kind,
            StartLsn = _next,
            GroupStart = _groupStart,
            TransactionId = transactionId.Value,
            CommitTimeTicks = _commitTimeTicks,
            RawClockTicks = _rawClockTicks,
            OperationCount = operationCount,
            Lineage = _lineage,
        };
        ref byte from = ref MemoryMarshal.GetReference(record);
        if (length > DirectBytesMin)
        {
            WriteStaged();
            _lastCrc = RecordCodec.WriteHeader(ref from, in stamp, bodyCrcState);
            _next += (ulong)length;
            WriteOut(record);
            return new Lsn(_next);
        }
        int staged = (int)(_next - _written);
        if (length > _staging.Length - staged)
        {
            WriteStaged();
            staged = 0;
        }
        ref byte to = ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_staging), staged);
        _lastCrc = RecordCodec.WriteHeader(ref to, in stamp, bodyCrcState);
        Unsafe.CopyBlockUnaligned(
            ref Unsafe.Add(ref to, RecordCodec.HeaderBytes), ref Unsafe.Add(ref from, RecordCodec.HeaderBytes),
            (uint)(length - RecordCodec.HeaderBytes));
        _next += (ulong)length;
        return new Lsn(_next);
    }

    /// <summary>
    /// Writes what is staged, syncs every segment that the group touched, and moves <see cref="DurableLsn"/>.
    /// </summary>
    /// <exception cref="StorageFailedException">A write or sync threw: code WalFailed, now and ever after
    /// (W6).</exception>
    public void WriteAndSync()
    {
        RequireNotFailed();
        Invariant.Require(_state == State.InGroup, "W5", "No group is open.");
        WriteStaged();
        SyncTouched();
        _state = State.Idle;
        Volatile.Write(ref _durable, _next);
    }

    /// <summary>
    /// Ends the segment in use with a filler, a group of its own, so that it can be shipped; does nothing at a
    /// boundary. Where fewer than 64 bytes are left, the filler reaches into the next segment.
    /// </summary>
    /// <remarks>Only the header is written: the rest of the segment is zeroes already (W3).</remarks>
    /// <exception cref="StorageFailedException">A write or sync threw (W6).</exception>
    public void Switch()
    {
        RequireNotFailed();
        Invariant.Require(_state == State.Idle, "W4", "A group is open.");
        ulong rest = (ulong)(_folder.Geometry.BoundaryAtOrAbove(NextLsn) - NextLsn);
        if (rest == 0)
            return;
        int length = (int)Math.Max(rest, RecordCodec.HeaderBytes);
        Begin(_commitTimeTicks, _rawClockTicks);
        if (!CanHold(length))
            RefuseToStage(length);
        var stamp = new RecordStamp
        {
            LengthBytes = length,
            PreviousCrc = _lastCrc,
            Kind = WalRecordKind.Filler,
            StartLsn = _next,
            GroupStart = _groupStart,
            CommitTimeTicks = _commitTimeTicks,
            RawClockTicks = _rawClockTicks,
            Lineage = _lineage,
        };
        uint state = Crc32C.Start;
        ReadOnlySpan<byte> zeroes = stackalloc byte[4096];
        for (int at = RecordCodec.HeaderBytes; at < length; at += zeroes.Length)
            state = Crc32C.Append(state, zeroes[..Math.Min(zeroes.Length, length - at)]);
        _lastCrc = RecordCodec.WriteHeader(ref _staging[0], in stamp, state);
        _next += RecordCodec.HeaderBytes;
        WriteStaged();
        SyncTouched();
        _next = _written = _groupStart + (ulong)length;
        _state = State.Idle;
        Volatile.Write(ref _durable, _next);
    }

    /// <summary>Closes the segment in use. Nothing is written: what is staged and not synced is lost.</summary>
    public void Dispose()
    {
        _state = State.Failed;
        if (_staging.Length > 0)
            PinnedBuffers.Return(_staging);
        _staging = [];
        _segment?.Dispose();
        _segment = null;
        foreach (WalSegment segment in _touched)
            segment.Dispose();
        _touched.Clear();
    }

    private void Begin(long commitTimeTicks, long rawClockTicks)
    {
        _commitTimeTicks = commitTimeTicks;
        _rawClockTicks = rawClockTicks;
        _groupStart = _next;
        _heldEnd = HeldEnd();
        _state = State.InGroup;
    }

    /// <summary>The first LSN that neither the segment in use nor a ready one holds.</summary>
    private ulong HeldEnd()
    {
        ulong end = _segment?.End.Value ?? _written;
        return end + (ulong)_folder.ReadyCount * (ulong)_folder.Geometry.PayloadBytes;
    }

    private void WriteStaged()
    {
        int staged = (int)(_next - _written);
        if (staged > 0)
            WriteOut(_staging.AsSpan(0, staged));
    }

    /// <summary>Gives bytes to the disk at _written, segment by segment.</summary>
    private void WriteOut(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var at = new Lsn(_written);
            if (_segment is null || at == _segment.End)
                TakeNext(at);
            if (_touched.Count == 0 || _touched[^1] != _segment)
                _touched.Add(_segment!);
            int part = (int)Math.Min(bytes.Length, _segment!.End - at);
            try
            {
                _segment.Write(at, bytes[..part]);
            }
            catch (Exception cause)
            {
                throw Fail(cause);
            }
            _written += (ulong)part;
            bytes = bytes[part..];
        }
    }

    private void TakeNext(Lsn at)
    {
        WalSegment? left = _segment;
        bool isTaken = _folder.TryTakeReady(out WalSegment next);
        Invariant.Require(isTaken && next.Start == at, "W4", $"No segment is ready for LSN {at}.");
        _segment = next;
        if (left is not null && !_touched.Contains(left))
            left.Dispose(); // synced with an earlier group
    }

    private void SyncTouched()
    {
        foreach (WalSegment segment in _touched)
        {
            try
            {
                segment.Handle.SyncData();
            }
            catch (Exception cause)
            {
                throw Fail(cause);
            }
        }
        foreach (WalSegment segment in _touched)
        {
            if (segment != _segment)
                segment.Dispose();
        }
        _touched.Clear();
    }

    private StorageFailedException Fail(Exception cause)
    {
        _state = State.Failed;
        return WalErrors.WalFailed(_segment!.Handle.Path, cause);
    }

    private void RequireNotFailed()
    {
        if (_state == State.Failed)
            throw WalErrors.WalClosed(_folder.Folder);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void RefuseToStage(int length)
    {
        RequireNotFailed();
        Invariant.Require(_state == State.InGroup, "W4", "No group is open.");
        Invariant.Require(RecordCodec.IsLength((uint)length), "R2", $"A record cannot have {length} bytes.");
        Invariant.Require(false, "W4", $"Ready segments do not hold a record of {length} bytes at LSN {NextLsn}.");
    }
}
