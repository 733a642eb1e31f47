using System.Buffers;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr;

/// <summary>
/// Changes that become durable and visible together or not at all. Fill it, hand it to
/// <c>CommitAsync</c>, <see cref="Clear"/> it and use it again: a reused batch allocates nothing.
/// </summary>
/// <remarks>
/// It holds the transaction's WAL record as it will be written: room for the header, then the encoded operations.
/// Not thread-safe; it must not be touched while a commit of it is under way.
/// </remarks>
public sealed class WriteBatch
{
    private const int FirstBytes = 512;

    /// <summary>A longer record is not kept for later ones.</summary>
    private const int PooledBytesMax = 16 << 20;

    private byte[] _record;
    private int _end = RecordCodec.HeaderBytes;
    private TableId[] _tables = new TableId[2];
    private FileId[] _files = new FileId[2];
    private PendingCommit _pending;

    /// <summary>An empty batch.</summary>
    public WriteBatch()
    {
        _record = ArrayPool<byte>.Shared.Rent(FirstBytes);
        _pending = new PendingCommit(this);
    }

    /// <summary>Operations in it.</summary>
    public int Count { get; private set; }

    /// <summary>Encoded bytes of its operations; at most <see cref="Limits.TransactionBytesMax"/>.</summary>
    public int Bytes => _end - RecordCodec.HeaderBytes;

    internal PendingCommit Pending => _pending;
    internal byte[] Record => _record;
    internal ReadOnlySpan<byte> Body => _record.AsSpan(RecordCodec.HeaderBytes, Bytes);
    internal ReadOnlySpan<TableId> Tables => _tables.AsSpan(0, TableCount);
    internal ReadOnlySpan<FileId> Files => _files.AsSpan(0, FileCount);
    internal int TableCount { get; private set; }
    internal int FileCount { get; private set; }

    /// <summary>Sets a key's value. Within a batch a later change of a key replaces an earlier one.</summary>
    /// <param name="table">The table.</param>
    /// <param name="key">At most <see cref="Limits.KeyBytesMax"/> bytes.</param>
    /// <param name="value">At most <see cref="Limits.ValueBytesMax"/> bytes.</param>
    /// <exception cref="ArgumentException">Key, value or batch too large.</exception>
    public void Put(Table table, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value) =>
        Add(OperationKind.Put, table, key, value);

    /// <summary>Removes a key; nothing happens if it is not there.</summary>
    /// <param name="table">The table.</param>
    /// <param name="key">At most <see cref="Limits.KeyBytesMax"/> bytes.</param>
    /// <exception cref="ArgumentException">Key or batch too large.</exception>
    public void Delete(Table table, ReadOnlySpan<byte> key) => Add(OperationKind.Delete, table, key, default);

    /// <summary>Makes it empty again.</summary>
    /// <exception cref="InvalidOperationException">A commit of it is under way.</exception>
    public void Clear()
    {
        RequireIdle();
        if (_record.Length > PooledBytesMax)
            _record = ArrayPool<byte>.Shared.Rent(FirstBytes);
        _end = RecordCodec.HeaderBytes;
        Count = 0;
        TableCount = 0;
        FileCount = 0;
    }

    /// <summary>Pads the record to 8 bytes, as the WAL wants it, and returns its length with the header.</summary>
    internal int SealRecord()
    {
        int padded = (_end + 7) & ~7;
        Reserve(padded - _end);
        _record.AsSpan(_end, padded - _end).Clear();
        return padded;
    }

    /// <summary>The engine may still hold the commit and its record: the batch goes on, empty, with new ones.</summary>
    internal void Detach()
    {
        _pending = new PendingCommit(this);
        _record = ArrayPool<byte>.Shared.Rent(FirstBytes);
        _end = RecordCodec.HeaderBytes;
        Count = 0;
        TableCount = 0;
        FileCount = 0;
    }

    /// <summary>As <see cref="Detach"/>, and the batch keeps its content.</summary>
    internal void DetachWithContent()
    {
        _pending = new PendingCommit(this);
        byte[] copy = RoomFor(_end);
        _record.AsSpan(0, _end).CopyTo(copy);
        _record = copy;
    }

    internal void RequireIdle()
    {
        if (_pending.IsUnderWay)
            throw new InvalidOperationException(
                "A commit of this batch is under way; await it before the batch is used again.");
    }

    private void Add(OperationKind kind, Table table, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        RequireIdle();
        ArgumentNullException.ThrowIfNull(table);
        if (key.Length > Limits.KeyBytesMax)
            throw new ArgumentException(
                $"A key of {key.Length} bytes is too long; at most {Limits.KeyBytesMax} are allowed.", nameof(key));
        if (value.Length > Limits.ValueBytesMax)
            throw new ArgumentException(
                $"A value of {value.Length} bytes is too large; at most {Limits.ValueBytesMax} are allowed.",
                nameof(value));
        int bytes = OperationCodec.SizeOf(key.Length, value.Length);
        if ((long)Bytes + bytes > Limits.TransactionBytesMax)
            throw new ArgumentException(
                $"The batch would exceed {Limits.TransactionBytesMax} bytes; commit it in parts.", nameof(value));
        Reserve(bytes);
        OperationCodec.Write(_record.AsSpan(_end), kind, table.DatafileId, table.Id, key, value);
        _end += bytes;
        Count++;
        Note(table);
    }

    private void Note(Table table)
    {
        if (TableCount > 0 && _tables[TableCount - 1] == table.Id)
            return;
        if (Tables.Contains(table.Id))
            return;
        if (TableCount == _tables.Length)
            Array.Resize(ref _tables, TableCount * 2);
        _tables[TableCount++] = table.Id;
        if (Files.Contains(table.DatafileId))
            return;
        if (FileCount == _files.Length)
            Array.Resize(ref _files, FileCount * 2);
        _files[FileCount++] = table.DatafileId;
    }

    private void Reserve(int bytes)
    {
        if (_end + bytes <= _record.Length)
            return;
        byte[] larger = RoomFor(Math.Max(_end + bytes, _record.Length + (_record.Length / 2)));
        _record.AsSpan(0, _end).CopyTo(larger);
        Return(_record);
        _record = larger;
    }

    /// <summary>
    /// The pool doubles each length and keeps what is returned: a large record is made as it is needed.
    /// </summary>
    private static byte[] RoomFor(int bytes) => bytes <= PooledBytesMax
        ? ArrayPool<byte>.Shared.Rent(bytes)
        : GC.AllocateUninitializedArray<byte>(bytes + sizeof(long)); // room for the padding

    private static void Return(byte[] record)
    {
        if (record.Length <= PooledBytesMax)
            ArrayPool<byte>.Shared.Return(record);
    }
}
