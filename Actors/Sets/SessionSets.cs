using System.Collections.Concurrent;
using Pitr.Storage;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>The backup sets that the client of one session makes: let go with the session.</summary>
/// <remarks>THREADS  any.</remarks>
internal sealed class SessionSets
{
    /// <summary>A client makes one at a time; more are a client that forgets them.</summary>
    private const int SetsMax = 4;

    private const int ControlPieceBytes = 64 << 10;

    private readonly ConcurrentDictionary<long, (IKeptSet Set, byte[] Control)> _sets = [];
    private long _numbers;
    private volatile bool _isClosed;

    /// <summary>True if a request is for this.</summary>
    public static bool Takes(AdminRequest request) => request is BeginSet or ReadSetControl or RenewSet or FenceForSet
        or UnfenceForSet or EndSet or ConfirmSet or ReleaseSet;

    /// <summary>Carries out a request of the session.</summary>
    public async Task<AdminAnswer> CarryOutAsync(
        AdminRequest request, IDatabaseTarget engine, CancellationToken ended)
    {
        long id = request.RequestId;
        switch (request)
        {
            case BeginSet begin:
                return await BeginAsync(begin, engine, ended).ConfigureAwait(false);
            case ReadSetControl read:
                byte[] control = Of(read.Set).Control;
                int from = Math.Clamp(read.From, 0, control.Length);
                return new SetControlRead(
                    id, control.AsMemory(from, Math.Min(ControlPieceBytes, control.Length - from)));
            case RenewSet renew:
                await Of(renew.Set).Set.RenewAsync(ended).ConfigureAwait(false);
                return new Done(id);
            case FenceForSet fence:
                return new SetFileFenced(
                    id, await Of(fence.Set).Set.FenceAsync(fence.File, ended).ConfigureAwait(false));
            case UnfenceForSet unfence:
                await Of(unfence.Set).Set.UnfenceAsync(ended).ConfigureAwait(false);
                return new Done(id);
            case EndSet end:
                IKeptSet set = Of(end.Set).Set;
                KeptSetEnd at = await set.EndAsync(ended).ConfigureAwait(false);
                return new SetEnded(
                    id, at.StartLsn, at.Stop.StopLsn, at.Stop.StopTime, at.Stop.LastTransactionId,
                    [.. set.Start.Backup.Control.Catalogue.Files.Select(file => file.Id)
                        .Where(file => !at.Stop.LiveFiles.Contains(file))]);
            case ConfirmSet confirm:
                return new SetConfirmed(
                    id, await Of(confirm.Set).Set.ConfirmAsync(confirm.NeedsArchive, ended).ConfigureAwait(false));
            case ReleaseSet release:
                if (_sets.TryRemove(release.Set, out (IKeptSet Set, byte[]) released))
                    await released.Set.DisposeAsync().ConfigureAwait(false);
                return new Done(id);
            default:
                throw new BugException($"No set has an answer to '{request.GetType().Name}'.");
        }
    }

    /// <summary>The session has ended.</summary>
    public void Close()
    {
        _isClosed = true;
        foreach (long number in _sets.Keys)
        {
            if (_sets.TryRemove(number, out (IKeptSet Set, byte[]) left))
                _ = left.Set.DisposeAsync().AsTask();
        }
    }

    private async Task<AdminAnswer> BeginAsync(BeginSet begin, IDatabaseTarget engine, CancellationToken ended)
    {
        string reason = Administrator.Shown(begin.Reason);
        if (_sets.Count >= SetsMax)
            throw EngineErrors.SetIsBusy(reason);
        IKeptSet set = await engine.KeepSetAsync(reason, ended).ConfigureAwait(false);
        long number = Interlocked.Increment(ref _numbers);
        KeptSetStart start = set.Start;
        byte[] control = ControlFileStore.Encode(start.Backup.Control);
        _sets[number] = (set, control);
        if (_isClosed)
            Close(); // it ended meanwhile, and did not know of this one
        return new SetBegun(
            begin.RequestId, number, start.Backup.BackupId, start.Backup.CatalogueLsn, start.Backup.BeganAt,
            control.Length, start.Place, start.HasArchive);
    }

    private (IKeptSet Set, byte[] Control) Of(long number) => _sets.TryGetValue(number, out (IKeptSet, byte[]) found)
        ? found
        : throw EngineErrors.SetLetGo("this session");
}
