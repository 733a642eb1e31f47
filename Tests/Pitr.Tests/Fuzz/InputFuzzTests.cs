using System.Globalization;
using System.Text;
using Pitr.Actors;
using Pitr.Cli;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What people write: settings, files to load, the text forms of the command line.</summary>
public sealed class InputFuzzTests
{
    [Fact]
    public void Settings_of_any_text_are_read_or_refused() => FuzzRun.Run(new FuzzTarget(
        "pitr.json",
        [
            """
            {"stores":["/archive","file:///b"],"roots":["data"],"archiveLagBytesMax":4096,"archiveLagChoice":"refuseCommits",
            "memoryBudgetBytes":"64MiB","checkpointInterval":"90s"}
            """u8.ToArray(),
        ],
        static (bytes, steps) =>
        {
            var disk = new SimulatedDisk();
            disk.CreateFolders("/db");
            using (IFileHandle file = disk.Open("/db/pitr.json", FileOpen.CreateNew))
                file.Write(0, bytes);
            DatabaseSettings settings = DatabaseSettings.Read(disk, "/db");
            foreach (string store in settings.Stores ?? [])
                steps.Take(StoreAddress.Parse(store, "/db").Place.Length);
            foreach (string root in settings.Roots ?? [])
                steps.Take(StoreAddress.HasScheme(root) ? 1 : Path.GetFullPath(root, "/db").Length);
            return null;
        },
        FuzzTarget.Only<RefusedException>())
    {
        Mutate = JsonMutator.Mutate,
        FreeBytes = 4 << 20,
        Rounds = 2_000,
    });

    [Theory]
    [InlineData("jsonl")]
    [InlineData("csv")]
    public void A_file_to_load_of_any_bytes_is_read_or_told(string format) => FuzzRun.Run(new FuzzTarget(
        $"load of {format}",
        [
            Encoding.UTF8.GetBytes(format == "csv"
                ? "key,name,\"the, text\"\na,1,\"x \"\"y\"\"\nz\"\nb,ä,\r\nc,,3\n"
                : """
                  {"key":"a","name":1,"text":"ä\u00e4\ud83d\ude00"}
                  {"name":{"key":[1,2]},"key":5}

                  {"key":true}
                  """),
        ],
        (bytes, steps) =>
        {
            LoadAsync(bytes, format, steps).GetAwaiter().GetResult();
            return null;
        },
        FuzzTarget.Only<VerbFailedException>())
    {
        FreeBytes = 8 << 20,
        Rounds = 2_000,
    });

    [Fact]
    public void A_text_form_reads_or_says_what_it_should_be() => FuzzRun.Run(new FuzzTarget(
        "text forms",
        [
            .. new[]
            {
                "64MiB", "9223372036854775807", "8388607TiB", "90s", "14d", "500ms", "orders_2-b",
                "2026-11-22T14:05:00Z", "2026-11-22 15:05:00.25+01:00", "9999-12-31T23:59:59.9999999-14:00", "0/16B3F80",
                "FFFFFFFF/FFFFFFFF", "18446744073709551615", "1.5", "01234567-89ab-cdef-0123-456789abcdef",
                "127.0.0.1:4053", "localhost:65535", "[::1]:1", "/data2=/data3", "48656c6c6f",
            }.Select(Encoding.UTF8.GetBytes),
        ],
        static (bytes, _) =>
        {
            string text = Encoding.UTF8.GetString(bytes);
            Func<string, object>[] forms =
            [
                t => TextForms.Size(t), t => TextForms.Duration(t), TextForms.Name, t => TextForms.Time(t),
                t => TextForms.Position(t), t => TextForms.Transaction(t), t => TextForms.Count(t),
                t => TextForms.Rate(t), t => TextForms.Fence(t), TextForms.Address, t => TextForms.Mapping(t),
                t => TextForms.Bytes(t, isHex: true), t => TextForms.Bytes(t, isHex: false),
                t => TextForms.Text(Encoding.UTF8.GetBytes(t), isHex: false),
            ];
            foreach (Func<string, object> form in forms)
            {
                try
                {
                    object read = form(text);
                    if (read is Lsn lsn)
                        Assert.Equal(lsn, Lsn.Parse(lsn.ToString(), CultureInfo.InvariantCulture));
                    if (read is DateTimeOffset time)
                        Assert.Equal(time, TextForms.Time(TextForms.Time(time)));
                }
                catch (Exception told) when (told is FormatException or UsageException or VerbFailedException)
                {
                    Assert.NotEmpty(told.Message);
                }
            }
            return null;
        },
        static _ => false)
    {
        Rounds = 1_000,
    });

    [Fact]
    public void An_address_of_a_store_reads_or_is_refused() => FuzzRun.Run(new FuzzTarget(
        "store address",
        [
            .. new[]
            {
                "/archive", "archive/here", "file:///archive/a%20b", "s3://bucket/a/b?endpoint=http://h:1&region=x",
                "azblob://a/b", "command:x",
            }.Select(Encoding.UTF8.GetBytes),
        ],
        static (bytes, _) =>
        {
            StoreAddress address = StoreAddress.Parse(Encoding.UTF8.GetString(bytes), "/base");
            if (address.IsFolder)
                Assert.StartsWith("/", address.Folder, StringComparison.Ordinal);
            Assert.Equal(address.Place, StoreAddress.Parse(address.Place, "/elsewhere").Place);
            return null;
        },
        FuzzTarget.Only<RefusedException>())
    {
        Others =
        [
            .. new[] { "s3:/bucket", "azblob://a/../b", "command:X", "file://host/a", "a+b:c", "s3://b?c" }
                .Select(Encoding.UTF8.GetBytes),
        ],
        Rounds = 3_000,
    });

    private static async Task LoadAsync(byte[] bytes, string format, FuzzSteps steps)
    {
        string? field = format == "csv"
            ? await CsvRecords.FirstFieldAsync(new MemoryStream(bytes), "file", CancellationToken.None)
            : await JsonLinesReader.FirstFieldAsync(new MemoryStream(bytes), "file", CancellationToken.None);
        await foreach (InputRecord record in RecordFile.ReadAsync(
            new MemoryStream(bytes), "file", format, field ?? "key", CancellationToken.None))
        {
            steps.Take();
            Assert.InRange(Encoding.UTF8.GetByteCount(record.Key), 0, Limits.KeyBytesMax);
        }
    }
}
