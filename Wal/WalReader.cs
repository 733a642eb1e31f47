using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// What a reader reads, of one timeline: from where to where, and what its first record must chain to.
/// </summary>
/// <param name="Lineage">The timeline's lineage.</param>
/// <param name="From">Where the first record begins.</param>
/// <param name="KnownEnd">The log is known to have been durable up to here; a bad record below is damage.</param>
/// <param name="To">Reading stops here (a fork, a durable LSN); MaxValue: at the end of the log.</param>
/// <param name="PreviousCrc">What the first record chains to; null: it passes on its own CRC (H6).</param>
internal readonly record struct WalRange(Lineage Lineage, Lsn From, Lsn KnownEnd, Lsn To, uint? PreviousCrc)
{
    /// <summary>From a timeline's beginning: its first record chains to its lineage.</summary>
    public static WalRange OfTimeline(Lineage lineage, Lsn start, Lsn knownEnd) =>
        new(lineage, start, knownEnd, Lsn.MaxValue, RecordCodec.FirstPreviousCrc(lineage));

    /// <summary>From an LSN that is known to have been durable, such as the redo point.</summary>
    public static WalRange FromKnown(Lineage lineage, Lsn from, Lsn knownEnd) =>
        new(lineage, from, knownEnd, Lsn.MaxValue, null);

    /// <summary>The same range, with a stop.</summary>
    public WalRange UpTo(Lsn to) => this with { To = to };
}

/// <summary>Reads the records of one timeline in LSN order, and proves each before it shows it.</summary>
/// <remarks>
/// Bytes are read in blocks of 1 MiB and checked in place: no call through the source and no copy for a record, except
/// for the few bytes of one that straddles a block. A record longer than a block makes the block grow.
///
/// A record passes by R1 of <see cref="RecordCodec"/>. The first that does not pass is the end; <see cref="End"/> then
/// says which, by <see cref="EndOfWal"/>. Where that needs it, the rest of the existing segments is searched, at every
/// multiple of 8, for a good record of a later group (H6).
///
/// THREADS  one. FAILURE  what the source throws is an end of kind damage, not an exception: the caller decides.
/// </remarks>
internal sealed class WalReader : IDisposable
{
    public const int BlockBytes = 1 << 20;

    private readonly IWalBytes _source;
    private readonly WalRange _range;
    private byte[] _block = ArrayPool<byte>.Shared.Rent(BlockBytes);
    private ulong _blockLsn; // of _block[0]
    private int _filled;
    private int _at; // of the next record, in the block
    private int _currentLength;
    private uint _previousCrc;
    private ulong _groupStart;
    private bool _chains;
    private Lsn _endsAt;
    private PitrException? _unreadable;

    /// <param name="source">The bytes; disposed with the reader.</param>
    /// <param name="range">What to read.</param>
    public WalReader(IWalBytes source, WalRange range)
    {
        Invariant.Require(range.From.Value % 8 == 0
            && range.From <= range.To, "R2", $"Reading cannot begin at {range.From}.");
        _source = source;
        _range = range;
        _blockLsn = range.From.Value;
        _chains = range.PreviousCrc is not null;
        _previousCrc = range.PreviousCrc ?? 0;
        _groupStart = range.From.Value;
    }

