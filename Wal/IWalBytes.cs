namespace Pitr.Wal;

/// <summary>
/// The bytes of one timeline's record stream, by LSN: a folder of segments, archived segments, or memory. Segment
/// headers are not part of it.
/// </summary>
internal interface IWalBytes : IDisposable
{
    /// <summary>
    /// Reads from an LSN until the buffer is full or the bytes end; 0 if there is none. Sources of streams may only be
    /// read forward: an LSN at or above the one behind the last byte read.
    /// </summary>
    /// <exception cref="PitrException">The bytes are there and cannot be read (H6: damage, never an end).</exception>
    int Read(Lsn at, Span<byte> to);

    /// <summary>
    /// The first LSN at or above this one at which there are bytes; <see cref="Lsn.MaxValue"/> if there is none.
    /// </summary>
    Lsn NextAfter(Lsn hole);

    /// <summary>True if the bytes may end inside a record, because its rest was not shipped (yet).</summary>
    bool MayEndInRecord { get; }

    /// <summary>For messages: the file or object that holds an LSN, and the byte in it.</summary>
    (string Path, long Offset) Place(Lsn at);
}

/// <summary>The bytes of a local timeline, from its segments.</summary>
/// <remarks>Each segment's header is checked when it is opened. One segment is open at a time. THREADS  one.</remarks>
internal sealed class FolderWalBytes : IWalBytes
{
    private readonly WalFolder _folder;
    private readonly WalIdentity _identity;
    private Storage.IFileHandle? _handle;
    private ulong _number;

    /// <param name="folder">The folder of segments.</param>
    /// <param name="identity">The timeline to read: the folder's own, or a parent of it.</param>
    public FolderWalBytes(WalFolder folder, WalIdentity identity) => (_folder, _identity) = (folder, identity);

    public bool MayEndInRecord => false;

    public int Read(Lsn at, Span<byte> to)
    {
        int total = 0;
        while (to.Length > 0 && IsOpen(_folder.Geometry.NumberOf(at)))
        {
            int part = (int)Math.Min(to.Length, _folder.Geometry.StartOf(_number + 1) - at);
            int read = _handle!.Read(_folder.Geometry.OffsetOf(at), to[..part]);
            total += read;
            if (read < part)
                break;
            at += part;
            to = to[part..];
        }
        return total;
    }

    public Lsn NextAfter(Lsn hole)
    {
        ulong number = _folder.Geometry.NumberOf(hole);
        foreach (SegmentName name in _folder.List())
        {
            if (name.Timeline == _identity.Timeline && name.Number >= number)
                return Lsn.Max(hole, _folder.Geometry.StartOf(name.Number));
        }
        return Lsn.MaxValue;
    }

    public (string Path, long Offset) Place(Lsn at) =>
        (_folder.PathOf(new SegmentName(_identity.Timeline, _folder.Geometry.NumberOf(at))),
            _folder.Geometry.OffsetOf(at));

    public void Dispose() => _handle?.Dispose();

    private bool IsOpen(ulong number)
    {
        if (_handle is not null && _number == number)
            return true;
        if (_folder.Files.Stat(_folder.PathOf(new SegmentName(_identity.Timeline, number))) is null)
            return false;
        Storage.IFileHandle opened = _folder.Open(number, _identity, Storage.FileOpen.Read);
        _handle?.Dispose();
        (_handle, _number) = (opened, number);
        return true;
    }
}

/// <summary>Bytes in memory, from one LSN on.</summary>
internal sealed class MemoryWalBytes : IWalBytes
{
    private readonly Lsn _start;
    private readonly ReadOnlyMemory<byte> _bytes;

    public MemoryWalBytes(Lsn start, ReadOnlyMemory<byte> bytes, bool mayEndInRecord = false) =>
        (_start, _bytes, MayEndInRecord) = (start, bytes, mayEndInRecord);

    public bool MayEndInRecord { get; }

    public int Read(Lsn at, Span<byte> to)
    {
        if (at < _start || at >= _start + _bytes.Length)
            return 0;
        ReadOnlySpan<byte> from = _bytes.Span[(int)(at - _start)..];
        int length = Math.Min(from.Length, to.Length);
        from[..length].CopyTo(to);
        return length;
    }

    public Lsn NextAfter(Lsn hole) =>
        hole < _start ? _start : hole < _start + _bytes.Length ? hole : Lsn.MaxValue;

