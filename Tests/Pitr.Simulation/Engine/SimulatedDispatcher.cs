using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Dispatch.MessageQueues;

namespace Pitr.Simulation;

/// <summary>Runs every actor as steps of the world: one message a step.</summary>
internal sealed class SimulatedDispatcher : MessageDispatcher
{
    private readonly EngineHouse _house;
    private readonly Strand _others;

    public SimulatedDispatcher(MessageDispatcherConfigurator configurator, string id, EngineHouse house)
        : base(configurator)
    {
        (Id, _house, _others) = (id, house, new Strand(id));
        Throughput = 1;
        ThroughputDeadlineTime = 0; // over after each message
        ShutdownTimeout = TimeSpan.FromSeconds(1);
    }

    protected override void ExecuteTask(IRunnable run) =>
        _house.World.Post(run is Mailbox { MessageQueue: SimulatedQueue queue } ? queue.Strand : _others, run);

    /// <summary>There is nothing to shut down.</summary>
    protected override void Shutdown()
    {
    }
}

/// <summary>Made by Akka out of the configuration of <see cref="EngineHouse"/>.</summary>
internal sealed class SimulatedDispatcherConfigurator(Config config, IDispatcherPrerequisites prerequisites)
    : MessageDispatcherConfigurator(config, prerequisites)
{
    private SimulatedDispatcher? _dispatcher;

    public override MessageDispatcher Dispatcher() =>
        _dispatcher ??= new SimulatedDispatcher(this, Config.GetString("id", "dispatcher"), EngineHouse.Of(Prerequisites.Settings));
}

/// <summary>Made by Akka for each actor: a queue that knows whose it is.</summary>
internal sealed class SimulatedMailbox(Settings settings, Config config)
    : MailboxType(settings, config), IProducesMessageQueue<SimulatedQueue>
{
    private readonly EngineHouse _house = EngineHouse.Of(settings);

    public override IMessageQueue Create(IActorRef owner, ActorSystem system) => new SimulatedQueue(owner, _house);
}

/// <summary>The messages of one actor; what is taken out of it is noted.</summary>
internal sealed class SimulatedQueue(IActorRef owner, EngineHouse house)
    : IMessageQueue, IUnboundedMessageQueueSemantics, IUnboundedDequeBasedMessageQueueSemantics
{
    private readonly LinkedList<Envelope> _messages = new();

    public Strand Strand { get; } = new(NameOf(owner));

    public bool HasMessages => _messages.Count > 0;

    public int Count => _messages.Count;

    /// <summary>An actor's path below the system, without what differs between two systems.</summary>
    public static string NameOf(IActorRef actor) => actor.Path.ToStringWithoutAddress();

    public void Enqueue(IActorRef receiver, Envelope envelope) => _messages.AddLast(envelope);

    public void EnqueueFirst(Envelope envelope) => _messages.AddFirst(envelope);

    public bool TryDequeue(out Envelope envelope)
    {
        if (_messages.First is not { } first)
        {
            envelope = default;
            return false;
        }

        _messages.RemoveFirst();
        envelope = first.Value;
        house.World.Note("takes", envelope.Message.GetType().Name);
        return true;
    }

    public void CleanUp(IActorRef cleaned, IMessageQueue deadletters) => _messages.Clear();
}
