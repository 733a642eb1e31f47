using System.Buffers;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>Single gets on a read view, inside the caller's epoch.</summary>
internal static class Reading
{
    public static byte[]? Get(ReadView view, ReadOnlySpan<byte> treeKey, Lsn at) =>
        view.TryGet(treeKey, at, out ValueRef value) ? value.ToArray() : null;

    public static bool TryGet(ReadView view, ReadOnlySpan<byte> treeKey, Lsn at, IBufferWriter<byte> to)
    {
        if (!view.TryGet(treeKey, at, out ValueRef value))
            return false;
        value.CopyTo(to.GetSpan(Math.Max(1, value.LengthBytes))[..value.LengthBytes]);
        to.Advance(value.LengthBytes);
        return true;
    }
}
