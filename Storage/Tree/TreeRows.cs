using System.Buffers.Binary;
using System.IO.Hashing;

namespace Pitr.Storage;

/// <summary>All rows of a tree, as changes that put them into another one; and a digest of what was given.</summary>
/// <remarks>
/// Two trees with the same digest after their last row hold the same rows, however they are laid out.
/// EPOCHS  each move is inside the caller's epoch; between two moves the caller may leave it (M4), so a row is copied out
/// of its page before a move ends. The root stays pinned, or its file still.
/// THREADS  one. Spans are valid until the next move. FAILURE  damage and disk errors of the tree pass through.
/// </remarks>
internal sealed class TreeRows(IPageSource source, TreeRoot root) : IChangeStream, IDisposable
{
    private readonly TreeCursor _cursor = new(source, root);
    private readonly XxHash128 _digest = new();
    private readonly CopiedValue _value = new();
    private bool _isBegun;

    /// <summary>Rows given so far.</summary>
    public ulong Count { get; private set; }

    /// <summary>Of the rows given so far: their keys, values, and the lengths of both.</summary>
    public UInt128 Digest => _digest.GetCurrentHashAsUInt128();

    public ReadOnlySpan<byte> Key => _cursor.Key;

    public bool IsDelete => false;

    public ReadOnlySpan<byte> Value => _value.Span;

    public bool MoveNext()
    {
        if (_isBegun)
            _cursor.Next();
        else
            _cursor.SeekFirst();
        _isBegun = true;
        if (!_cursor.HasRow)
            return false;
        _value.Take(_cursor.Value);
        Append(_cursor.Key, Value);
        Count++;
        _cursor.Suspend();
        return true;
    }

    public void Dispose() => _value.Dispose();

    private void Append(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        Span<byte> lengths = stackalloc byte[2 * sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(lengths, key.Length);
        BinaryPrimitives.WriteInt32LittleEndian(lengths[sizeof(int)..], value.Length);
        _digest.Append(lengths);
        _digest.Append(key);
        _digest.Append(value);
    }
}
