using System.Threading.Channels;
using Akka.Actor;

namespace Pitr.Tests;

/// <summary>A reference that keeps what it is sent.</summary>
internal sealed class RemoteInbox
{
    private readonly Channel<object> _messages = Channel.CreateUnbounded<object>();

    public RemoteInbox(ActorSystem system) => Ref = system.ActorOf(Props.Create(() => new Keeper(_messages.Writer)));

    public IActorRef Ref { get; }

    public async Task<object> NextAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        return await _messages.Reader.ReadAsync(patience.Token);
    }

    public List<object> Rest()
    {
        var rest = new List<object>();
        while (_messages.Reader.TryRead(out object? message))
            rest.Add(message);
        return rest;
    }

    private sealed class Keeper(ChannelWriter<object> messages) : UntypedActor
    {
        protected override void OnReceive(object message) => messages.TryWrite(message);
    }
}
