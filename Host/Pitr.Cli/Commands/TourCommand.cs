using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr tour [FILE]</c>: the main job in a scratch folder, told step by step.</summary>
internal static class TourCommand
{
    private const string BundledFile = "debian-packages.jsonl.gz";

    public static Command Create(CliContext cli)
    {
        var file = new Argument<string?>("FILE")
        {
            Description = "A JSON Lines or CSV file of your own (else Debian's package index, which comes along).",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var key = new Option<string?>("--key")
        {
            HelpName = "FIELD",
            Description = "The field that is the key (else the first one that can be).",
        };
        var keep = new Option<bool>("--keep") { Description = "Keep the scratch folder." };
        const string what = "See the main job done in a scratch folder, step by step.";
        return cli.FolderVerb("tour", what, [file, key, keep], async (parsed, cancellationToken) =>
        {
            string given = parsed.GetValue(file) ?? Path.Combine(AppContext.BaseDirectory, "data", BundledFile);
            string scratch = Directory.CreateTempSubdirectory("pitr-tour-").FullName;
            try
            {
                using var output =
                    new StreamWriter(cli.Console.Output, leaveOpen: true) { NewLine = "\n", AutoFlush = true };
                TourStory story = cli.AsJson(parsed)
                    ? new TourStory(cli.Console.Error, cli.Console.ErrorIsTerminal)
                    : new TourStory(output, cli.Console.OutputIsTerminal);
                var tour = new Tour(cli.Console, story, scratch, cli.Console.FullPath(given), parsed.GetValue(key));
                TourReport report = await tour.RunAsync(cancellationToken).ConfigureAwait(false);
                if (parsed.GetValue(keep))
                    story.Show("grey", $"    Everything is still in {scratch}.");
                return new Answer(report.WriteJson, _ => { });
            }
            finally
            {
                if (!parsed.GetValue(keep))
                    Directory.Delete(scratch, recursive: true);
            }
        });
    }
}
