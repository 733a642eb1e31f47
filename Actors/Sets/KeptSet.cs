using Akka.Actor;
using Pitr.Recovery;
using static Pitr.Actors.SetProtocol;

namespace Pitr.Actors;

/// <summary>A set whose engine is in this process: speaks with its <see cref="SetKeeper"/>.</summary>
internal sealed class KeptSet(SetBegun begun, KeptSetStart start, KeptSet.Ask ask) : IKeptSet
{
    /// <summary>Asks the engine; ended when the set or the token is.</summary>
    public delegate Task<object> Ask(
        IActorRef actor, object request, SetEnding ended, CancellationToken cancellationToken);

    public KeptSetStart Start => start;

    public Task RenewAsync(CancellationToken cancellationToken) => AskAsync(new RenewSet(), cancellationToken);

    public async Task<FencedFile?> FenceAsync(FileId file, CancellationToken cancellationToken) =>
        await AskAsync(new FenceForSet(file), cancellationToken).ConfigureAwait(false) is SetFenced fenced
            ? fenced.File
            : null;

    public Task UnfenceAsync(CancellationToken cancellationToken) => AskAsync(new UnfenceForSet(), cancellationToken);

    public async Task<KeptSetEnd> EndAsync(CancellationToken cancellationToken)
    {
        var ended = (SetEnded)await AskAsync(new EndSet(), cancellationToken).ConfigureAwait(false);
        HashSet<FileId> live = [.. start.Backup.Control.Catalogue.Files.Select(file => file.Id)];
        live.ExceptWith(ended.Dropped);
        return new KeptSetEnd(
            ended.StartLsn, new BackupStop(ended.StopLsn, ended.StopTime, ended.LastTransaction, live));
    }

    public async Task<bool> ConfirmAsync(bool needsArchive, CancellationToken cancellationToken) =>
        ((SetConfirmed)await AskAsync(new ConfirmSet(needsArchive), cancellationToken).ConfigureAwait(false)).IsArchived;

    public async ValueTask DisposeAsync()
    {
        try
        {
            await AskAsync(new ReleaseSet(), CancellationToken.None).ConfigureAwait(false);
        }
        catch (PitrException)
        {
            // It is let go already, or its engine has ended: nothing of it is left either way.
        }
    }

    private Task<object> AskAsync(object request, CancellationToken cancellationToken) =>
        ask(begun.Keeper, request, begun.Ended, cancellationToken);
}
