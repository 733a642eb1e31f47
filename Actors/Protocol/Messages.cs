using Akka.Actor;

namespace Pitr.Actors;

/// <summary>A message that may cross a wire: plain immutable data with a manifest (style guide M3).</summary>
internal interface IWireMessage;

/// <summary>A message that never leaves the process and may carry live objects (style guide M3).</summary>
internal interface ILocalMessage : INoSerializationVerificationNeeded;

/// <summary>What went wrong, as data: messages carry no exceptions (style guide M4).</summary>
/// <param name="Code">The error's number.</param>
/// <param name="Message">One sentence.</param>
/// <param name="Hint">What to do now.</param>
internal sealed record Problem(ErrorCode Code, string Message, string Hint)
{
    /// <summary>The problem that an exception tells of; whatever is not ours is a bug.</summary>
    public static Problem From(Exception error) => error is PitrException ours
        ? new Problem(ours.Code, ours.Message, ours.Hint)
        : new Problem(
            ErrorCode.InvariantBroken, $"Unexpected {error.GetType().Name}: {error.Message}",
            "This is a bug: keep the folder as it is and report this text with the log.");

    /// <summary>The exception of the kind that the code's thousands name.</summary>
    public PitrException ToException() => ((int)Code / 1000) switch
    {
        1 => new StorageFailedException(Code, Message, Hint),
        3 => new NotFoundException(Code, Message, Hint),
        4 when Code is ErrorCode.Conflict or ErrorCode.SnapshotTooOld => new ConflictException(Code, Message, Hint),
        4 => new RefusedException(Code, Message, Hint),
        5 => new DamageException(Code, Message, Hint) { Path = "" },
        _ => new BugException(Message),
    };
}
