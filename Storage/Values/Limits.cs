namespace Pitr;

/// <summary>What a key, a value, a transaction and a name may be.</summary>
public static class Limits
{
    /// <summary>Longest key of a table, in bytes.</summary>
    public const int KeyBytesMax = 1024;

    /// <summary>Longest value, in bytes (64 MiB).</summary>
    public const int ValueBytesMax = 64 << 20;

    /// <summary>Largest encoded transaction, in bytes (256 MiB).</summary>
    public const int TransactionBytesMax = 256 << 20;

    /// <summary>True for a name of a table, datafile or restore point: <c>[a-z][a-z0-9_-]{0,62}</c>.</summary>
    public static bool IsName(ReadOnlySpan<char> name)
    {
        if (name.Length is < 1 or > 63 || name[0] is < 'a' or > 'z')
            return false;
        foreach (char c in name)
        {
            if (c is not ((>= 'a' and <= 'z') or (>= '0' and <= '9') or '_' or '-'))
                return false;
        }
        return true;
    }
}