    public (string Path, long Offset) Place(Lsn at) => ("memory", at - _start);

    public void Dispose()
    {
    }
}

/// <summary>One archived segment or part: which LSNs it holds, and how to get its plain bytes.</summary>
/// <param name="From">The first LSN that it holds.</param>
/// <param name="To">The first LSN that it does not hold.</param>
/// <param name="Name">For messages: the object and its store.</param>
/// <param name="SkipBytes">Plain bytes before the one at <paramref name="From"/>: 512, a segment's header, or
/// 0.</param>
/// <param name="Open">Opens the plain bytes; they are read once, forward, and disposed.</param>
internal sealed record WalPiece(Lsn From, Lsn To, string Name, int SkipBytes, Func<Stream> Open);

/// <summary>The bytes of an archived timeline: a list of segments and parts, each opened when its turn comes.</summary>
/// <remarks>
/// Pieces are in LSN order and do not overlap; holes between them are what <see cref="NextAfter"/> tells. What an
/// archive holds was synced before it was shipped (H25), so <see cref="KnownEnd"/> is a known durable end up to the
/// first hole.
/// THREADS  one.
/// </remarks>
internal sealed class StreamWalBytes : IWalBytes
{
    private readonly IReadOnlyList<WalPiece> _pieces;
    private int _piece = -1;
    private Stream? _stream;
    private Lsn _at;

    public StreamWalBytes(IReadOnlyList<WalPiece> pieces)
    {
        for (int n = 1; n < pieces.Count; n++)
        {
            if (pieces[n].From < pieces[n - 1].To)
                throw new ArgumentException($"Piece '{pieces[n].Name}' begins before '{pieces[n - 1].Name}' ends.");
        }
        _pieces = pieces;
    }

    public bool MayEndInRecord => true;

    /// <summary>Where the bytes end that begin at an LSN and have no hole: all of them were durable.</summary>
    public Lsn KnownEnd(Lsn from)
    {
        foreach (WalPiece piece in _pieces)
        {
            if (piece.From <= from && from < piece.To)
                from = piece.To;
        }
        return from;
    }

    public int Read(Lsn at, Span<byte> to)
    {
        int total = 0;
        while (to.Length > 0 && Seek(at))
        {
            int part = (int)Math.Min(to.Length, _pieces[_piece].To - at);
            ReadExactly(to[..part]);
            total += part;
            at += part;
            _at = at;
            to = to[part..];
        }
        return total;
    }

    public Lsn NextAfter(Lsn hole)
    {
        foreach (WalPiece piece in _pieces)
        {
            if (hole < piece.To)
                return Lsn.Max(hole, piece.From);
        }
        return Lsn.MaxValue;
    }

    public (string Path, long Offset) Place(Lsn at)
    {
        foreach (WalPiece piece in _pieces)
        {
            if (at >= piece.From && at < piece.To)
                return (piece.Name, piece.SkipBytes + (at - piece.From));
        }
        return (_pieces.Count == 0 ? "archive" : _pieces[^1].Name, -1);
    }

    public void Dispose() => _stream?.Dispose();

    /// <summary>Stands at the byte with this LSN; false if no piece holds it.</summary>
    private bool Seek(Lsn at)
    {
        int index = Math.Max(_piece, 0);
        while (index < _pieces.Count && _pieces[index].To <= at)
            index++;
        if (index == _pieces.Count || _pieces[index].From > at)
            return false;
        if (index != _piece || _stream is null)
        {
            _stream?.Dispose();
            _stream = _pieces[index].Open();
            _piece = index;
            _at = _pieces[index].From;
            Skip(_pieces[index].SkipBytes);
        }
        Storage.Invariant.Require(at >= _at, "R1", $"A stream is read forward; LSN {at} lies before {_at}.");
        Skip(at - _at);
        _at = at;
        return true;
    }

    private void Skip(long bytes)
    {
        Span<byte> scratch = stackalloc byte[4096];
        for (; bytes > 0; bytes -= scratch.Length)
            ReadExactly(scratch[..(int)Math.Min(scratch.Length, bytes)]);
    }

    private void ReadExactly(Span<byte> to)
    {
        int read = _stream!.ReadAtLeast(to, to.Length, throwOnEndOfStream: false);
        if (read < to.Length)
            throw WalErrors.PieceTooShort(_pieces[_piece].Name, _pieces[_piece].From, _pieces[_piece].To);
    }
}
