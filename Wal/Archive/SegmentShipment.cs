namespace Pitr.Wal;

/// <summary>How far a finished segment has come on its way into a store.</summary>
internal enum ShipStage
{
    /// <summary>To be read, and its records proved.</summary>
    Prove,
    /// <summary>To be compressed, and written without its name.</summary>
    Write,
    /// <summary>To get its name.</summary>
    Publish,
    /// <summary>To be read back and compared; its index is put, its parts go.</summary>
    Check,
    /// <summary>It is in the store, read back.</summary>
    Done,
}

/// <summary>One finished segment on its way into a store: what its stages hand on.</summary>
/// <remarks>
/// THREADS  <see cref="Stage"/>, <see cref="IsBusy"/> and <see cref="Failure"/> are the owner's of the window; the rest
/// belongs to the one worker that carries out a stage of it.
/// </remarks>
internal sealed class SegmentShipment(ulong number, long began, int entriesExpected = 0)
{
    public ulong Number => number;

    /// <summary>When it was begun, a timestamp.</summary>
    public long Began => began;

    /// <summary>What comes next.</summary>
    public ShipStage Stage { get; set; }

    /// <summary>A worker is at it.</summary>
    public bool IsBusy { get; set; }

    /// <summary>Why it goes no further; null while it does.</summary>
    public Exception? Failure { get; set; }

    /// <summary>The store has it and need not be asked, or it came from there: nothing is pushed.</summary>
    public bool IsThere { get; set; }

    /// <summary>The memory of <see cref="File"/>; null while there is none.</summary>
    public byte[]? Buffer { get; set; }

    /// <summary>The file's bytes.</summary>
    public ReadOnlyMemory<byte> File { get; set; }

    /// <summary>The durable bytes that follow it.</summary>
    public byte[] After { get; set; } = [];

    public KeyIndexBuilder Index { get; } = new(entriesExpected);

    /// <summary>As it is archived.</summary>
    public ArchivedSegment? Whole { get; set; }

    /// <summary>Something had its name already, and was found equal.</summary>
    public bool IsTaken { get; set; }
}

/// <summary>A piece of work of a <see cref="StoreShipper"/> that has begun.</summary>
/// <param name="Shipment">The segment of which a stage is carried out; null: a step that needs the store alone.</param>
/// <param name="Durable">The durable LSN, read before.</param>
/// <param name="WithTail">False to ship finished segments only.</param>
internal sealed record ShipWork(SegmentShipment? Shipment, Lsn Durable, bool WithTail)
{
    /// <summary>It needs the store alone.</summary>
    public bool IsAlone => Shipment is null;

    /// <summary>What a step that needed the store alone has done.</summary>
    public ShipStep Step { get; set; }

    /// <summary>Why the stage failed; null if it did not.</summary>
    public PitrException? Failure { get; set; }

    /// <summary>When the segments were begun that are in the store now that this has ended; timestamps.</summary>
    public IReadOnlyList<long> Shipped { get; set; } = [];
}
