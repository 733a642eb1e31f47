using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Event;
using Pitr.Actors;
using AkkaSettings = Akka.Actor.Settings;

namespace Pitr.Simulation;

/// <summary>
/// One actor system and its threads, in which world after world lives: to make one costs more than a hundred crashes.
/// </summary>
internal sealed class EngineHouse
{
    [ThreadStatic]
    private static EngineHouse? s_inTheMaking;

    private readonly FiberPool _fibers = new();

    public EngineHouse()
    {
        World = new World(0, _fibers);
        World.Run(async () =>
        {
            s_inTheMaking = this;
            System = ActorSystem.Create(
                "simulation",
                ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(Config), new HouseSetup(this)));
            s_inTheMaking = null;
            System.EventStream.Subscribe(new WorldLog(this, ((ExtendedActorSystem)System).Provider), typeof(Error));
            await World.SettleAsync();
        });
    }

    public ActorSystem System { get; private set; } = null!;

    /// <summary>What lives in it now.</summary>
    public World World { get; private set; }

    /// <summary>The house that a part of it is made for, by Akka and out of its configuration.</summary>
    public static EngineHouse Of(AkkaSettings settings) => settings.Setup.Get<HouseSetup>().Value.House;

    /// <summary>The same for the one part that gets no settings.</summary>
    public static EngineHouse InTheMaking => s_inTheMaking!;

    /// <summary>A new world; the one before is over.</summary>
    public World Begin(long seed) => World = new World(seed, _fibers);

    private static Config Config => ConfigurationFactory.ParseString(
        $$"""
        akka {
          loglevel = ERROR
          stdout-loglevel = OFF
          loggers = []
          log-dead-letters = off
          log-dead-letters-during-shutdown = off
          scheduler.implementation = "{{NameOf<SimulatedScheduler>()}}"
          actor {
            default-dispatcher.type = "{{NameOf<SimulatedDispatcherConfigurator>()}}"
            internal-dispatcher.type = "{{NameOf<SimulatedDispatcherConfigurator>()}}"
            default-mailbox.mailbox-type = "{{NameOf<SimulatedMailbox>()}}"
            mailbox {
              unbounded-queue-based.mailbox-type = "{{NameOf<SimulatedMailbox>()}}"
              unbounded-deque-based.mailbox-type = "{{NameOf<SimulatedMailbox>()}}"
            }
          }
          coordinated-shutdown {
            terminate-actor-system = off
            exit-clr = off
            run-by-clr-shutdown-hook = off
            run-by-actor-system-terminate = off
          }
        }
        pitr {
          wal-dispatcher.type = "{{NameOf<SimulatedDispatcherConfigurator>()}}"
          datafile-dispatcher.type = "{{NameOf<SimulatedDispatcherConfigurator>()}}"
          blocking-dispatcher.type = "{{NameOf<SimulatedDispatcherConfigurator>()}}"
        }
        """);

    private static string NameOf<T>() => $"{typeof(T).FullName}, {typeof(T).Assembly.GetName().Name}";

    private sealed class HouseSetup(EngineHouse house) : Setup
    {
        public EngineHouse House => house;
    }

    /// <summary>
    /// What the actors log as errors, noted at once: an actor that lives longer than a world would have another place
    /// in the second one's order than in the first one's.
    /// </summary>
    private sealed class WorldLog(EngineHouse house, IActorRefProvider provider) : MinimalActorRef
    {
        public override ActorPath Path { get; } = provider.RootPath / "world-log";

        public override IActorRefProvider Provider => provider;

        protected override void TellInternal(object message, IActorRef sender)
        {
            if (message is Error error)
                house.World.Errors.Add(error);
        }
    }
}
