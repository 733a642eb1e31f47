using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// A database that crashed is recovered where it lies, to its last commit or an earlier moment; its control file or a
/// datafile may be lost. Crashed at any operation, it is gone on with or begun again as an operator would, and stands at its
/// target; what it was built on is durable, and is the archive's, too (H3, H15, H16, H31, H34).
/// </summary>
internal sealed class StepInPlaceHand(
    SimulatedDisk disk, StepDatabase database, StepSettings settings, StepMemory memory, StepHazards hazards, long seed)
{
    private const int CrashesMax = 4;

    private readonly WalGeometry _geometry = new(settings.WalSegmentBytes);
    private SeededRandom _random = SeededRandom.For(seed, 11);
    private ControlFile? _before;
    private RecoveryTarget _target = RecoveryTarget.Latest;
    private string? _timeline;
    private int _opened;

    /// <summary>
    /// To the end, with what is there, and crashed before each operation: by power loss, or by a kill behind which the kernel
    /// could write back only some of what it had, and told nobody (H3, H10).
    /// </summary>
    public bool IsThorough { get; init; }

    /// <summary>A datafile that is not there any more; null: all are.</summary>
    public FileId? Loses { get; init; }

    /// <summary>Openings that were compared with the oracle; 0 if there was nothing to begin with, or it was refused.</summary>
    public int States { get; private set; }

    /// <summary>Does it on this disk, and goes on with what crashes leave of it.</summary>
    public void Touch()
    {
        _before = new ControlFileStore(disk, database.Folder).ReadLive();
        if (!settings.HasArchive || database.Model.Sets.Count == 0 || _before.Recovery is not null)
            return; // the plan of one that is under way is nowhere else
        if (!IsThorough)
        {
            _target = AnyTarget();
            _timeline = _random.Chance(50) ? _before.Timeline.ToString() : null;
            Spoil();
        }
        else if (Loses is { } file)
        {
            string path = Catalogue.FullPath(database.Folder, _before.Catalogue.File(file)!.Path);
            disk.Delete(path);
            disk.SyncFolder(DurableReplace.FolderOf(path));
        }

        var left = new List<(SimulatedDisk Disk, Lsn Cut)>();
        if (Begin(disk, left) is not { } cut)
            return;
        left.Add((disk, cut));
        foreach ((SimulatedDisk crashed, Lsn planned) in left)
        {
            if (IsThorough && crashed != disk)
                GoOnOnce(crashed, planned);
            else
                GoOn(crashed, planned);
        }
    }

    // ---- what came before ------------------------------------------------------------------------

    private RecoveryTarget AnyTarget()
    {
        ModelRecord[] reached =
            [.. database.Model.Records.Where(record => record.End <= database.Model.Acknowledged && record.Transaction.Value > 0)];
        if (reached.Length == 0 || _random.Chance(50))
            return RecoveryTarget.Latest;
        ModelRecord record = reached[^(1 + _random.Next(Math.Min(8, reached.Length)))];
        return _random.Next(4) switch
        {
            0 => RecoveryTarget.Before(record.End),
            1 => RecoveryTarget.Including(record.Transaction),
            2 => RecoveryTarget.Before(record.Transaction),
            _ => RecoveryTarget.Including(record.End),
        };
    }

    private void Spoil()
    {
        string control = new ControlFileStore(disk, database.Folder).FilePath;
        switch (_random.Next(3))
        {
            case 0:
                disk.Delete(control);
                break;
            case 1:
                disk.Damage(control, _random.Next((int)disk.Stat(control)!.LengthBytes), 1 + _random.Next(20));
                break;
        }

        CatalogueFile file = _before!.Catalogue.Files[_random.Next(_before.Catalogue.Files.Length)];
        string path = Catalogue.FullPath(database.Folder, file.Path);
        if (_random.Chance(50) && disk.Stat(path) is { LengthBytes: > 0 } there)
        {
            if (_random.Chance(50))
                disk.Delete(path);
            else
                disk.Damage(path, _random.Next((int)there.LengthBytes), 1 + _random.Next(20_000));
            hazards.Note(16);
        }

        disk.SyncFolder(database.Folder);
    }

    // ---- the recovery ----------------------------------------------------------------------------

    /// <summary>Up to the control file; null if it is refused, and nothing is written then.</summary>
    private Lsn? Begin(SimulatedDisk on, List<(SimulatedDisk, Lsn)>? crashes)
    {
        PitrOptions options = settings.OptionsFor(on, seed + ++_opened);
        EngineContext engine = EngineFactory.ContextFor(database.Folder, options, memory.For(options));
        PlannedInPlace planned;
        try
        {
            planned = InPlacePlanner.Plan(RequestOf(engine));
        }
        catch (RefusedException)
        {
            return null;
        }

        Lsn cut = planned.Plan.StopsAt.Lsn;
        RequireTarget(cut);
        if (crashes is not null)
            Watch(on, left => crashes.Add((left, cut)));
        InPlaceWriter.Run(planned, static _ => { }, CancellationToken.None);
        on.BeforeOperation = null;
        return cut;
    }

    private InPlaceRequest RequestOf(EngineContext engine)
    {
        IReadOnlyList<IArchiveStore> stores = EngineFactory.StoresOf(engine);
        return new InPlaceRequest
        {
            Folder = database.Folder,
            Environment = engine.Environment,
            Outside = OutsideFiles.Of(
                engine.FileSystem, database.Folder, CurrentOf(engine.FileSystem)?.Place, StepSettings.Process),
            Current = CurrentOf(engine.FileSystem),
            Local = WalSurvey.Of(engine.FileSystem, $"{database.Folder}/{EngineCreation.WalFolderName}"),
            Target = _target,
            SetStore = stores[0],
            Archives = stores,
            Timeline = _timeline,
            Moved = IsThorough // as an operator says it who knows what lies there
                ? new Dictionary<string, string> { [StepSettings.Outside] = StepSettings.Outside } : [],
            Random = engine.Draw,
        };
    }

    private ControlFile? CurrentOf(IFileSystem on)
    {
        var store = new ControlFileStore(on, database.Folder);
        try
        {
            return store.Exists ? store.ReadLive() : null;
        }
        catch (DamageException)
        {
            return null;
        }
    }

    private void RequireTarget(Lsn cut)
    {
        StepModel model = database.Model;
        if (_target.Kind == RecoveryTarget.Form.Latest)
        {
            if (cut < model.Acknowledged || !model.Records.Any(record => record.End == cut))
                throw new SimulationFailure($"The plan ends at {cut}, and acknowledged was {model.Acknowledged} (H7).");
            return;
        }

        ModelRecord? last = model.LastOf(_target, model.Sets[^1].Stop);
        ModelRecord? effect = last is null ? null : model.LastEffectAt(last.End);
        if (model.LastEffectAt(cut)?.End != effect?.End)
            throw new SimulationFailure($"The plan to {_target} ends at {cut}, and the last record of the target is {last?.End} (I11).");
    }

    /// <summary>What an operator does next, by what lies there; the opening is crashed as well.</summary>
    private void GoOn(SimulatedDisk left, Lsn cut)
    {
        cut = Prepared(left, cut);
        var again = new List<SimulatedDisk>();
        Watch(left, again.Add);
        Finish(left, cut);
        again.Add(Crashed(left));
        foreach (SimulatedDisk crashed in again)
            Finish(crashed, Prepared(crashed, cut));
    }

    /// <summary>The same, crashed only when it is over: what was believed on the way is durable.</summary>
    private void GoOnOnce(SimulatedDisk left, Lsn cut)
    {
        cut = Prepared(left, cut);
        Finish(left, cut);
        Finish(left.CrashCopy((long)(_random.NextBits() >> 8)), cut);
    }

    /// <summary>
    /// The control file is that of the recovery, or of its end; or it is the former one, since the new one had not got its name
    /// durably: then the recovery is begun again.
    /// </summary>
    private Lsn Prepared(SimulatedDisk left, Lsn cut)
    {
        ControlFile? control = CurrentOf(left);
        return control is not null && (control.Recovery is not null || control.Lineage != _before!.Lineage)
            ? cut
            : Begin(left, crashes: null) ?? throw new SimulationFailure($"The recovery to {_target} was begun, and is refused now.");
    }

    private void Finish(SimulatedDisk left, Lsn cut)
    {
        StepModel model = database.Model.Fork(cut, _geometry.BoundaryAtOrAbove(cut));
        using (StepEngine engine = StepEngine.Open(
            database.Folder, settings.OptionsFor(left, seed + ++_opened), memory))
        {
            left.BeforeOperation = null;
            model.CutAt(StepCheck.Run(engine, model));
            RequireParents(engine, model);
        }

        States++;
        hazards.Note(32);
        if (left.OpenHandleCount > 0 || left.HeldLockCount > 0)
            throw new SimulationFailure($"Open are: {string.Join(", ", left.OpenHandlePaths)}.");
    }

    /// <summary>What the branch was begun on is there up to the fork: it was read, and the archive needs it (H3, H31).</summary>
    private void RequireParents(StepEngine engine, StepModel model)
    {
        StoreShipper shipper = engine.Shippers[0];
        ShipStep step = ShipStep.Prepared;
        for (int i = 0; i < 60 && step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail; i++)
            step = engine.Ship(shipper, model);
        if (step == ShipStep.Failed && shipper.Retry.LastError is DamageException damage)
            throw new SimulationFailure($"WAL below the fork is lost, and the database was begun on it: {damage.Message} (H3, H31)");
        hazards.Note(31);
    }

    // ---- crashes ---------------------------------------------------------------------------------

    private void Watch(SimulatedDisk on, Action<SimulatedDisk> take)
    {
        if (IsThorough)
        {
            on.BeforeOperation = operation =>
                take(operation % 2 == 0 ? on.CrashCopy((long)(_random.NextBits() >> 8)) : Unwritten(on, ref _random));
            return;
        }

        int percent = 1 + _random.Next(12);
        int taken = 0;
        on.BeforeOperation = _ =>
        {
            if (taken < CrashesMax && _random.Chance(percent))
            {
                taken++;
                take(Crashed(on));
            }
        };
    }

    /// <summary>As a killed process leaves it, of which the kernel could write back only some of what it had.</summary>
    public static SimulatedDisk Unwritten(SimulatedDisk on, ref SeededRandom random)
    {
        SimulatedDisk killed = on.KillCopy();
        while (killed.HasUnsynced("/", names: false))
            killed.LoseWriteback(ref random);
        return killed;
    }

    private SimulatedDisk Crashed(SimulatedDisk on)
    {
        if (_random.Chance(75))
            return on.CrashCopy((long)(_random.NextBits() >> 8));
        SimulatedDisk killed = on.KillCopy();
        if (_random.Chance(40))
            killed.LoseWriteback(ref _random);
        return killed;
    }
}
