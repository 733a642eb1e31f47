using Akka.Actor;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>A request of a session that is carried out: its client may give it up, and the session's end does.</summary>
/// <param name="client">Who gets the answer.</param>
/// <param name="request">What was asked.</param>
/// <param name="sessionEnded">Gives it up as well.</param>
/// <remarks>THREADS  the Administrator's, but for <see cref="GivenUp"/>.</remarks>
internal sealed class RequestUnderWay(IActorRef client, AdminRequest request, CancellationToken sessionEnded) : IDisposable
{
    private readonly CancellationTokenSource _givenUp = CancellationTokenSource.CreateLinkedTokenSource(sessionEnded);

    /// <summary>Who gets the answer.</summary>
    public IActorRef Client { get; } = client;

    /// <summary>What was asked.</summary>
    public AdminRequest Request { get; } = request;

    /// <summary>Whether nobody waits for the answer any more.</summary>
    public bool IsGivenUp => _givenUp.IsCancellationRequested;

    /// <summary>The same, for who carries it out.</summary>
    public CancellationToken GivenUp => _givenUp.Token;

    /// <summary>Its client does not wait for it any more.</summary>
    public void GiveUp() => _givenUp.Cancel();

    /// <summary>It has ended.</summary>
    public void Dispose() => _givenUp.Dispose();
}
