namespace Pitr.Actors;

/// <summary>
/// The proof of a fence: random, and it names the datafile, so that whoever has it finds the file's actor.
/// </summary>
internal static class FenceToken
{
    public static Guid Draw(FileId file, Func<ulong> draw)
    {
        Span<byte> bytes = stackalloc byte[16];
        BitConverter.TryWriteBytes(bytes, draw());
        BitConverter.TryWriteBytes(bytes[8..], draw());
        BitConverter.TryWriteBytes(bytes, file.Value);
        return new Guid(bytes);
    }

    public static FileId FileOf(Guid token)
    {
        Span<byte> bytes = stackalloc byte[16];
        token.TryWriteBytes(bytes);
        return new FileId(BitConverter.ToUInt32(bytes));
    }
}
