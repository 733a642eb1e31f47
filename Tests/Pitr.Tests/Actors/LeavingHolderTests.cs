using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Tests;

/// <summary>Whoever gives a fence back is answered, also if the datafile's actor ends before it could.</summary>
public sealed class LeavingHolderTests : IDisposable
{
    private static readonly Unfence Request = new(FenceToken.Draw(FileId.Main, static () => 7));

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly ActorSystem _system = ActorSystem.Create("leaving");

    public void Dispose() => _system.Dispose();

    [Fact]
    public async Task He_has_the_answer_of_the_datafiles_actor()
    {
        using Inbox owner = Inbox.Create(_system);
        using Inbox asker = Inbox.Create(_system);
        IActorRef leaving = _system.ActorOf(LeavingHolder.PropsFor(owner.Receiver, Request.Token, asker.Receiver));
        var answer = new Unfenced(Request.Token, "main", new Lsn(8), 0);
        leaving.Tell(answer, owner.Receiver);
        Assert.Equal(answer, await asker.ReceiveAsync(Patience));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task His_copy_proves_nothing_if_the_datafiles_actor_has_ended(bool isDeadBefore)
    {
        IActorRef owner = _system.ActorOf(ActorProps.Of(static () => new Silent()));
        if (isDeadBefore)
            await owner.GracefulStop(Patience);
        using Inbox asker = Inbox.Create(_system);
        _system.ActorOf(LeavingHolder.PropsFor(owner, Request.Token, asker.Receiver));
        owner.Tell(PoisonPill.Instance);
        var broken = Assert.IsType<FenceBroken>(await asker.ReceiveAsync(Patience));
        Assert.Equal((Request.Token, ErrorCode.FenceUnknown), (broken.Token, broken.Why.Code));
    }

    private sealed class Silent : UntypedActor
    {
        protected override void OnReceive(object message)
        {
        }
    }
}
