using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A recorded run with everything in it (writers at the same time, DDL, fences, moves, compacting, checkpoints, segment
/// switches, a crash, a backup under load, and a second timeline): archive recovery to every commit boundary stands exactly
/// there, on both branches, also at the boundaries of DDL (I11; H28, H29, H34, H43).
/// </summary>
public sealed class EveryBoundaryTests
{
    private const string Second = "/second";

    [Fact]
    public async Task Recovery_to_every_boundary_of_both_branches_equals_the_oracle()
    {
        var run = new BoundaryRun();
        Lsn stop = await run.RecordFirstAsync();
        ImmutableArray<Boundary> first = run.Boundaries;
        Boundary fork = first[^9];
        await RecoveryLab.RestoredAsync(run.Disk, RecoveryTarget.Including(fork.Lsn), Second, detached: false);
        await run.GoOnAsync(fork, Second);
        ImmutableArray<Boundary> second = run.Boundaries;
        Boundary[] ofFirst = [.. first.Where(at => at.Lsn >= stop)];
        Boundary[] ofSecond = [.. second.Where(at => at.Lsn > fork.Lsn)];
        Assert.True(ofFirst.Length > 25, $"Only {ofFirst.Length} boundaries of the first timeline can be reached.");
        Assert.True(ofSecond.Length > 10, $"Only {ofSecond.Length} boundaries of the second timeline can be reached.");

        foreach (Boundary at in ofFirst)
            await RequireAsync(run.Disk, at, at.Lsn <= fork.Lsn ? null : "1");
        foreach (Boundary at in ofSecond)
            await RequireAsync(run.Disk, at, "2");
    }

    private static async Task RequireAsync(SimulatedDisk disk, Boundary at, string? timeline)
    {
        string found = await RecoveryLab.RestoredAsync(
            disk.KillCopy(), RecoveryTarget.Including(at.Lsn), timeline: timeline).WaitAsync(TestDatabase.Patience);
        Assert.True(
            at.Content == found,
            $"Recovery to {at.Lsn} of timeline {timeline ?? "both"} gives\n{found}\ninstead of\n{at.Content}");
    }
}

/// <summary>What the database contains at the end of a record.</summary>
internal sealed record Boundary(
    Lsn Lsn, ImmutableSortedDictionary<string, string> Tables, ImmutableSortedDictionary<string, string> Rows)
{
    /// <summary>As <see cref="RecoveryLab.ContentOf"/> shows it.</summary>
    public string Content => string.Join('\n', [
        .. Tables.Select(table => $"{table.Key}@{table.Value}"),
        .. Rows.Select(row => $"{row.Key}={row.Value}")]);
}

/// <summary>
/// Writes on a database, some commits at the same time, and orders what was acknowledged by LSN: that is the oracle.
/// </summary>
internal sealed class BoundaryRun
{
    private static readonly ImmutableSortedDictionary<string, string> Empty =
        ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    private readonly List<(Lsn Lsn, Func<Boundary, Boundary> Apply)> _log = [];
    private Boundary _from = new(default, Empty, Empty);
    private PitrDatabase _database = null!;
    private int _number;

    public SimulatedDisk Disk { get; private set; } = TestDatabase.NewDisk(7);

    /// <summary>Every boundary of this branch since the run, or its fork, began.</summary>
    public ImmutableArray<Boundary> Boundaries
    {
        get
        {
            var boundaries = ImmutableArray.CreateBuilder<Boundary>();
            Boundary now = _from;
            foreach ((Lsn lsn, Func<Boundary, Boundary> apply) in _log.OrderBy(entry => entry.Lsn))
            {
                now = apply(now) with { Lsn = lsn };
                boundaries.Add(now);
            }

            return boundaries.ToImmutable();
        }
    }

    /// <summary>The first timeline; returns from where on recovery can reach it.</summary>
    public async Task<Lsn> RecordFirstAsync()
    {
        _database = await PitrDatabase.CreateAsync(
            RecoveryLab.Folder, RecoveryLab.OptionsOn(Disk, RecoveryLab.Archive));
        await CreateTableAsync("orders", "main");
        await _database.CreateDatafileAsync("b");
        await CreateTableAsync("stock", "b");
        await CommitManyAsync(2, "orders", "stock");
        Task<BackupResult> backup = _database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
        for (int round = 0; round < 3 && !backup.IsCompleted; round++)
            await CommitManyAsync(1, "orders", "stock");
        Lsn stop = (await backup).StopLsn;
        await FencedAsync("b", () => CommitManyAsync(1, "orders", "stock"));
        await CreateTableAsync("events", "b");
        await CommitManyAsync(2, "events", "orders");
        await _database.SwitchWalAsync();
        await CrashAsync();
        await CommitManyAsync(2, "events", "stock");
        await _database.CreateDatafileAsync("c");
        await CreateTableAsync("notes", "c");
        await CommitManyAsync(2, "notes", "stock");
        await MoveAsync("b", "/data2/b.pitr", isLinked: true, () => CommitManyAsync(2, "notes", "stock"));
        await MoveAsync("c", "/data2/c.pitr", isLinked: false, () => CommitManyAsync(1, "notes", "orders"));
        await DropTableAsync("events");
        await FencedAsync("main", () => CommitManyAsync(1, "orders", "notes"));
        await DropTableAsync("notes");
        await _database.DropDatafileAsync("c");
        await CommitManyAsync(2, "orders", "stock");
        await MoveAsync("b", "/data3/b.pitr", isLinked: true, () => CommitManyAsync(1, "orders", "stock"));
        await CompactAsync("main", () => CommitManyAsync(1, "orders", "stock"));
        await _database.CheckpointAsync();
        await CommitManyAsync(3, "orders", "stock");
        await _database.ShutdownAsync();
        return stop;
    }

    /// <summary>Goes on from a boundary, in the database that was restored to it.</summary>
    public async Task GoOnAsync(Boundary from, string folder)
    {
        _from = from;
        _log.Clear();
        _database = await PitrDatabase.OpenAsync(folder, RecoveryLab.OptionsOn(Disk));
        await CommitManyAsync(2, "orders", "stock");
        await CreateTableAsync("branch", "b");
        await MoveAsync("b", "/data4/b.pitr", isLinked: false, () => CommitManyAsync(1, "branch", "stock"));
        await FencedAsync("b", () => CommitManyAsync(1, "branch", "orders"));
        await _database.SwitchWalAsync();
        await CommitManyAsync(2, "branch", "stock");
        await DropTableAsync("stock");
        await CommitManyAsync(2, "branch", "orders");
        await _database.ShutdownAsync();
    }

    private async Task FencedAsync(string file, Func<Task> meanwhile)
    {
        FenceGrant fence = await _database.FenceAsync(file, TimeSpan.FromMinutes(5));
        await meanwhile();
        await _database.CheckpointAsync();
        await meanwhile();
        await _database.UnfenceAsync(fence.FenceId);
    }

    private async Task MoveAsync(string file, string to, bool isLinked, Func<Task> meanwhile)
    {
        Disk.CreateFolders(Path.GetDirectoryName(to)!);
        Task<MoveResult> move = _database.MoveAsync(
            new MoveRequest { Datafile = file, Path = to, WithoutLink = !isLinked });
        await meanwhile();
        await move.WaitAsync(TestDatabase.Patience);
    }

    private async Task CompactAsync(string file, Func<Task> meanwhile)
    {
        Task<CompactResult> compact = _database.CompactAsync(new CompactRequest { Datafile = file });
        await meanwhile();
        await compact.WaitAsync(TestDatabase.Patience);
    }

    /// <summary>Power is lost: what was acknowledged goes on.</summary>
    private async Task CrashAsync()
    {
        SimulatedDisk left = Disk.CrashCopy(11);
        Disk.PowerOff();
        await TestDatabase.Ended(_database.ShutdownAsync(force: true)).WaitAsync(TestDatabase.Patience);
        Disk = left;
        _database = await PitrDatabase.OpenAsync(RecoveryLab.Folder, RecoveryLab.OptionsOn(Disk));
    }

    private async Task CreateTableAsync(string name, string file)
    {
        await _database.CreateTableAsync(name, file);
        _log.Add((_database.Engine.DurableLsn, now => now with { Tables = now.Tables.Add(name, file) }));
    }

    private async Task DropTableAsync(string name)
    {
        await _database.DropTableAsync(name);
        _log.Add((_database.Engine.DurableLsn, now => now with
        {
            Tables = now.Tables.Remove(name),
            Rows = now.Rows.RemoveRange(
                now.Rows.Keys.Where(key => key.StartsWith(name + "/", StringComparison.Ordinal))),
        }));
    }

    /// <summary>Rounds of three commits at the same time, over the tables.</summary>
    private async Task CommitManyAsync(int rounds, params string[] tables)
    {
        for (int round = 0; round < rounds; round++)
        {
            Task[] writers = [.. Enumerable.Range(0, 3).Select(writer => CommitAsync(writer, ++_number, tables))];
            await Task.WhenAll(writers).WaitAsync(TestDatabase.Patience);
        }
    }

    private async Task CommitAsync(int writer, int number, string[] tables)
    {
        var batch = new WriteBatch();
        var puts = new List<(string Key, string Value)>();
        var deletes = new List<string>();
        foreach (string name in tables)
        {
            Table table = _database.GetTable(name);
            string value = string.Create(CultureInfo.InvariantCulture, $"{number}{new string('v', number % 5 * 300)}");
            string key = $"k{(number * 7) % 11:d2}";
            string gone = $"k{(number * 5 + 3) % 11:d2}";
            if (gone != key)
            {
                batch.Delete(table, Encoding.UTF8.GetBytes(gone));
                deletes.Add($"{name}/{gone}");
            }

            batch.Put(table, Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(value));
            puts.Add(($"{name}/{key}", value));
            batch.Put(table, Encoding.UTF8.GetBytes($"w{writer}"), Encoding.UTF8.GetBytes(value));
            puts.Add(($"{name}/w{writer}", value));
        }

        CommitResult result = await _database.CommitAsync(batch);
        lock (_log)
        {
            _log.Add((result.Lsn, now => now with
            {
                Rows = now.Rows.RemoveRange(deletes)
                    .SetItems(puts.Select(put => KeyValuePair.Create(put.Key, put.Value))),
            }));
        }
    }
}
