using System.IO.Compression;

namespace Pitr.Cli;

/// <summary>A file of records, or standard input: opened by its name, unpacked if it ends in .gz.</summary>
internal static class RecordFile
{
    /// <summary>The formats that can be asked for.</summary>
    public static readonly string[] Formats = ["jsonl", "csv"];

    /// <summary>The format that a name tells: csv for .csv and .csv.gz, else jsonl.</summary>
    public static string FormatOf(string file) =>
        file.EndsWith(".csv", StringComparison.OrdinalIgnoreCase)
            || file.EndsWith(".csv.gz", StringComparison.OrdinalIgnoreCase)
            ? "csv"
            : "jsonl";

    /// <summary>Opens it for reading from the start.</summary>
    public static Stream Open(CliConsole console, string file)
    {
        if (file == "-")
            return console.Input();
        string path = console.FullPath(file);
        if (!File.Exists(path))
            throw new VerbFailedException(
                $"There is no file '{path}'.", "Name a JSON Lines or CSV file, or - for standard input.");
        var stream =
            new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 256 << 10, useAsync: false);
        return path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase)
            ? new GZipStream(stream, CompressionMode.Decompress)
            : stream;
    }

    /// <summary>Its records.</summary>
    public static IAsyncEnumerable<InputRecord> ReadAsync(
        Stream stream, string file, string format, string keyField, CancellationToken cancellationToken) =>
        format == "csv"
            ? CsvRecords.ReadAsync(stream, file, keyField, cancellationToken)
            : JsonLinesReader.ReadAsync(stream, file, keyField, cancellationToken);

    /// <summary>The first field that can be a key; null if the file has no record.</summary>
    public static async Task<string?> FirstFieldAsync(
        CliConsole console, string file, string format, CancellationToken cancellationToken)
    {
        Stream stream = Open(console, file);
        await using (stream.ConfigureAwait(false))
        {
            return format == "csv"
                ? await CsvRecords.FirstFieldAsync(stream, file, cancellationToken).ConfigureAwait(false)
                : await JsonLinesReader.FirstFieldAsync(stream, file, cancellationToken).ConfigureAwait(false);
        }
    }
}
