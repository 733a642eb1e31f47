using Akka.Actor;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What a <see cref="DatafileRecoverer"/> is asked, and with whom it works.</summary>
/// <remarks>
/// <code>
///  caller          recoverer (a child of the supervisor)   supervisor      WalWriter     control file    new owner
///    | RunFileRecovery -> |  ClaimFile -------------------> |                 |               |              |
///    |                    |  plan: refused here, nothing has changed          |               |              |
///    |                    |  TakeFileOver ----------------> |  ends the former owner; its views and workers (H13, H41)
///    |                    |  CloseFile ---------------------------------->    |               |              |
///    |                    |  &lt;-------------- FileClosed: the last LSN stamped for it (H40)    |              |
///    |                    |  the file is put into its place                   |               |              |
///    |                    |  StartNewDatafile ------------> |                 |               |              |
///    |                    |  ApplyReplay … SealReplay: to that LSN, durable  -------------------------------> |
///    |                    |  incarnation, generation, LSN ----------------------------------> |              |
///    |                    |  EndReplay: reads ---------------------------------------------------------------> |
///    |                    |  OpenFile: commits --------------------------->   |               |              |
///    |                    |  FileRecoveryEnded -----------> |                 |               |              |
///    | &lt;- FileRecovered - |
/// </code>
/// </remarks>
internal static class FileRecoveryProtocol
{
    /// <summary>
    /// Brings one datafile back while the others serve. Answers: FileRecovered | FileRecoveryPlanned | RequestRefused.
    /// Not to be sent twice.
    /// </summary>
    /// <param name="Request">Which, and from where.</param>
    /// <param name="IsPlanOnly">Says what it would do, and does nothing.</param>
    /// <param name="Cancel">Gives it up, until the file is in its place.</param>
    public sealed record RunFileRecovery(
        DatafileRecoveryRequest Request, bool IsPlanOnly, CancellationToken Cancel) : ILocalMessage;

    public sealed record FileRecovered(DatafileRecoveryResult Result) : ILocalMessage;

    public sealed record FileRecoveryPlanned(RecoveryPlan Plan) : ILocalMessage;

    /// <summary>
    /// To the supervisor: nobody else recovers this file until FileRecoveryEnded, or the sender's death. Answers:
    /// FileClaimed | RequestRefused.
    /// </summary>
    public sealed record ClaimFile(string Datafile) : ILocalMessage;

    public sealed record FileClaimed(FileId File) : ILocalMessage;

    /// <summary>
    /// To the supervisor: the file's owner, if it has one, is ended. Answers: FileTakenOver, when it can neither write
    /// nor apply any more | RequestRefused.
    /// </summary>
    public sealed record TakeFileOver(FileId File) : ILocalMessage;

    /// <param name="File">The datafile.</param>
    /// <param name="Former">What may still be closing; null if nothing is.</param>
    public sealed record FileTakenOver(FileId File, Datafile? Former) : ILocalMessage;

    /// <summary>To the supervisor: the claim ends.</summary>
    /// <param name="File">The datafile.</param>
    /// <param name="Why">
    /// Why it needs recovery still; null if it serves, or was left as it was.
    /// </param>
    public sealed record FileRecoveryEnded(FileId File, Problem? Why) : ILocalMessage;

    /// <summary>The engine ends: given up as soon as that is possible.</summary>
    public sealed record GiveFileRecoveryUp : ILocalMessage;
}
