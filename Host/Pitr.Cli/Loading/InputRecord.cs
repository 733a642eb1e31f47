namespace Pitr.Cli;

/// <summary>One record of a file that is loaded.</summary>
/// <param name="Key">Its key's text.</param>
/// <param name="Value">The record as JSON, UTF-8.</param>
/// <param name="Line">Where it stands, from 1.</param>
internal readonly record struct InputRecord(string Key, byte[] Value, long Line);

/// <summary>A record that cannot be loaded: where, and why.</summary>
internal static class InputErrors
{
    public static VerbFailedException At(string file, long line, string why, Exception? inner = null) => new(
        $"Line {line} of '{file}' cannot be loaded: {why}",
        "Correct that line and load again; transactions before it may have been committed, and a key that is there is replaced.",
        inner);
}
