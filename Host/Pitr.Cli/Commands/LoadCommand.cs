using System.CommandLine;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr load TABLE FILE|-</c>: a JSON Lines or CSV file as transactions, in the order of the file.
/// </summary>
internal static class LoadCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        var file = new Argument<string>(
            "FILE")
        { Description = "A JSON Lines or CSV file (also .gz); - reads standard input." };
        var format =
            new Option<string?>("--format") { HelpName = "jsonl|csv", Description = "Its format (else by its name)." };
        format.AcceptOnlyFromAmong(RecordFile.Formats);
        var key = new Option<string>(
            "--key")
        { HelpName = "FIELD", Description = "The field that is the key.", Required = true };
        Option<long?> batch =
            CliContext.OptionOf<long?>("--batch", "N", "Records a transaction (1000).", text => TextForms.Count(text));
        var acks = new Option<string?>("--acks")
        {
            HelpName = "FILE",
            Description = "Append a JSON line for each transaction once it is durable.",
        };
        Option<double?> rate = CliContext.OptionOf<double?>(
            "--rate", "N", "Records a second, evenly paced.", text => TextForms.Rate(text));
        return cli.TargetVerb(
            "load", "Load a file, in transactions of N records.", [table, file, format, key, batch, acks, rate],
            async (target, parsed, cancellationToken) =>
            {
                string name = parsed.GetRequiredValue(file);
                Stream stream = RecordFile.Open(cli.Console, name);
                await using (stream.ConfigureAwait(false))
                {
                    using FileStream? ackFile = parsed.GetValue(acks) is { } path
                        ? new FileStream(
                            cli.Console.FullPath(path), FileMode.Append, FileAccess.Write, FileShare.ReadWrite,
                            bufferSize: 0)
                        : null;
                    using var progress = new ProgressLine(cli.Console);
                    var loader = new Loader(target, TimeProvider.System)
                    {
                        BatchRecords = (int)Math.Min(parsed.GetValue(batch) ?? 1000, int.MaxValue),
                        RecordsPerSecond = parsed.GetValue(rate),
                        Acks = ackFile,
                        Loaded = count => progress.Show($"{TextShapes.Number(count)} records"),
                    };
                    LoadResult result = await loader.LoadAsync(
                        parsed.GetRequiredValue(table),
                        RecordFile.ReadAsync(
                            stream, name, parsed.GetValue(format) ?? RecordFile.FormatOf(name),
                            parsed.GetRequiredValue(key), cancellationToken),
                        cancellationToken).ConfigureAwait(false);
                    return AnswerOf(result);
                }
            });
    }

    private static Answer AnswerOf(LoadResult result) => Answer.Line(
        json =>
        {
            json.WriteStartObject();
            json.WriteNumber("records", result.Records);
            json.WriteNumber("transactions", result.Transactions);
            json.WriteString("lsn", result.Last?.Lsn.ToString());
            json.WriteString("time", result.Last is { } last ? TextForms.Time(last.Time) : null);
            json.WriteNumber("seconds", JsonShapes.Seconds(result.Seconds));
            json.WriteEndObject();
        },
        $"{TextShapes.Number(result.Records)} records in {TextShapes.Number(result.Transactions)} transactions, "
        + $"{TextShapes.Seconds(result.Seconds)}{(result.Last is { } commit ? $", to {commit.Lsn}" : "")}");
}
