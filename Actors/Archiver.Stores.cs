using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.WalFolderProtocol;

namespace Pitr.Actors;

/// <summary>Stores that are added and removed while the engine runs.</summary>
/// <remarks>
/// ORDER  adding: the store is set up as this database's archive and probed (H27), found not to be ahead (H7), the
///        timeline claimed and taken in it (H26); then pitr.json names it; then it is shipped to, and WAL waits for it.
///        A crash in between leaves a store that nobody archives into yet, and that may be added again. All WAL that is in
///        the folder when that begins is held there until the store has a say in what may go: else what it is to begin with
///        could go before it was told of. For one that takes longer than a minute no more is held than for a fence (H24):
///        past that it is not added.
///        Removing: pitr.json names it no longer; then WAL that only it lacks may go; then, best effort, its timeline is
///        released. What lies in it is not touched.
///        A change of pitr.json that fails may have been made or not, and after a crash either. So it is told as failed, and the
///        same change again, or the contrary one, settles what pitr.json says, also of a store that this start does not archive into.
/// One change at a time, in the order of their coming; a store that does not answer holds up no shipping to others, and
/// its own removal neither: that only writes pitr.json.
/// </remarks>
internal sealed partial class Archiver
{
    /// <summary>So long all WAL may be held for a store that is set up.</summary>
    public static readonly TimeSpan SetUpMax = TimeSpan.FromMinutes(1);

    private readonly Queue<(object Request, IActorRef Asker)> _changes = new();
    private (string Store, IActorRef Asker)? _waitsForHold;
    private Guid? _hold;
    private Func<Problem?> _whyOver = static () => null; // of what is held; any thread
    private readonly List<StoreLine> _removed = []; // a worker is at each still
    private bool _isChanging;
    private bool _isEnding;
    private bool _lastHasFailed; // it may have been made in pitr.json

    private ArchiveShipper ShipperOfAll()
    {
        StoreShipper[] shippers = [.. _lines.Select(line => line.Shipper)];
        _engine.Metrics.UseStores(shippers);
        return new ArchiveShipper(shippers);
    }

    private void NextChange()
    {
        if (_isChanging || !_changes.TryDequeue(out (object Request, IActorRef Asker) next))
            return;
        _isChanging = true;
        if (_isEnding)
            EndChange(next.Asker, new RequestRefused(Problem.From(EngineErrors.ShuttingDown())));
        else if (next.Request is AddStore add)
            HoldFor(add.Store, next.Asker);
        else
            TakeOut(((RemoveStore)next.Request).Store, next.Asker);
    }

    private void EndChange(IActorRef asker, object answer)
    {
        LetHoldGo();
        asker.Tell(answer);
        _isChanging = false;
        NextChange();
    }

    /// <summary>H39: what was let go before it is answered is gone, and nothing else goes until the change has ended.</summary>
    private void HoldFor(string store, IActorRef asker)
    {
        _waitsForHold = (store, asker);
        _hold = FenceToken.Draw(default, _engine.Draw);
        _whyOver = WhyOver(_engine, store);
        _folder.Tell(new HoldWal(_hold.Value, Lsn.Zero));
        Timers.StartPeriodicTimer(nameof(HoldDue), HoldDue.Instance, WalAllowance.LookInterval);
    }

    private void BeginSetUp()
    {
        if (_waitsForHold is not (var store, var asker))
            return;
        _waitsForHold = null;
        SetUp(store, asker);
    }

    private void LetHoldGo()
    {
        if (_hold is { } hold)
            _folder.Tell(new ReleaseWal(hold), ActorRefs.NoSender);
        _hold = null;
        Timers.Cancel(nameof(HoldDue));
    }

    /// <summary>H24. The set-up ends when its store has answered, and finds the same.</summary>
    private void LookAtHold()
    {
        if (_hold is not null && _whyOver() is { } why)
        {
            _log.Warning("No WAL is held any more for the store that is added: {0}", why.Message);
            LetHoldGo();
        }
    }

    private static Func<Problem?> WhyOver(EngineContext engine, string store)
    {
        var held = new WalAllowance(engine);
        long began = engine.Clock.GetTimestamp();
        return () => engine.Clock.GetElapsedTime(began) < SetUpMax
            ? null
            : held.WhyOver((kept, most) => ArchiveErrors.StoreFailed(
                store, ObjectName.Identity, $"{kept} bytes of WAL were kept while it was set up; at most {most} may be"));
    }

    private void SetUp(string text, IActorRef asker)
    {
        EngineContext engine = _engine;
        SystemIdentifier system = _path.System;
        IArchiveStore[] known = [.. _lines.Select(line => line.Store)];
        Func<IArchiveStore, StoreLine> lineFor = _lineFor;
        Func<Problem?> whyOver = _whyOver;
        bool lastHasFailed = _lastHasFailed;
        engine.Workers.Start(
            Self, () => new StoreSetUp(SetUp(engine, system, text, known, lineFor, whyOver, lastHasFailed), asker),
            error => new StoreChangeFailed(error, asker));
    }