    /// <summary>The record at which the reader stands; valid until it moves.</summary>
    public WalRecord Current
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(MemoryMarshal.CreateReadOnlySpan(
            ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_block), _at - _currentLength), _currentLength));
    }

    /// <summary>Where the next record begins: the LSN of the one at which the reader stands.</summary>
    public Lsn Next => End is null ? new Lsn(_blockLsn + (ulong)_at) : _endsAt;

    /// <summary>The CRC of the last record that passed; what the next one must chain to.</summary>
    public uint LastCrc => _previousCrc;

    /// <summary>How reading ended; null while it goes on.</summary>
    public WalEnd? End { get; private set; }

    /// <summary>Moves to the next record. False at the end, which <see cref="End"/> describes.</summary>
    public bool MoveNext()
    {
        int have = _filled - _at;
        ref byte header = ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_block), _at);
        if (have < RecordCodec.HeaderBytes || Length(ref header) > (uint)have)
            return MoveNextAcrossBlocks();
        return Passes(ref header, (int)Length(ref header)) && HasTimes(ref header)
            ? Advance(ref header)
            : EndHere(FoundHere());
    }

    public void Dispose()
    {
        _source.Dispose();
        Leave(_block);
        _block = [];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool Advance(ref byte header)
    {
        _currentLength = (int)Length(ref header);
        _at += _currentLength;
        _previousCrc = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref header, RecordCodec.CrcAt));
        _groupStart = Word(ref header, RecordCodec.GroupStartAt);
        _chains = true;
        return true;
    }

    /// <summary>R1, for a record whose bytes are all in the block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool Passes(ref byte header, int length) =>
        HeaderPasses(ref header)
        && RecordCodec.CrcMatches(MemoryMarshal.CreateReadOnlySpan(ref header, length), _range.Lineage);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool HeaderPasses(ref byte header)
    {
        ulong place = _blockLsn + (ulong)_at;
        ulong groupStart = Word(ref header, RecordCodec.GroupStartAt);
        return RecordCodec.IsLength(Length(ref header))
            && Word(ref header, RecordCodec.StartLsnAt) == place
            && (groupStart == place || (_chains && groupStart == _groupStart)
                || IsFirstBelowKnownEnd(place, groupStart))
            && (!_chains
                || Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref header, RecordCodec.PreviousCrcAt)) == _previousCrc);
    }

    /// <summary>
    /// A record that passes was written so: times that are none are no torn tail, which would be cut off, but damage.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool HasTimes(ref byte header)
    {
        ulong latest = (ulong)DateTimeOffset.MaxValue.UtcTicks;
        return (Word(ref header, RecordCodec.CommitTimeAt) <= latest && Word(ref header, RecordCodec.RawClockAt) <= latest)
            || HasNoTimes();
    }

    private bool HasNoTimes()
    {
        (string path, long offset) = _source.Place(Next);
        _unreadable = WalErrors.WalDamaged(path, offset, Next, "a record passes its checksum, but its times are none");
        return false;
    }

    /// <summary>
    /// The record where reading begins may belong to a group that began before it, if it is known to be durable.
    /// </summary>
    private bool IsFirstBelowKnownEnd(ulong place, ulong groupStart) =>
        !_chains && groupStart < place && place < _range.KnownEnd.Value;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool MoveNextAcrossBlocks()
    {
        if (End is not null)
            return false;
        if (Next == _range.To)
            return EndHere(FoundAtEnd.Stop);
        if (_range.To - Next is > 0 and < RecordCodec.HeaderBytes)
            return EndHere(FoundAtEnd.CrossesStop);
        if (!Fill(RecordCodec.HeaderBytes, _range.To))
            return EndHere(FoundHere());
        ref byte header = ref _block[_at];
        if (!HeaderPasses(ref header))
            return EndHere(FoundHere());
        int length = (int)Length(ref header);
        if (Next + length > _range.To)
            return EndHere(FoundAtEnd.CrossesStop);
        if (!Fill(length, _range.To))
            return EndHere(_unreadable is null ? FoundAtEnd.CutRecord : FoundAtEnd.Unreadable);
        header = ref _block[_at];
        return Passes(ref header, length) && HasTimes(ref header) ? Advance(ref header) : EndHere(FoundHere());
    }

    /// <summary>What lies at the place of the next record, which did not pass.</summary>
    private FoundAtEnd FoundHere()
    {
        if (_unreadable is not null)
            return FoundAtEnd.Unreadable;
        ReadOnlySpan<byte> have = _block.AsSpan(_at, Math.Min(_filled - _at, RecordCodec.HeaderBytes));
        if (have.Length == 0)
            return FoundAtEnd.Nothing;
        bool isZero = !have.ContainsAnyExcept((byte)0);
        if (have.Length < RecordCodec.HeaderBytes && (_source.MayEndInRecord || !isZero))
            return FoundAtEnd.CutRecord;
        return isZero ? FoundAtEnd.Zeroes : FoundAtEnd.BadRecord;
    }

    private bool EndHere(FoundAtEnd found)
    {
        if (End is not null)
            return false;
        Lsn at = Next;
        bool isBelowKnownEnd = at < _range.KnownEnd;
        FoundBehind behind = found switch
        {
            FoundAtEnd.Stop or FoundAtEnd.CrossesStop or FoundAtEnd.Unreadable => FoundBehind.Nothing,
            FoundAtEnd.Nothing or FoundAtEnd.CutRecord => BehindHole(),
            _ => isBelowKnownEnd ? FoundBehind.Remains : Search(at),
        };
        EndOfWal.Row row = EndOfWal.Decide(new EndFacts(found, behind, isBelowKnownEnd, _source.MayEndInRecord));
        Lsn place = row.Reason == WalEndReason.Gap ? new Lsn(_blockLsn + (ulong)_filled) : at;
        (string path, long offset) = _source.Place(place);
        _endsAt = at;
        (_at, _filled) = (0, 0);
        End = new WalEnd(row.Reason, place, row.Label, row.Why, path, offset,
            row.Reason == WalEndReason.Damage ? _unreadable : null);
        return false;
    }

    /// <summary>For a place at which the bytes end: whether they go on behind a hole.</summary>
    private FoundBehind BehindHole()
    {
        Lsn next = _source.NextAfter(new Lsn(_blockLsn + (ulong)_filled));
        return next < Lsn.MaxValue && next < _range.To ? FoundBehind.LaterSegment : FoundBehind.Nothing;
    }

    /// <summary>
    /// Looks behind a bad record, at every multiple of 8 up to the end of the bytes, for a good one of a later group.
    /// </summary>
    private FoundBehind Search(Lsn bad)
    {
        bool remains = false;
        _at += 8;
        while (true)
        {
            if (!Fill(RecordCodec.HeaderBytes, Lsn.MaxValue))
            {
                if (_unreadable is not null)
                    return FoundBehind.Unreadable;
                remains |= _block.AsSpan(_at, _filled - _at).ContainsAnyExcept((byte)0);
                var hole = new Lsn(_blockLsn + (ulong)_filled);
                Lsn next = _source.NextAfter(hole);
                if (next == Lsn.MaxValue || next == hole)
                    return remains ? FoundBehind.Remains : FoundBehind.Nothing;
                (_blockLsn, _filled, _at) = (next.Value, 0, 0); // behind a hole a later group is a proof as well
                continue;
            }
            int zeroes = _block.AsSpan(_at, _filled - _at).IndexOfAnyExcept((byte)0);
            if (zeroes is < 0 or >= 8) // a record does not begin with eight zeroes
            {
                _at = zeroes < 0 ? _filled & ~7 : _at + (zeroes & ~7);
                continue;
            }
            remains = true;
            if (IsLaterGroup(bad))
                return FoundBehind.LaterGroup;
            if (_unreadable is not null)
                return FoundBehind.Unreadable;
            _at += 8;
        }
    }

    /// <summary>True if a good record begins at this place, whose group began behind the bad one.</summary>
    private bool IsLaterGroup(Lsn bad)
    {
        ref byte header = ref _block[_at];
        ulong place = _blockLsn + (ulong)_at;
        ulong groupStart = Word(ref header, RecordCodec.GroupStartAt);
        uint length = Length(ref header);
        return Word(ref header, RecordCodec.StartLsnAt) == place
            && RecordCodec.IsLength(length)
            && groupStart > bad.Value && groupStart <= place
            && Fill((int)length, Lsn.MaxValue)
            && RecordCodec.CrcMatches(_block.AsSpan(_at, (int)length), _range.Lineage);
    }

    /// <summary>
    /// Sees to it that so many bytes from the next record's place are in the block; false if they are not to be had:
    /// because there are none, or, with _unreadable set, because the source could not read them.
    /// </summary>
    private bool Fill(int need, Lsn limit)
    {
        if (_filled - _at >= need)
            return true;
        if (_at > _filled)
            return false;
        int rest = _filled - _at;
        _block.AsSpan(_at, rest).CopyTo(_block);
        _blockLsn += (ulong)_at;
        _at = 0;
        _filled = rest;
        while (_filled < need)
        {
            if (_filled == _block.Length)
                Grow();
            var from = new Lsn(_blockLsn + (ulong)_filled);
            int room = (int)Math.Min((ulong)(_block.Length - _filled), limit.Value - from.Value);
            int read = Read(from, _block.AsSpan(_filled, room), Math.Min(need - _filled, room));
            if (read == 0)
                return false;
            _filled += read;
        }
        return true;
    }

    // Only once it is full: a length that says more than there is does not get the memory for it.
    private void Grow()
    {
        byte[] to = GC.AllocateUninitializedArray<byte>((int)Math.Min(_block.Length * 2L, RecordCodec.LengthMax));
        _block.CopyTo(to, 0);
        Leave(_block);
        _block = to;
    }

    /// <summary>A block that grew for one large record is not kept for others.</summary>
    private static void Leave(byte[] block)
    {
        if (block.Length == BlockBytes)
            ArrayPool<byte>.Shared.Return(block);
    }

    /// <summary>
    /// Reads ahead; if that meets something unreadable, only what is needed, so that reading ahead damages nothing.
    /// </summary>
    private int Read(Lsn from, Span<byte> ahead, int need)
    {
        if (ahead.Length == 0)
            return 0;
        try
        {
            return _source.Read(from, ahead);
        }
        catch (PitrException) when (need < ahead.Length)
        {
            return Read(from, ahead[..need], need);
        }
        catch (PitrException cause)
        {
            _unreadable = cause;
            return 0;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Length(ref byte header) => Unsafe.ReadUnaligned<uint>(ref header);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Word(ref byte header, int at) => Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref header, at));
}
