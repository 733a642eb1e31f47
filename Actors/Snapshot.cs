using System.Buffers;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr;

/// <summary>
/// The database as of one LSN, over all datafiles: all of every transaction at or below it and nothing else. Reads
/// never wait for writers, flushes, fences, checkpoints or backups.
/// </summary>
/// <remarks>
/// It pins the read views of the files, and with them old pages and buffers: dispose it soon. One older than
/// <see cref="PitrOptions.SnapshotAgeMax"/> is ended, and the oldest ones if together they keep more memory than
/// <see cref="PitrOptions.SnapshotBytesMax"/>: the next read throws with code SnapshotTooOld.
/// Thread-safe: a read that is under way when it is disposed, or ended by its age, ends well or throws.
/// </remarks>
public sealed class Snapshot : IDisposable
{
    private const int RowsAtOnce = 1000;

    private readonly EngineContext _engine;
    private readonly CatalogueView _catalogue;
    private readonly PinnedViews _views;
    private readonly long _openedAt;
    private Func<PitrException>? _endedWhy;
    private int _isDisposed;

    internal Snapshot(EngineContext engine, CatalogueView catalogue, PinnedViews views)
    {
        _engine = engine;
        _catalogue = catalogue;
        _views = views;
        _openedAt = engine.Clock.GetTimestamp();
        engine.Snapshots.Add(this);
    }

    /// <summary>What it sees: every transaction at or below this LSN.</summary>
    public Lsn Lsn => _views.Lsn;

    /// <summary>The tables as of the snapshot.</summary>
    public IReadOnlyList<Table> Tables => _catalogue.Tables;

    internal TimeSpan Age => _engine.Clock.GetElapsedTime(_openedAt);

    /// <summary>The value of a key; null if it is not there.</summary>
    /// <exception cref="PitrException">
    /// NotFoundException TableUnknown, DatafileUnknown (dropped since); RefusedException DatafileNeedsRecovery,
    /// SnapshotTooOld; DamageException PageChecksum.
    /// </exception>
    public byte[]? Get(Table table, ReadOnlySpan<byte> key)
    {
        ArgumentNullException.ThrowIfNull(table);
        Span<byte> treeKey = stackalloc byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax];
        treeKey = TreeKey.Write(treeKey, table.Id, key);
        using EpochGuard guard = _engine.Epochs.Enter();
        return Reading.Get(ViewOf(table), treeKey, Lsn);
    }

    /// <summary>Writes the value of a key to <paramref name="value"/>; false if the key is not there.</summary>
    public bool TryGet(Table table, ReadOnlySpan<byte> key, IBufferWriter<byte> value)
    {
        ArgumentNullException.ThrowIfNull(table);
        Span<byte> treeKey = stackalloc byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax];
        treeKey = TreeKey.Write(treeKey, table.Id, key);
        using EpochGuard guard = _engine.Epochs.Enter();
        return Reading.TryGet(ViewOf(table), treeKey, Lsn, value);
    }

    /// <summary>Rows of a table in key order, or from the last to the first. Each row is a copy.</summary>
    public IEnumerable<KeyValue> Scan(Table table, ScanRange range)
    {
        ArgumentNullException.ThrowIfNull(range);
        RangeCursor cursor = CursorOf(table, range);
        return Rows();

        IEnumerable<KeyValue> Rows()
        {
            while (cursor.TryNext(out KeyValue row))
                yield return row;
        }
    }

    /// <summary>How many keys a table holds; reads all of them.</summary>
    public long Count(Table table)
    {
        RangeCursor cursor = CursorOf(table, ScanRange.All);
        long count = 0;
        for (int rows = RowsAtOnce; rows == RowsAtOnce; count += rows)
        {
            rows = cursor.Skip(RowsAtOnce);
        }

        return count;
    }

    /// <summary>Lets the views go.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
            return;
        _engine.Snapshots.Remove(this);
        _views.Unpin();
    }

    /// <summary>The engine lets the views go: the next read throws this.</summary>
    internal void End(Func<PitrException> why)
    {
        Volatile.Write(ref _endedWhy, why);
        Dispose();
    }

    private RangeCursor CursorOf(Table table, ScanRange range)
    {
        ArgumentNullException.ThrowIfNull(table);
        using EpochGuard guard = _engine.Epochs.Enter();
        return new RangeCursor(_engine.Epochs, RequireAlive, ViewOf(table), Lsn, table.Id, range);
    }

    /// <summary>
    /// Inside an epoch only: whoever finds the snapshot alive there keeps its views' memory until the epoch ends, also
    /// if another thread disposes of the snapshot, or its age ends it, meanwhile.
    /// </summary>
    private ReadView ViewOf(Table table)
    {
        RequireAlive();
        if (!_catalogue.IsAlive(table.Id))
            throw EngineErrors.TableGone(table.Id);
        // Also a view that was pinned while the file served: its owner's buffers are nobody's since, and end with the
        // file.
        FileSlot slot = _engine.Slots.Of(table.DatafileId);
        _ = slot.Readable;
        return _views.Of(table.DatafileId) is { IsEnded: false } view
            ? view
            : throw EngineErrors.SnapshotOfFormerOwner(slot.Name); // H41
    }

    private void RequireAlive()
    {
        if (Age > _engine.Options.SnapshotAgeMax)
        {
            Dispose();
            throw EngineErrors.SnapshotTooOld(_engine.Options.SnapshotAgeMax);
        }

        if (Volatile.Read(ref _endedWhy) is { } why)
            throw why();
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isDisposed) != 0, this);
    }
}