    private static StoreLine SetUp(
        EngineContext engine, SystemIdentifier system, string text, IArchiveStore[] known,
        Func<IArchiveStore, StoreLine> lineFor, Func<Problem?> whyOver, bool lastHasFailed)
    {
        StoreAddress address = StoreAddress.Parse(text, engine.Folder);
        if (known.FirstOrDefault(store => store.Place == address.Place) is { } same)
        {
            if (lastHasFailed && !IsInOptions(engine, address.Place))
                NameInSettings(engine, text, address.Place); // its removal has failed, and may have been made
            throw ArchiveErrors.StoreKnown(text, same.Name);
        }
        IArchiveStore store = engine.Stores.Open(address);
        store.CreateRoot();
        ArchiveIdentity.SetUp(store, system, engine.Draw, engine.Clock.GetUtcNow());
        StoreLine line = lineFor(store);
        if (line.Shipper.Ship(engine.DurableLsn) == ShipStep.Failed)
            throw line.Shipper.Retry.LastError!;
        try
        {
            if (whyOver() is { } why)
                throw why.ToException();
            NameInSettings(engine, text, address.Place);
        }
        catch
        {
            ReleaseQuietly(line);
            throw;
        }
        return line;
    }

    private static void ReleaseQuietly(StoreLine line)
    {
        try
        {
            line.Shipper.Release();
        }
        catch (PitrException)
        {
            // Best effort: the next start of this database, in this place, takes the timeline over as it is.
        }
    }

    private void Adopt(StoreSetUp made)
    {
        _lastHasFailed = false;
        if (_isEnding) // pitr.json names it: the next start ships to it
        {
            EndChange(made.Asker, new RequestRefused(Problem.From(EngineErrors.ShuttingDown())));
            return;
        }
        _lines.Add(made.Line);
        _opened.StoreSet.Add(made.Line.Store);
        _shipper = ShipperOfAll();
        _folder.Tell(new UseArchiver(Self));
        Timers.StartPeriodicTimer(nameof(ShipDue), ShipDue.Instance, TimeSpan.Zero, TailInterval);
        _log.Info("WAL is archived into {0}, too", made.Line.Store.Name);
        TellWaiters();
        EndChange(made.Asker, new StoreAdded(StatusOf(made.Line)));
        Step(made.Line);
    }

    private void TakeOut(string text, IActorRef asker)
    {
        EngineContext engine = _engine;
        StoreLine[] lines = [.. _lines];
        bool lastHasFailed = _lastHasFailed;
        engine.Workers.Start(
            Self, () => new StoreTakenOut(text, TakeOut(engine, text, lines, lastHasFailed), asker),
            error => new StoreChangeFailed(error, asker));
    }

    /// <summary>Null: this start does not archive into it, and pitr.json named it.</summary>
    private static StoreLine? TakeOut(EngineContext engine, string text, StoreLine[] lines, bool lastHasFailed)
    {
        string place = PlaceOf(engine, text);
        StoreLine? line = lines.FirstOrDefault(line => line.Store.Place == place);
        if (line is not null && IsInOptions(engine, place))
            throw ArchiveErrors.StoreNotInSettings(line.Store.Name);
        bool wasNamed = StoresInSettings.Remove(
            engine.FileSystem, engine.Folder, store => PlaceOf(engine, store) == place, lastHasFailed);
        if (line is null && !wasNamed)
            throw ArchiveErrors.StoreUnknown(text, string.Join(", ", lines.Select(line => $"'{line.Store.Name}'")));
        if (!wasNamed && !lastHasFailed)
            throw ArchiveErrors.StoreNotInSettings(line!.Store.Name);
        return line;
    }

    private static void NameInSettings(EngineContext engine, string text, string place) => StoresInSettings.Add(
        engine.FileSystem, engine.Folder, text, store => PlaceOf(engine, store) == place);

    private static bool IsInOptions(EngineContext engine, string place) =>
        engine.Options.ArchiveStores.Any(store => PlaceOf(engine, store) == place);

    private static string PlaceOf(EngineContext engine, string address) => StoreAddress.Parse(address, engine.Folder).Place;

    private void FailChange(StoreChangeFailed failed)
    {
        _lastHasFailed |= failed.Why is StorageFailedException;
        EndChange(failed.Asker, new RequestRefused(Problem.From(failed.Why)));
    }

    private void Remove(StoreTakenOut taken)
    {
        _lastHasFailed = false;
        if (taken.Line is not { } line)
        {
            EndChange(taken.Asker, new StoreRemoved(new StoreRemoval(taken.Text, 0, 0, _lines.Count)));
            return;
        }
        ArchiveLag lag = line.Shipper.Lag(_engine.DurableLsn);
        _lines.Remove(line);
        _opened.StoreSet.Remove(line.Store);
        _shipper = ShipperOfAll();
        _log.Warning(
            "WAL is no longer archived into {0}, which lacked {1} bytes of it; stores that are left: {2}",
            line.Store.Name, lag.Bytes, _lines.Count);
        EndChange(taken.Asker, new StoreRemoved(new StoreRemoval(line.Store.Name, lag.Segments, lag.Bytes, _lines.Count)));
        if (line.Shipper.IsIdle)
            Release(line);
        else
            _removed.Add(line); // until its last step has ended
        KeepBound();
        LetGo();
        TellWaiters();
    }

    private sealed record HoldDue : ILocalMessage
    {
        public static readonly HoldDue Instance = new();
    }

    private sealed record StoreSetUp(StoreLine Line, IActorRef Asker) : ILocalMessage;

    private sealed record StoreTakenOut(string Text, StoreLine? Line, IActorRef Asker) : ILocalMessage;

    private sealed record StoreChangeFailed(Exception Why, IActorRef Asker) : ILocalMessage;
}
