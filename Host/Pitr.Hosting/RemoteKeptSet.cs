using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Hosting;

/// <summary>A backup set that is made here while an engine behind an address keeps still what it needs.</summary>
internal sealed class RemoteKeptSet : IKeptSet
{
    /// <summary>How long the end of it may keep somebody who leaves: the session's end does the same.</summary>
    private static readonly TimeSpan ReleaseWait = TimeSpan.FromSeconds(5);

    private readonly long _set;
    private readonly Func<AdminRequest, CancellationToken, Task<AdminAnswer>> _ask;

    private RemoteKeptSet(
        long set, KeptSetStart start, Func<AdminRequest, CancellationToken, Task<AdminAnswer>> ask)
    {
        _set = set;
        Start = start;
        _ask = ask;
    }

    public KeptSetStart Start { get; }

    public static async Task<RemoteKeptSet> BeginAsync(
        string folder, string reason, Func<AdminRequest, CancellationToken, Task<AdminAnswer>> ask,
        CancellationToken cancellationToken)
    {
        SetBegun begun = As<SetBegun>(await ask(new BeginSet(0, reason), cancellationToken).ConfigureAwait(false));
        var content = new MemoryStream();
        while (content.Length < begun.ControlBytes)
        {
            ReadOnlyMemory<byte> piece = As<SetControlRead>(await ask(
                new ReadSetControl(0, begun.Set, (int)content.Length), cancellationToken).ConfigureAwait(false)).Content;
            if (piece.Length == 0)
                break; // told as damage below
            content.Write(piece.Span);
        }

        ControlFile control = ControlFileStore.Decode("the engine's control file", content.ToArray());
        var start = new BackupStart(begun.BackupId, control, begun.CatalogueLsn, begun.BeganAt);
        return new RemoteKeptSet(
            begun.Set, new KeptSetStart(start, folder, begun.Place, begun.HasArchive), ask);
    }

    public Task RenewAsync(CancellationToken cancellationToken) => _ask(new RenewSet(0, _set), cancellationToken);

    public async Task<FencedFile?> FenceAsync(FileId file, CancellationToken cancellationToken) =>
        As<SetFileFenced>(await _ask(new FenceForSet(0, _set, file), cancellationToken).ConfigureAwait(false)).File;

    public async Task UnfenceAsync(CancellationToken cancellationToken) =>
        As<Done>(await _ask(new UnfenceForSet(0, _set), cancellationToken).ConfigureAwait(false));

    public async Task<KeptSetEnd> EndAsync(CancellationToken cancellationToken)
    {
        SetEnded ended = As<SetEnded>(await _ask(new EndSet(0, _set), cancellationToken).ConfigureAwait(false));
        HashSet<FileId> live = [.. Start.Backup.Control.Catalogue.Files.Select(file => file.Id)];
        live.ExceptWith(ended.Dropped);
        return new KeptSetEnd(
            ended.StartLsn, new BackupStop(ended.StopLsn, ended.StopTime, ended.LastTransaction, live));
    }

    public async Task<bool> ConfirmAsync(bool needsArchive, CancellationToken cancellationToken) =>
        As<SetConfirmed>(await _ask(new ConfirmSet(0, _set, needsArchive), cancellationToken).ConfigureAwait(false))
        .IsArchived;

    public async ValueTask DisposeAsync()
    {
        using var wait = new CancellationTokenSource(ReleaseWait);
        try
        {
            await _ask(new ReleaseSet(0, _set), wait.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is PitrException or OperationCanceledException)
        {
            // The session is lost, or ends next: the engine lets go of it by itself.
        }
    }

    private static T As<T>(AdminAnswer answer)
        where T : AdminAnswer =>
        answer as T ?? throw AdminErrors.NotAnEngine($"'{answer.GetType().Name}' where '{typeof(T).Name}' belongs");
}
