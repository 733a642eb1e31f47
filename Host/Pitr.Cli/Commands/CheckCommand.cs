using System.CommandLine;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr check DIR</c>: every page, checksum and tree invariant of a database that is not running; exit 5 on damage.</summary>
internal static class CheckCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "A database that is not running." };
        return cli.FolderVerb("check", "Read everything of a database and prove it.", [folder], async (parsed, cancellationToken) =>
        {
            string path = cli.Console.FullPath(parsed.GetRequiredValue(folder));
            DatabaseReport report = await Task.Run(() => Check(path, cancellationToken), cancellationToken).ConfigureAwait(false);
            if (report.IsDamaged)
            {
                CheckFinding first = report.Findings.First(finding => finding.IsDamage);
                int others = report.Findings.Count(finding => finding.IsDamage) - 1;
                throw new DamageException(
                    ErrorCode.TreeInvalid,
                    $"{first.Object}: {first.What}{(others > 0 ? $" ({others} more findings of damage.)" : "")}",
                    "Keep the folder as it is, and restore from a backup set: pitr restore --from STORE --into DIR.")
                { Path = first.Object };
            }
            return new Answer(
                json =>
                {
                    json.WriteStartObject();
                    json.WriteNumber("datafiles", report.Datafiles);
                    json.WriteNumber("pages", report.Pages);
                    json.WriteNumber("records", report.Records);
                    json.WriteString("endOfWal", report.EndOfWal.ToString());
                    JsonShapes.Names(json, "notes", report.Findings.Select(finding => $"{finding.Object}: {finding.What}"));
                    json.WriteEndObject();
                },
                console =>
                {
                    console.WriteWhole(
                        $"{report.Datafiles} datafiles, {TextShapes.Number(report.Pages)} pages and "
                            + $"{TextShapes.Number(report.Records)} WAL records are whole; the WAL ends at {report.EndOfWal}");
                    foreach (CheckFinding finding in report.Findings)
                        console.WriteWhole($"note: {finding.Object}: {finding.What}");
                });
        });
    }

    private static DatabaseReport Check(string folder, CancellationToken cancellationToken)
    {
        var options = new PitrOptions();
        IFileSystem files = EngineFactory.FileSystemOf(options);
        if (!new ControlFileStore(files, folder).Exists)
            throw EngineErrors.NotADatabase(folder);
        using DatabaseLock held = DatabaseLock.Take(files, folder, ThisProcess.Real.Words(options.Clock));
        return DatabaseCheck.Run(folder, EngineFactory.ContextFor(folder, options).Environment, options.Process, cancellationToken);
    }
}
