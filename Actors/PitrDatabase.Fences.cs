using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr;

/// <content>Fences: datafiles held still for a copy.</content>
public sealed partial class PitrDatabase
{
    /// <summary>
    /// Has a datafile left alone, so that any tool can copy it, until it is unfenced or the lease ends.
    /// </summary>
    /// <param name="datafile">Its name.</param>
    /// <param name="lease">More than zero, at most 24 hours.</param>
    /// <param name="reason">For status and log.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason = "", CancellationToken cancellationToken = default) =>
        FenceForAsync(null, _engine.Options.Process.Machine, datafile, lease, reason, cancellationToken);

    /// <summary>
    /// The same for an actor: its death breaks the fence as well. When the fence breaks, of whatever cause, the actor is
    /// told by a <see cref="BrokenFence"/>: its copy is void.
    /// </summary>
    /// <param name="datafile">Its name.</param>
    /// <param name="lease">More than zero, at most 24 hours.</param>
    /// <param name="reason">For status and log.</param>
    /// <param name="holder">An actor of the engine's actor system, or of one that can be reached from it.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, IActorRef holder,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(holder);
        return FenceForAsync(holder, holder.Path.ToString(), datafile, lease, reason, cancellationToken);
    }

    /// <summary>The same for a holder that bears a name.</summary>
    internal Task<FenceGrant> FenceForAsync(
        IActorRef? holder, string name, string datafile, TimeSpan lease, string reason,
        CancellationToken cancellationToken) =>
        Traces.RunAsync(
            "pitr.fence", Folder,
            () => TakeFenceAsync(
                new Fence(datafile, holder, name, reason, lease) { IsOfApplication = true }, cancellationToken),
            static (activity, grant) => activity.SetTag("pitr.datafile", grant.Datafile));

    private async Task<FenceGrant> TakeFenceAsync(Fence fence, CancellationToken cancellationToken)
    {
        Task<Fenced> asked = AskAsync<Fenced>(
            _actors.Supervisor, fence, CancellationToken.None, Timeout.InfiniteTimeSpan);
        Fenced fenced;
        try
        {
            fenced = await asked.WaitAsync(_engine.Options.RequestTimeout, _engine.Clock, cancellationToken)
                .ConfigureAwait(false);
        }
        catch (Exception error) when (error is TimeoutException or OperationCanceledException)
        {
            GiveBackWhenGranted(asked);
            if (error is TimeoutException)
                throw EngineErrors.TimedOut(nameof(Fence), _engine.Options.RequestTimeout);
            throw;
        }

        return new FenceGrant(
            fenced.Token, fenced.Datafile, fenced.Path, fenced.LengthBytes, fenced.CheckpointLsn, fenced.Until);
    }

    /// <summary>Prolongs a fence; returns until when.</summary>
    public async Task<DateTimeOffset> RenewFenceAsync(
        Guid fenceId, TimeSpan lease, CancellationToken cancellationToken = default) =>
        (await AskAsync<FenceRenewed>(_actors.Supervisor, new RenewFence(fenceId, lease), cancellationToken)
            .ConfigureAwait(false)).Until;

    /// <summary>
    /// Ends a fence. When the task completes the copy is good, and what waited is flushed if it was the last fence.
    /// </summary>
    /// <exception cref="RefusedException">FenceUnknown, FenceBroken: the copy is void.</exception>
    public Task<UnfenceResult> UnfenceAsync(Guid fenceId, CancellationToken cancellationToken = default) =>
        Traces.RunAsync(
            "pitr.unfence", Folder,
            async () =>
            {
                Unfenced unfenced = await AskAsync<Unfenced>(
                    _actors.Supervisor, new Unfence(fenceId), cancellationToken, Timeout.InfiniteTimeSpan)
                        .ConfigureAwait(false);
                return new UnfenceResult(unfenced.Datafile, unfenced.FlushedLsn, unfenced.HoldersRemaining);
            },
            static (activity, result) => activity.SetTag("pitr.datafile", result.Datafile));

    /// <summary>Ends the only fence of a datafile.</summary>
    public async Task<UnfenceResult> UnfenceAsync(string datafile, CancellationToken cancellationToken = default)
    {
        EngineStatus status = await GetStatusAsync(cancellationToken).ConfigureAwait(false);
        DatafileStatus file = status.Datafiles.FirstOrDefault(file => file.Name == datafile)
            ?? throw EngineErrors.DatafileUnknown(datafile);
        return file.Fences.Count switch
        {
            0 => throw EngineErrors.NotFenced(datafile),
            1 => await UnfenceAsync(file.Fences[0].FenceId, cancellationToken).ConfigureAwait(false),
            _ => throw EngineErrors.SeveralFences(datafile, file.Fences.Select(fence => fence.FenceId)),
        };
    }

    /// <summary>Nobody waits for the fence any more: it must not live until its lease ends.</summary>
    private void GiveBackWhenGranted(Task<Fenced> asked) => asked.ContinueWith(
        granted =>
        {
            if (granted.IsCompletedSuccessfully)
                _actors.Supervisor.Tell(new Unfence(granted.Result.Token), ActorRefs.NoSender);
            else
                _ = granted.Exception; // refused: nothing is left of it
        },
        CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
}
