using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr init DIR</c>: an empty database with the datafile <c>main</c>.</summary>
internal static class InitCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "A folder that is not there or is empty." };
        Option<long?> segment = CliContext.OptionOf<long?>(
            "--wal-segment-size", "SIZE", "Size of a WAL segment file (16MiB).", text => TextForms.Size(text));
        var archive = new Option<string[]>("--archive")
        {
            HelpName = "STORE",
            Description = "Where the WAL is archived; may be given several times.",
        };
        return cli.FolderVerb("init", "Create a database.", [folder, segment, archive], async (parsed, cancellationToken) =>
        {
            long segmentBytes = parsed.GetValue(segment) ?? 16 << 20;
            if (segmentBytes is < 64 << 10 or > 1 << 30 || segmentBytes % 4096 != 0)
            {
                throw new UsageException(
                    $"A WAL segment of {segmentBytes} bytes is not possible.",
                    "Give a multiple of 4KiB from 64KiB to 1GiB.");
            }
            string path = cli.Console.FullPath(parsed.GetRequiredValue(folder));
            string[] stores = [.. (parsed.GetValue(archive) ?? []).Select(cli.Console.FullStore)];
            SystemIdentifier id = await cli.Targets
                .InitAsync(path, (int)segmentBytes, stores, cancellationToken).ConfigureAwait(false);
            return Answer.Line(
                json =>
                {
                    json.WriteStartObject();
                    json.WriteString("systemId", id.ToString());
                    json.WriteString("folder", path);
                    json.WriteEndObject();
                },
                $"database {id} created in {path}");
        });
    }
}
