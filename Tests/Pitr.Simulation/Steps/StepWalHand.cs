using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// What happens to the WAL of a database that is not running: rot, segments that are gone, an end that a disk has lost,
/// records of a lost group that come back (H2, H6, H7).
/// </summary>
internal sealed class StepWalHand(
    SimulatedDisk disk, StepDatabase database, StepSettings settings, StepMemory memory, StepHazards hazards, long seed)
{
    private readonly WalGeometry _geometry = new(settings.WalSegmentBytes);
    private readonly ControlFile _control = new ControlFileStore(disk, database.Folder).ReadLive();
    private SeededRandom _random = SeededRandom.For(seed, 5);

    private StepModel Model => database.Model;

    /// <summary>Does one thing.</summary>
    /// <param name="open">Opens it and compares; it may end below what was acknowledged, but not below an LSN. False if
    /// it was refused.</param>
    /// <param name="fresh">Opens what has to open.</param>
    public void Touch(Func<Lsn?, bool> open, Func<StepEngine> fresh)
    {
        if (_control.Recovery is not null)
            return;
        if (KnownToDatafilesAlone.Length > 0 && _random.Chance(50))
        {
            CutOff(open);
            return;
        }

        switch (_random.Next(11))
        {
            case 0 or 1:
                Damage(open);
                break;
            case 9 or 10:
                FailBehindDamage(open);
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
            case 5:
                FailReads(open);
                break;
            case 6:
                Forge(fresh);
                break;
            case 7:
                PutAgain(fresh);
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

    /// <summary>Where the log would end below a datafile, and not below the control file.</summary>
    private ModelRecord[] KnownToDatafilesAlone
    {
        get
        {
            Lsn reached = ReachedByDatafiles;
            return [.. Model.Records.Where(one => one.End >= Lsn.Max(_control.KnownEndOfWal, _control.RedoLsn)
                && one.End < reached && one.End < Model.Acknowledged)];
        }
    }

    /// <summary>
    /// Below what is known to be whole: by a group behind it, or by the control file. The last group itself can't be
    /// told from one that was torn.
    /// </summary>
    private void Damage(Func<Lsn?, bool> open)
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
        int length = (int)Math.Min(1 + _random.Next(8), last - at); // what is beyond may be all that proves it
        disk.Damage(PathOf(_geometry.NumberOf(at)), _geometry.OffsetOf(at), length);
        hazards.Note(6);
        OpenIfWhole(open);
    }

    /// <summary>
    /// A group is damaged, and the only one that proves it was whole cannot be read for a while: the log is not taken for one
    /// that ends there (H6).
    /// </summary>
    private void FailBehindDamage(Func<Lsn?, bool> open)
    {
        Lsn least = Lsn.Max(_control.RedoLsn, _control.KnownEndOfWal);
        Lsn[] starts = [.. GroupStarts().Where(start => start >= least && start < Model.Acknowledged)];
        Lsn[] lastOfSegment = [.. starts.Zip(starts.Skip(1))
            .Where(pair => _geometry.NumberOf(pair.First) < _geometry.NumberOf(pair.Second)
                && disk.Stat(PathOf(_geometry.NumberOf(pair.First))) is not null)
            .Select(static pair => pair.First)];
        if (lastOfSegment.Length == 0)
            return;
        Lsn at = lastOfSegment[_random.Next(lastOfSegment.Length)];
        disk.Damage(PathOf(_geometry.NumberOf(at)), _geometry.OffsetOf(at), 8);
        Lsn proof = starts.First(start => start > at);
        for (ulong number = _geometry.NumberOf(proof); disk.Stat(PathOf(number)) is not null; number++)
            disk.Faults.On(FileOp.Read).Of(PathOf(number)).Always().Fail(Errno.EIO);
        hazards.Note(6);
        OpenIfWhole(open);
        disk.Faults.Clear();
    }

    /// <summary>Where groups begin, but the first.</summary>
    private IEnumerable<Lsn> GroupStarts()
    {
        for (int i = 1; i < Model.Records.Count; i++)
        {
            if (!Model.Records[i].IsOfGroupOf(Model.Records[i - 1]))
                yield return Model.Records[i - 1].End;
        }
    }

    /// <summary>A log that is refused stays as it was found (H7).</summary>
    private void OpenIfWhole(Func<Lsn?, bool> open, Lsn? mustReach = null)
    {
        Dictionary<string, ulong> before = Segments();
        if (open(mustReach))
            return;
        Dictionary<string, ulong> after = Segments();
        if (before.Count != after.Count
            || before.Any(one => !after.TryGetValue(one.Key, out ulong now) || one.Value != now))
            throw new SimulationFailure("A log was refused, and is not what it was before (H7).");
    }

    private Dictionary<string, ulong> Segments()
    {
        string folder = $"{database.Folder}/wal";
        return disk.List(folder).ToDictionary(static name => name, name => disk.Fingerprint($"{folder}/{name}"));
    }

    /// <summary>
    /// The last segments are gone (H7): nobody goes on below what a file, the control file or a store knows.
    /// </summary>
    private void LoseEnd(Func<Lsn?, bool> open)
    {
        string folder = $"{database.Folder}/wal";
        string[] names = [.. disk.List(folder).Where(static name => SegmentName.TryParse(name, out _))];
        if (names.Length == 0)
            return;
        Lsn known = KnownToOthers;
        int lost = 1 + _random.Next(names.Length);
        ulong first = _geometry.NumberOf(Lsn.Max(ReachedByDatafiles, _control.RedoLsn)) + 1;
        if (_random.Chance(60) && _geometry.StartOf(first) < _control.KnownEndOfWal) // the control file alone knows
            lost = names.Count(name => SegmentName.TryParse(name, out SegmentName one)
                && one.Timeline == _control.Timeline && one.Number >= first);
        foreach (string name in names[^lost..])
            disk.Delete($"{folder}/{name}");
        hazards.Note(7);
        bool isNamed = SegmentName.TryParse(names[^lost], out SegmentName least);
        OpenShort(open, isNamed ? _geometry.StartOf(least.Number) : Lsn.MaxValue, known);
    }

    /// <summary>The log ends here, if it is believed at all; what others know was asked before.</summary>
    private void OpenShort(Func<Lsn?, bool> open, Lsn end, Lsn known)
    {
        if (end < Lsn.Max(_control.KnownEndOfWal, ReachedByDatafiles))
            OpenIfWhole(open, known);
        else
            open(known); // a store is asked when the log is open
    }

    /// <summary>One is gone, and a later one has a group: a gap, and not the end (H6).</summary>
    private void LoseSegment(Func<Lsn?, bool> open)
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
        OpenIfWhole(open);
    }

    /// <summary>
    /// The disk has lost all from some record on, as if it had never been: mostly where only datafiles know more.
    /// </summary>
    private void CutOff(Func<Lsn?, bool> open)
    {
        ModelRecord[] ends = [.. Model.Records.Where(one => one.End >= _control.RedoLsn && one.End < Model.Acknowledged)];
        ModelRecord[] ahead = KnownToDatafilesAlone;
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
        OpenShort(open, at, known);
    }

    /// <summary>A segment can be read no more (H6): that is no end of the log.</summary>
    private void FailReads(Func<Lsn?, bool> open)
    {
        ulong first = _geometry.NumberOf(_control.RedoLsn);
        ulong last = Math.Max(first, _geometry.NumberOf(Model.Acknowledged + -8));
        string path = PathOf(_random.Chance(50) ? last : first + (ulong)_random.Next((int)(last - first) + 1));
        if (disk.Stat(path) is null)
            return;
        int nth = 1 + _random.Next(4);
        if (_random.Chance(30))
        {
            disk.Faults.On(FileOp.Read).Of(path).From(nth).Fail(Errno.EIO);
        }
        else
        {
            for (int i = 2 + _random.Next(3); i > 0; i--) // the drive gets it right in the end
                disk.Faults.On(FileOp.Read).Of(path).Nth(nth++).Fail(Errno.EIO);
        }

        hazards.Note(6);
        open(null);
        disk.Faults.Clear();
    }

    /// <summary>
    /// Behind the end stands a record that is right in all but one thing: of another place, group or lineage, or behind
    /// another record. It is none of this log (H2).
    /// </summary>
    private void Forge(Func<StepEngine> fresh)
    {
        Lsn end = Model.Acknowledged;
        if (Model.Records.Count < 2 || Model.Records[^1].End != end || end <= _control.RedoLsn
            || LastRecordBefore(end) is not { } last || _geometry.BoundaryAtOrAbove(end) - end < last.Length
            || disk.Stat(PathOf(_geometry.NumberOf(end))) is null)
            return;
        var stamp = new RecordStamp
        {
            LengthBytes = last.Length,
            PreviousCrc = new WalRecord(last).Crc,
            Kind = new WalRecord(last).Kind,
            StartLsn = end.Value,
            GroupStart = end.Value,
            TransactionId = new WalRecord(last).TransactionId.Value + 1,
            CommitTimeTicks = new WalRecord(last).CommitTimeTicks + 1,
            RawClockTicks = new WalRecord(last).RawClockTicks,
            OperationCount = new WalRecord(last).OperationCount,
            Lineage = _control.Lineage.Value,
        };
        switch (_random.Next(4))
        {
            case 0:
                stamp.StartLsn += 8UL * (ulong)(1 + _random.Next(100));
                break;
            case 1:
                stamp.GroupStart = new WalRecord(last).GroupStart.Value - 8;
                break;
            case 2:
                stamp.Lineage++;
                break;
            default:
                stamp.PreviousCrc++;
                break;
        }

        RecordCodec.WriteHeader(ref last[0], in stamp, RecordCodec.BodyState(last.AsSpan(RecordCodec.HeaderBytes)));
        using (IFileHandle handle = disk.Open(PathOf(_geometry.NumberOf(end)), FileOpen.ReadWrite))
            handle.Write(_geometry.OffsetOf(end), last);
        hazards.Note(2);
        using StepEngine engine = fresh();
        StepCheck.Run(engine, Model);
    }

    /// <summary>The bytes of the record that ends here; null if they are not in one segment, or not a transaction's.</summary>
    private byte[]? LastRecordBefore(Lsn end)
    {
        Lsn start = Model.Records[^2].End;
        string path = PathOf(_geometry.NumberOf(start));
        if (Model.Records[^1].Transaction.Value == 0 || _geometry.NumberOf(start) != _geometry.NumberOf(end)
            || disk.Stat(path) is null)
            return null;
        byte[] record = new byte[end - start];
        using IFileHandle handle = disk.Open(path, FileOpen.Read);
        return handle.Read(_geometry.OffsetOf(start), record) == record.Length ? record : null;
    }

    /// <summary>
    /// The WAL was moved to another disk and back, by someone who syncs nothing: whatever an opening has read is durable
    /// when it returns (H3, H5), and the segments that it goes on with are as good as new.
    /// </summary>
    private void PutAgain(Func<StepEngine> fresh)
    {
        string folder = $"{database.Folder}/wal";
        foreach (string name in disk.List(folder))
        {
            byte[] bytes = disk.ReadAll($"{folder}/{name}");
            disk.Delete($"{folder}/{name}");
            using IFileHandle handle = disk.Open($"{folder}/{name}", FileOpen.CreateNew);
            handle.Write(0, bytes);
        }

        hazards.Note(3);
        List<(SimulatedDisk Disk, StepModel Model)> left = [];
        using (StepEngine engine = fresh())
        {
            StepCheck.Run(engine, Model);
            Model.CutAt(engine.DurableLsn);
            TakeCrash(left);
            int last = 1 + _random.Next(4);
            disk.BeforeOperation = _ =>
            {
                if (last-- > 0)
                    TakeCrash(left);
            };
            CommitLarge(engine);
            disk.BeforeOperation = null;
        }

        foreach ((SimulatedDisk crashed, StepModel model) in left)
        {
            using StepEngine engine = StepEngine.Open(database.Folder, settings.OptionsFor(crashed, seed + 2), memory);
            StepCheck.Run(engine, model);
        }
    }

    private void TakeCrash(List<(SimulatedDisk Disk, StepModel Model)> left) =>
        left.Add((disk.CrashCopy((long)(_random.NextBits() >> 8)), Model.Copy()));

    /// <summary>Over more than one segment, where a table is there to take it.</summary>
    private void CommitLarge(StepEngine engine)
    {
        if (engine.Control.Catalogue.Tables.FirstOrDefault() is not { } there)
            return;
        var batch = new WriteBatch();
        var steps = new List<ModelStep>();
        for (byte key = 0; key < 3; key++)
        {
            byte[] value = new byte[1 + _random.Next(settings.WalSegmentBytes)];
            value.AsSpan().Fill(0x5A);
            batch.Put(new Table(there.Name, there.Id, there.FileId), [key], value);
            steps.Add(new ModelStep.Change(there.Id, [key], value));
        }

        engine.Commit([(batch, steps)], Model);
    }

    /// <summary>
    /// The last group is lost as a whole, another one takes its place whose first record has the same length, and the
    /// others of the lost one are there again behind it: stale bytes are no part of the log (H2).
    /// </summary>
    private void BringBack(Func<Lsn?, bool> open, Func<StepEngine> fresh)
    {
        Lsn from = Model.LastGroupStart;
        ModelRecord[] group = [.. Model.Records.Where(one => one.End > from)];
        if (group.Length < 2 || group[^1].End != Model.Acknowledged || group[0].Transaction.Value == 0
            || Lsn.Max(KnownToOthers, StepCheck.ListedInStore(disk, _control.Timeline, _geometry)) > from
            || _geometry.NumberOf(from) != _geometry.NumberOf(Model.Acknowledged)
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
