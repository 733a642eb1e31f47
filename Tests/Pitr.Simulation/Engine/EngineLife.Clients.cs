using System.Globalization;
using System.Text;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <content>The clients that change and read rows.</content>
internal sealed partial class EngineLife
{
    private long _values;

    private async Task WriteAsync(int commits, ClientRandom random)
    {
        for (int i = 0; i < commits && !IsOver; i++)
        {
            if (random.Chance(40))
                await _world.Delay(random.Time(400));
            var batch = new WriteBatch();
            var changes = new List<ModelChange>();
            for (int n = 1 + random.Next(random.Chance(80) ? 4 : 20); n > 0; n--)
                Change(random.Of(_tables), batch, changes, random);
            await CommitAsync(batch, changes, random);
        }

        _writersLeft--;
    }

    private async Task CommitAsync(WriteBatch batch, List<ModelChange> changes, ClientRandom random)
    {
        PendingCommit pending = batch.Pending;
        using var cancel = random.Chance(5)
            ? new CancellationTokenSource(random.Time(3), _world.Clock)
            : new CancellationTokenSource();
        LookAtKeptWal();
        bool mustBeRefused = _world.Clock.Now >= _refusesFrom;
        (bool isDone, CommitResult result) =
            await TryAsync("commit", () => _database.CommitAsync(batch, cancel.Token).AsTask());
        if (isDone && mustBeRefused)
            throw new SimulationFailure($"A commit was taken at {result.Lsn}: too much WAL is kept for an offline file (H24).");
        Answered(isDone, result, pending, changes);
    }

    private void Answered(bool isDone, CommitResult result, PendingCommit? pending, List<ModelChange> changes)
    {
        if (isDone)
        {
            _history.Commit(result.Lsn, changes, result.Time);
            _crashes.Acknowledge(result.Lsn);
            RequireInStores(result.Lsn);
        }
        else if (pending is not null)
        {
            _unanswered.Add((pending, changes));
        }
    }

    private void Change(Table table, WriteBatch batch, List<ModelChange> changes, ClientRandom random)
    {
        (string key, byte[]? value) = (KeyOf(random), random.Chance(15) ? null : ValueOf(random));
        if (value is null)
            batch.Delete(table, Bytes(key));
        else
            batch.Put(table, Bytes(key), value);
        changes.Add(new ModelChange(table.Id, key, value));
    }

    /// <summary>Reads some keys and ranges, thinks, and writes: or meets a conflict.</summary>
    private async Task TransactAsync(int transactions, ClientRandom random)
    {
        for (int i = 0; i < transactions && !IsOver; i++)
        {
            if (random.Chance(30))
                await _world.Delay(random.Time(300));
            (bool isBegun, Transaction? begun) =
                await TryAsync("begin", () => _database.BeginTransactionAsync().AsTask());
            if (!isBegun)
                continue;
            using Transaction transaction = begun!;
            await TransactAsync(transaction, random);
        }

        _writersLeft--;
    }

    private async Task TransactAsync(Transaction transaction, ClientRandom random)
    {
        var reads = new List<(TableId Table, string Key, byte[]? Value)>();
        var changes = new List<ModelChange>();
        try
        {
            for (int n = 1 + random.Next(3); n > 0; n--)
            {
                Table table = random.Of(_tables);
                string key = KeyOf(random);
                reads.Add((table.Id, key, transaction.Get(table, Bytes(key))));
            }

            if (random.Chance(60))
                await _world.Delay(random.Time(50));
            foreach ((TableId id, string key, _) in reads)
            {
                if (_tables.Find(found => found.Id == id) is not { } table || random.Chance(30))
                    continue;
                byte[] value = ValueOf(random);
                transaction.Put(table, Bytes(key), value);
                changes.Add(new ModelChange(id, key, value));
            }
        }
        catch (PitrException refused) when (refused is not BugException && (_mayFail || IsOver || IsOrdinary(refused)))
        {
            return;
        }

        Lsn seen = transaction.Lsn;
        _observations.Add(() => Require(reads, seen, "began"));
        if (changes.Count == 0)
            return;
        (bool isDone, CommitResult result) = await TryAsync("transaction", () => transaction.CommitAsync().AsTask());
        Answered(isDone, result, transaction.Commit, changes);
        if (isDone) // serializable: as if all of it had happened at its LSN
            _observations.Add(() => Require(reads, new Lsn(result.Lsn.Value - 1), "committed"));
    }

    private void Require(List<(TableId Table, string Key, byte[]? Value)> reads, Lsn at, string when)
    {
        foreach ((TableId table, string key, byte[]? value) in reads)
        {
            byte[]? expected = _history.ValueAt(table, key, at);
            if (!(value ?? []).AsSpan().SequenceEqual(expected ?? []) || value is null != expected is null)
                throw new SimulationFailure($"A transaction that {when} at {at} has read another value of {key}.");
        }
    }

    // ---- readers -----------------------------------------------------------------------------------------

    private async Task ReadAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(800));
            if (IsOver)
                return;
            try
            {
                if (random.Chance(30))
                    GetOne(random);
                else
                    await ScanAsync(random);
            }
            catch (PitrException refused) when (
                refused is not BugException && (_mayFail || IsOver || IsOrdinary(refused)))
            {
                _world.Note("refused", $"read: {refused.Code}");
            }
        }
    }

    private void GetOne(ClientRandom random)
    {
        Table table = random.Of(_tables);
        string key = KeyOf(random);
        var value = new System.Buffers.ArrayBufferWriter<byte>();
        bool isThere = _database.TryGet(table, Bytes(key), value, out Lsn at);
        byte[] found = value.WrittenSpan.ToArray();
        _observations.Add(() => Require([(table.Id, key, isThere ? found : null)], at, "read"));
    }

    /// <summary>All tables of one snapshot, while others go on: a table is read in several steps.</summary>
    private async Task ScanAsync(ClientRandom random)
    {
        using Snapshot snapshot = _database.OpenSnapshot();
        Lsn at = snapshot.Lsn;
        _world.Note("snapshot", null, (long)at.Value);
        foreach (Table table in snapshot.Tables)
        {
            var rows = new List<KeyValue>();
            bool isReverse = random.Chance(30);
            foreach (KeyValue row in snapshot.Scan(table, new ScanRange { Reverse = isReverse }))
            {
                rows.Add(row);
                if (random.Chance(3))
                    await _world.Delay(random.Time(2000));
            }

            if (isReverse)
                rows.Reverse();
            _observations.Add(() => EngineCheck.Compare(table, rows, _history, at));
            if (random.Chance(20))
                await _world.Delay(random.Time(2000));
        }
    }

    // ---- values ------------------------------------------------------------------------------------------

    private string KeyOf(ClientRandom random) =>
        string.Create(CultureInfo.InvariantCulture, $"k{random.Next(_stage.Settings.Sizes.Keys):D4}");

    /// <summary>A value that no other one equals.</summary>
    private byte[] ValueOf(ClientRandom random)
    {
        string begin = string.Create(CultureInfo.InvariantCulture, $"{_prefix}-{++_values}");
        int length = random.Chance(2) ? 9000 + random.Next(12_000) : random.Next(_stage.Settings.Sizes.ValueBytes);
        var value = new byte[Math.Max(begin.Length, length)];
        Encoding.ASCII.GetBytes(begin, value);
        return value;
    }

    private static byte[] Bytes(string key) => Encoding.ASCII.GetBytes(key);
}
