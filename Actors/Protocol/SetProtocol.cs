using Akka.Actor;
using Pitr.Recovery;

namespace Pitr.Actors;

/// <summary>What a <see cref="SetKeeper"/> is told by whoever makes a backup set outside of the engine.</summary>
/// <remarks>
/// <code>
///  copier                                set keeper
///    | BeginSet -----(the supervisor)--> |   holds WAL, checkpoints, reads the catalogue at C, registers intents
///    | &lt;------ SetBegun | RequestRefused |
///    | RenewSet -----------------------> |   within each SetKeeper.Lease, until the end; its fence lives as long
///    | &lt;------- SetRenewed | FenceBroken |
///    | FenceForSet --------------------> |   for each datafile
///    | &lt;-- SetFenced | SetFileGone | RequestRefused
///    |                                   |   not one byte of the file changes from here …
///    | UnfenceForSet ------------------> |   … to here
///    | &lt;------ SetUnfenced | FenceBroken |   broken: the copy is void
///    | EndSet -------------------------> |   logs BackupEnd (H29)
///    | &lt;------ SetEnded | RequestRefused |
///    | ConfirmSet ---------------------> |   before the manifest: the intents are there; the archive has the WAL?
///    | &lt;-- SetConfirmed | RequestRefused |
///    | ReleaseSet ---------------------> |   whether there is a set or not
///    | &lt;-------------------- SetReleased |
/// </code>
/// One request at a time, but RenewSet, which may come at any time. A set that is not renewed, that does not give back a
/// fence which has broken, for which more WAL is kept than may be, or whose engine ends, is let go: its fence ends, its
/// WAL may go, its copier is told that it is void.
/// </remarks>
internal static class SetProtocol
{
    /// <param name="Reason">For status and log, such as "pgtar 4711".</param>
    public sealed record BeginSet(string Reason) : ILocalMessage;

    /// <param name="Keeper">Who takes the other requests.</param>
    /// <param name="Start">What the set is of.</param>
    /// <param name="HasArchive">The database has an archive.</param>
    /// <param name="Ended">Tells when the keeper is no more, and why.</param>
    public sealed record SetBegun(IActorRef Keeper, BackupStart Start, bool HasArchive, SetEnding Ended)
        : ILocalMessage;

    public sealed record RenewSet : ILocalMessage;

    public sealed record SetRenewed : ILocalMessage;

    /// <summary>Not twice: one file is fenced at a time.</summary>
    public sealed record FenceForSet(FileId File) : ILocalMessage;

    public sealed record SetFenced(FencedFile File) : ILocalMessage;

    /// <summary>It was dropped since the set began: it is no part of it.</summary>
    public sealed record SetFileGone(FileId File) : ILocalMessage;

    public sealed record UnfenceForSet : ILocalMessage;

    public sealed record SetUnfenced : ILocalMessage;

    public sealed record EndSet : ILocalMessage;

    /// <param name="StartLsn">min(C, the checkpoint LSNs of the files whose copies are good).</param>
    /// <param name="StopLsn">Of BackupEnd; durable.</param>
    /// <param name="StopTime">Its commit time.</param>
    /// <param name="LastTransaction">The last one at or below it.</param>
    /// <param name="Dropped">Files of the catalogue at C that are no more at the stop.</param>
    public sealed record SetEnded(
        Lsn StartLsn, Lsn StopLsn, DateTimeOffset StopTime, TransactionId LastTransaction,
        IReadOnlyList<FileId> Dropped) : ILocalMessage;

    /// <param name="NeedsArchive">The WAL is not in the set: every store has to have it.</param>
    public sealed record ConfirmSet(bool NeedsArchive) : ILocalMessage;

    /// <param name="IsArchived">Every store has the WAL from start to stop; true also if that was not asked.</param>
    public sealed record SetConfirmed(bool IsArchived) : ILocalMessage;

    public sealed record ReleaseSet : ILocalMessage;

    public sealed record SetReleased : ILocalMessage;
}
