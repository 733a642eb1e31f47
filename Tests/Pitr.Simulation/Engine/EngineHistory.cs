using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>One change that a commit made; a null value is a delete.</summary>
internal readonly record struct ModelChange(TableId Table, string Key, byte[]? Value);

/// <summary>A name that came and may have gone: of a table or of a datafile.</summary>
/// <param name="name">Given once only.</param>
/// <param name="isFile">True for a datafile.</param>
internal sealed class ModelName(string name, bool isFile)
{
    public string Name => name;

    public bool IsFile => isFile;

    /// <summary>The table.</summary>
    public TableId Id { get; set; }

    /// <summary>The record that made it; null while nobody knows whether there is one.</summary>
    public Lsn? Made { get; set; }

    /// <summary>True from when its drop was asked for.</summary>
    public bool MayBeDropped { get; set; }

    /// <summary>The record that dropped it.</summary>
    public Lsn? Dropped { get; set; }

    /// <summary>True if it must be there at an LSN, false if it must not; null if it may.</summary>
    public bool? IsThereAt(Lsn at)
    {
        if (Made is { } made && at < made)
            return false;
        if (Dropped is { } dropped && (at >= dropped || Made is not null))
            return at < dropped;
        return Made is null || MayBeDropped ? null : true;
    }

    public ModelName Copy() => (ModelName)MemberwiseClone();
}

/// <summary>
/// The oracle: what each commit of one database did, by its LSN, and so what the database has to contain at any LSN.
/// </summary>
/// <remarks>
/// Whoever has asked for a commit gets its LSN with the answer. If there is no answer, because the engine stopped or
/// the wait was cancelled, the LSN that WalWriter stamped tells where it is if it is in the log at all; one that was
/// never stamped is not there. So at each end of the log exactly one content is right. What a create or drop without
/// an answer did is found out by looking.
/// </remarks>
internal sealed class EngineHistory
{
    private readonly Dictionary<TableId, SortedDictionary<string, List<(Lsn At, byte[]? Value)>>> _tables = [];
    private readonly SortedList<Lsn, DateTimeOffset> _times = [];
    private readonly List<ModelName> _names = [];

    /// <summary>All names that may be there.</summary>
    public IReadOnlyList<ModelName> Names => _names;

    /// <summary>The LSNs of all commits, in order.</summary>
    public IList<Lsn> Commits => _times.Keys;

    public ModelName Add(string name, bool isFile)
    {
        var added = new ModelName(name, isFile);
        _names.Add(added);
        return added;
    }

    /// <summary>A commit at an LSN; its time is null if its caller has not got it.</summary>
    public void Commit(Lsn at, IReadOnlyList<ModelChange> changes, DateTimeOffset? time)
    {
        foreach (ModelChange change in changes)
        {
            List<(Lsn At, byte[]? Value)> versions = VersionsOf(change);
            int index = versions.Count;
            while (index > 0 && versions[index - 1].At > at)
                index--;
            if (index > 0 && versions[index - 1].At == at)
                versions[index - 1] = (at, change.Value);
            else
                versions.Insert(index, (at, change.Value));
        }

        if (!_times.TryAdd(at, time ?? default))
            throw new SimulationFailure($"Two commits have the LSN {at}.");
    }

    /// <summary>I9: commit times grow along a timeline, or stay within a group.</summary>
    public void CheckTimes()
    {
        DateTimeOffset last = default;
        foreach ((Lsn at, DateTimeOffset time) in _times)
        {
            if (time == default)
                continue;
            if (time < last)
                throw new SimulationFailure($"The commit at {at} has the time {time:O}, one before it {last:O} (I9).");
            last = time;
        }
    }

    /// <summary>The value of a key at an LSN.</summary>
    public byte[]? ValueAt(TableId table, string key, Lsn at) =>
        _tables.TryGetValue(table, out var keys) && keys.TryGetValue(key, out var versions)
            ? At(versions, at)
            : null;

    /// <summary>The rows of a table at an LSN, in order.</summary>
    public IEnumerable<(string Key, byte[] Value)> RowsAt(TableId table, Lsn at)
    {
        if (!_tables.TryGetValue(table, out SortedDictionary<string, List<(Lsn, byte[]?)>>? keys))
            yield break;
        foreach ((string key, List<(Lsn, byte[]?)> versions) in keys)
        {
            if (At(versions, at) is { } value)
                yield return (key, value);
        }
    }

    /// <summary>The log was found to end here, or was gone back to here: what is beyond never was.</summary>
    public EngineHistory CutAt(Lsn end)
    {
        var cut = new EngineHistory();
        foreach (ModelName name in _names)
        {
            if (name.IsThereAt(end) is false && !(name.Made <= end))
                continue;
            ModelName kept = name.Copy();
            if (kept.Dropped > end)
                (kept.Dropped, kept.MayBeDropped) = (null, false);
            cut._names.Add(kept);
        }

        foreach ((Lsn at, DateTimeOffset time) in _times)
        {
            if (at <= end)
                cut._times.Add(at, time);
        }

        foreach ((TableId table, SortedDictionary<string, List<(Lsn At, byte[]? Value)>> keys) in _tables)
        {
            var kept = new SortedDictionary<string, List<(Lsn, byte[]?)>>(StringComparer.Ordinal);
            foreach ((string key, List<(Lsn At, byte[]? Value)> versions) in keys)
                kept.Add(key, versions.FindAll(version => version.At <= end));
            cut._tables.Add(table, kept);
        }

        return cut;
    }

    /// <summary>What was found decides about a name of which nobody knew.</summary>
    public void Settle(ModelName name, Lsn? madeAt, TableId id)
    {
        if (madeAt is null)
        {
            _names.Remove(name);
            return;
        }

        (name.Made, name.Id, name.MayBeDropped) = (madeAt, id, false);
    }

    private static byte[]? At(List<(Lsn At, byte[]? Value)> versions, Lsn at)
    {
        for (int i = versions.Count - 1; i >= 0; i--)
        {
            if (versions[i].At <= at)
                return versions[i].Value;
        }

        return null;
    }

    private List<(Lsn At, byte[]? Value)> VersionsOf(ModelChange change)
    {
        if (!_tables.TryGetValue(change.Table, out SortedDictionary<string, List<(Lsn, byte[]?)>>? keys))
            _tables.Add(change.Table, keys = new(StringComparer.Ordinal));
        if (!keys.TryGetValue(change.Key, out List<(Lsn, byte[]?)>? versions))
            keys.Add(change.Key, versions = []);
        return versions;
    }
}
