using System.Buffers.Binary;
using System.Globalization;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// One commits without a pause, another one restores over and over again out of the archive: what a restore has is exactly
/// what was committed up to the LSN at which it stands, and that is its target.
/// </summary>
/// <remarks>
/// Commit n writes key n mod <see cref="Keys"/> in two datafiles, or removes it: so the content behind any commit follows
/// from its number. PITR_RESTORES=n makes n restores instead of some.
/// </remarks>
public sealed class RestoreUnderWriterTests
{
    private const int Keys = 50;
    private const string Archive = RecoveryLab.Archive;
    private static readonly string[] Tables = ["orders", "events"];

    private readonly SimulatedDisk _disk = new(seed: 8);
    private readonly List<Lsn> _commits = []; // commit n ended at [n - 1]; the writer's, until it has ended
    private TaskCompletionSource<CommitResult> _next = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static int Restores => int.Parse(
        Environment.GetEnvironmentVariable("PITR_RESTORES") ?? "12", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Whatever_is_restored_while_another_one_commits_equals_what_was_committed_at_its_LSN()
    {
        var restored = new List<(RecoveryTarget Target, Lsn Stop, string Content)>();
        await using PitrDatabase database = await PitrDatabase
            .CreateAsync(RecoveryLab.Folder, RecoveryLab.OptionsOn(_disk, Archive)).Within();
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync(Tables[0]).Within();
        await database.CreateTableAsync(Tables[1], "other").Within();

        using var end = new CancellationTokenSource();
        Task writer = Task.Run(() => WriteAsync(database, end.Token));
        try
        {
            for (int n = 0; n < Restores; n++)
            {
                if (n % 3 == 0)
                    await database.BackupAsync(new BackupRequest { Store = Archive, Incremental = n > 0 }).Within();
                CommitResult aim = await Volatile.Read(ref _next).Task.Within();
                RecoveryTarget target = (n % 4) switch
                {
                    0 => RecoveryTarget.Latest,
                    1 => RecoveryTarget.Including(aim.Lsn),
                    2 => RecoveryTarget.Including(aim.TransactionId),
                    _ => RecoveryTarget.Immediate,
                };
                await ShippedBeyondAsync(aim.Lsn);
                Lsn stop = await RestoreAsync(target, $"/restored{n}");
                restored.Add((target, stop, await ContentAsync($"/restored{n}")));
                if (target.Kind == RecoveryTarget.Form.Latest)
                    Assert.True(stop > aim.Lsn, $"The restore ends at {stop}, and WAL beyond {aim.Lsn} was there.");
                else if (target.Kind != RecoveryTarget.Form.Immediate)
                    Assert.Equal(aim.Lsn, stop);
            }
        }
        finally
        {
            await end.CancelAsync();
            await writer.Within();
        }

        foreach ((RecoveryTarget target, Lsn stop, string content) in restored)
        {
            string expected = Expected(_commits.Count(lsn => lsn <= stop));
            Assert.True(expected == content, $"The restore to {target}, at {stop}: {content} instead of {expected}.");
        }

        Assert.True(restored.Select(static one => one.Stop).Distinct().Count() > Restores / 2, "The writer stood still.");
    }

    private async Task WriteAsync(PitrDatabase database, CancellationToken end)
    {
        Table[] tables = [.. Tables.Select(database.GetTable)];
        for (int n = 1; !end.IsCancellationRequested; n++)
        {
            var batch = new WriteBatch();
            byte[] key = [(byte)(n % Keys)], value = new byte[4];
            BinaryPrimitives.WriteInt32BigEndian(value, n);
            foreach (Table table in tables)
            {
                if (IsRemoved(n))
                    batch.Delete(table, key);
                else
                    batch.Put(table, key, value);
            }

            CommitResult result = await database.CommitAsync(batch, CancellationToken.None).Within();
            _commits.Add(result.Lsn);
            TaskCompletionSource<CommitResult> waited = _next;
            Volatile.Write(ref _next, new(TaskCreationOptions.RunContinuationsAsynchronously));
            waited.SetResult(result);
        }
    }

    /// <summary>Until the archive has something behind it, which shows that it is the last one of its target.</summary>
    private Task ShippedBeyondAsync(Lsn lsn)
    {
        var store = new FolderStore(_disk, Archive, static () => 0);
        long payloadBytes = new WalGeometry(RecoveryLab.OptionsOn(_disk).WalSegmentBytes).PayloadBytes;
        return TestEngine.Until(
            () => ArchiveCatalog.Load(store).HighestEnd(TimelineId.First, payloadBytes) > lsn,
            $"the archive has WAL beyond {lsn}");
    }

    private async Task<Lsn> RestoreAsync(RecoveryTarget target, string into) => (await PitrRecovery.RestoreAsync(
        new RestoreRequest { Store = Archive, Into = into, Target = target, Detached = true },
        RecoveryLab.OptionsOn(_disk)).Within()).StoppedAt.Lsn;

    private async Task<string> ContentAsync(string folder)
    {
        await using PitrDatabase database = await PitrDatabase.OpenAsync(folder, RecoveryLab.OptionsOn(_disk)).Within();
        IEnumerable<string> rows = Tables.Select(database.GetTable).SelectMany(table =>
            Enumerable.Range(0, Keys).Select(key => (Key: key, Value: database.Get(table, [(byte)key])))
                .Where(static row => row.Value is not null)
                .Select(static row => $"{row.Key}={BinaryPrimitives.ReadInt32BigEndian(row.Value)}"));
        return string.Join(' ', rows);
    }

    /// <summary>Behind so many commits.</summary>
    private static string Expected(int commits)
    {
        string[] rows = [.. Enumerable.Range(0, Keys)
            .Select(key => (Key: key, Last: commits - ((commits - key) % Keys)))
            .Where(row => row.Last >= 1 && row.Last <= commits && !IsRemoved(row.Last))
            .Select(static row => $"{row.Key}={row.Last}")];
        return string.Join(' ', Tables.SelectMany(_ => rows));
    }

    private static bool IsRemoved(int commit) => commit % 7 == 0;
}
