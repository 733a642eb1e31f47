using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// What happens to the WAL of a database that is not running: rot, segments that are gone, an end that a disk has lost,
/// records of a lost group that come back (H2, H6, H7).
/// </summary>
internal sealed class StepWalHand(
    SimulatedDisk disk, StepDatabase database, StepSettings settings, StepHazards hazards, long seed)
{
    private readonly WalGeometry _geometry = new(settings.WalSegmentBytes);
    private readonly ControlFile _control = new ControlFileStore(disk, database.Folder).ReadLive();
    private SeededRandom _random = SeededRandom.For(seed, 5);

    private StepModel Model => database.Model;

    /// <summary>Does one thing.</summary>
    /// <param name="open">Opens it and compares; it may end below what was acknowledged, but not below an LSN.</param>
    /// <param name="fresh">Opens what has to open.</param>
    public void Touch(Action<Lsn?> open, Func<StepEngine> fresh)
    {
        if (_control.Recovery is not null)
            return;
        switch (_random.Next(6))
        {
            case 0 or 1:
                Damage(open);
                break;
            case 2:
                LoseEnd(open);
                break;
            case 3:
                LoseSegment(open);
                break;
            case 4:
                CutOff(open);
                break;
            default:
                BringBack(open, fresh);
                break;
        }
    }

    private string PathOf(ulong number) => $"{database.Folder}/wal/{new SegmentName(_control.Timeline, number)}";

    /// <summary>What the control file, a datafile or a store knows (H7).</summary>
    private Lsn KnownToOthers => Lsn.Max(
        Lsn.Max(_control.KnownEndOfWal, ReachedByDatafiles), settings.HasArchive ? Model.Shipped : Lsn.Zero);

    /// <summary>
    /// What lies in the store of this timeline, also of a push whose answer a crash took: it opens for nobody shorter.
    /// </summary>
    private Lsn ListedInStore
    {
        get
        {
            const string folder = $"{StepSettings.Store}/wal";
            Lsn end = Lsn.Zero;
            foreach (string name in disk.Stat(folder) is null ? [] : disk.List(folder))
            {
                if (ObjectName.TryParseSegment($"wal/{name}", out TimelineId timeline, out ulong number))
                    end = Lsn.Max(end, timeline == _control.Timeline ? _geometry.StartOf(number + 1) : Lsn.Zero);
                else if (ObjectName.TryParsePart($"wal/{name}", out timeline, out _, out _, out Lsn to))
                    end = Lsn.Max(end, timeline == _control.Timeline ? to : Lsn.Zero);
            }

            return end;
        }
    }

    private Lsn ReachedByDatafiles
    {
        get
        {
            Lsn reached = Lsn.Zero;
            foreach (CatalogueFile file in _control.Catalogue.Files)
            {
                try
                {
                    Lsn lsn = Datafile.Inspect(disk, Catalogue.FullPath(database.Folder, file.Path)).CheckpointLsn;
                    reached = Lsn.Max(reached, lsn);
                }
                catch (PitrException)
                {
                    // Dropped, or not whole yet: it knows nothing.
                }
            }

            return reached;
        }
    }

    /// <summary>
    /// Below what is known to be whole: by a group behind it, or by the control file. The last group itself can't be
    /// told from one that was torn.
    /// </summary>
    private void Damage(Action<Lsn?> open)
    {
        Lsn last = Lsn.Max(Model.ProvenBelow, _control.KnownEndOfWal);
        if (_control.RedoLsn >= last)
            return;
        // Mostly in the last part of it, where the control file alone may know.
        Lsn from = _random.Chance(50) ? Lsn.Max(_control.RedoLsn, Model.ProvenBelow) : _control.RedoLsn;
        if (from >= last)
            from = _control.RedoLsn;
        Lsn at = from + (long)(_random.NextBits() % (last.Value - from.Value));
        if (disk.Stat(PathOf(_geometry.NumberOf(at))) is null)
            return;
        disk.Damage(PathOf(_geometry.NumberOf(at)), _geometry.OffsetOf(at), 1 + _random.Next(8));
        hazards.Note(6);
        open(null);
    }

    /// <summary>
    /// The last segments are gone (H7): nobody goes on below what a file, the control file or a store knows.
    /// </summary>
    private void LoseEnd(Action<Lsn?> open)
    {
        string folder = $"{database.Folder}/wal";
        string[] names = [.. disk.List(folder).Where(static name => SegmentName.TryParse(name, out _))];
        if (names.Length == 0)
            return;
        Lsn known = KnownToOthers;
        foreach (string name in names[^(1 + _random.Next(names.Length))..])
            disk.Delete($"{folder}/{name}");
        hazards.Note(7);
        open(known);
    }

    /// <summary>One is gone, and a later one has a group: a gap, and not the end (H6).</summary>
    private void LoseSegment(Action<Lsn?> open)
    {
        ulong first = _geometry.NumberOf(_control.RedoLsn);
        ulong last = _geometry.NumberOf(Model.ProvenBelow);
        if (first >= last || Model.ProvenBelow.IsZero)
            return;
        ulong lost = first + (ulong)_random.Next((int)(last - first));
        if (disk.Stat(PathOf(lost)) is null)
            return;
        disk.Delete(PathOf(lost));
        hazards.Note(6);
        open(null);
    }

    /// <summary>
    /// The disk has lost all from some record on, as if it had never been: mostly where only datafiles know more.
    /// </summary>
    private void CutOff(Action<Lsn?> open)
    {
        Lsn reached = ReachedByDatafiles;
        ModelRecord[] ends =
            [.. Model.Records.Where(one => one.End >= _control.RedoLsn && one.End < Model.Acknowledged)];
        ModelRecord[] ahead = [.. ends.Where(one => one.End >= _control.KnownEndOfWal && one.End < reached)];
        if (ahead.Length > 0 && _random.Chance(80))
            ends = ahead;
        if (ends.Length == 0)
            return;
        Lsn at = ends[_random.Next(ends.Length)].End;
        if (!Erase(at))
            return;
        Lsn known = KnownToOthers;
        for (ulong number = _geometry.NumberOf(at) + 1; disk.Stat(PathOf(number)) is not null; number++)
            disk.Delete(PathOf(number));
        hazards.Note(7);
        open(known);
    }

    /// <summary>
    /// The last group is lost as a whole, another one takes its place whose first record has the same length, and the
    /// others of the lost one are there again behind it: stale bytes are no part of the log (H2).
    /// </summary>
    private void BringBack(Action<Lsn?> open, Func<StepEngine> fresh)
    {
        Lsn from = Model.LastGroupStart;
        ModelRecord[] group = [.. Model.Records.Where(one => one.End > from)];
        if (group.Length < 2 || group[^1].End != Model.Acknowledged || group[0].Transaction.Value == 0
            || Lsn.Max(KnownToOthers, ListedInStore) > from || _geometry.NumberOf(from) != _geometry.NumberOf(Model.Acknowledged)
            || disk.Stat(PathOf(_geometry.NumberOf(from))) is null)
            return;
        string path = PathOf(_geometry.NumberOf(from));
        byte[] before = disk.ReadAll(path);
        if (!Erase(from))
            return;
        Model.CutAt(from);
        using (StepEngine engine = fresh())
        {
            StepCheck.Run(engine, Model);
            if (!CommitAnother(engine, group[0]))
                return;
        }

        if (Model.Acknowledged != group[0].End)
        {
            throw new SimulationFailure(
                $"A record of the same length ends at {Model.Acknowledged}, not {group[0].End}.");
        }

        int offset = (int)_geometry.OffsetOf(group[0].End);
        using (IFileHandle handle = disk.Open(path, FileOpen.ReadWrite))
            handle.Write(offset, before.AsSpan(offset));
        hazards.Note(2);
        open(null);
    }

    /// <summary>The same keys with other values of the same lengths.</summary>
    private bool CommitAnother(StepEngine engine, ModelRecord lost)
    {
        var batch = new WriteBatch();
        var steps = new List<ModelStep>();
        foreach (ModelStep.Change change in lost.Steps.OfType<ModelStep.Change>())
        {
            if (engine.Control.Catalogue.Tables.FirstOrDefault(one => one.Id == change.Table) is not { } there)
                return false;
            var table = new Table(there.Name, there.Id, there.FileId);
            byte[]? value = change.Value is null ? null : [.. change.Value.Select(static one => (byte)~one)];
            if (value is null)
                batch.Delete(table, change.Key);
            else
                batch.Put(table, change.Key, value);
            steps.Add(change with { Value = value });
        }

        if (steps.Count == 0)
            return false;
        engine.Commit([(batch, steps)], Model);
        return true;
    }

    /// <summary>Zeroes from here to the end of the segment; false if it is not there.</summary>
    private bool Erase(Lsn from)
    {
        string path = PathOf(_geometry.NumberOf(from));
        if (disk.Stat(path) is not { } entry)
            return false;
        long offset = _geometry.OffsetOf(from);
        using IFileHandle handle = disk.Open(path, FileOpen.ReadWrite);
        handle.Write(offset, new byte[entry.LengthBytes - offset]);
        return true;
    }
}
