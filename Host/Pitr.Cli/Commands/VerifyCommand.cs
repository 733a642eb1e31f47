using System.CommandLine;
using Pitr.Actors;
using Pitr.Recovery;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr verify STORE</c>: re-read sets and their WAL, and prove that they restore; exit 5 if one does not.
/// </summary>
internal static class VerifyCommand
{
    public static Command Create(CliContext cli)
    {
        var store = new Argument<string>("STORE") { Description = "The store of the sets." };
        var backup = new Option<string?>("--backup") { HelpName = "ID", Description = "One set (else all)." };
        var archive =
            new Option<string?>("--archive") { HelpName = "STORE", Description = "Where the WAL is (else STORE)." };
        return cli.Verb(
            "verify", "Prove that backup sets restore.", [store, backup, archive], async (parsed, cancellationToken) =>
            {
                PitrOptions settings = await cli.StoreOptionsAsync(parsed, cancellationToken).ConfigureAwait(false);
                Wal.IArchiveStore sets = OfflineStores.Open(cli.Console.FullStore(parsed.GetRequiredValue(store)), settings);
                Wal.IArchiveStore[] archives = parsed.GetValue(archive) is { } other
                    ? [OfflineStores.Open(cli.Console.FullStore(other), settings), sets]
                    : [sets];
                DateTimeOffset began = settings.Clock.GetUtcNow();
                IReadOnlyList<VerifyReport> reports = await Task.Run(
                    () =>
                    {
                        IReadOnlyList<VerifyReport> found = BackupVerifier.Verify(
                            sets, archives, parsed.GetValue(backup), EngineFactory.DrawOf(new PitrOptions()),
                            cancellationToken);
                        SetVerification.Note(sets, found, began);
                        return found;
                    },
                    cancellationToken).ConfigureAwait(false);
                return reports.Count > 0 ? AnswerOf(reports) : throw RecoveryErrors.NoBackup(sets.Name);
            });
    }

    private static Answer AnswerOf(IReadOnlyList<VerifyReport> reports)
    {
        PitrException? worst = reports
            .SelectMany(report => report.Problems).OrderByDescending(problem => problem.ExitCode).FirstOrDefault();
        if (worst is not null)
            throw worst; // a failure leaves standard output empty; its text names the place
        return new Answer(
            json =>
            {
                json.WriteStartArray();
                foreach (VerifyReport report in reports)
                {
                    json.WriteStartObject();
                    json.WriteString("backupId", report.BackupId);
                    json.WriteBoolean("restores", report.Restores);
                    json.WriteNumber("bytes", report.BytesRead);
                    json.WriteNumber("records", report.Records);
                    json.WriteEndObject();
                }
                json.WriteEndArray();
            },
            console =>
            {
                foreach (VerifyReport report in reports)
                {
                    console.WriteWhole(
                        $"{report.BackupId} restores: {TextShapes.Bytes(report.BytesRead)} and "
                        + $"{TextShapes.Number(report.Records)} WAL records read");
                }
            });
    }
}
