using Akka.Actor;
using Akka.Configuration;

namespace Pitr.Actors;

/// <summary>
/// The dispatchers that an engine's actors run on; added as a fallback to whatever system they are in.
/// </summary>
internal static class EngineConfig
{
    /// <summary>A thread of its own for the actor that writes and syncs the WAL.</summary>
    public const string WalDispatcher = "pitr.wal-dispatcher";

    /// <summary>Short messages only: the datafiles' buffers.</summary>
    public const string DatafileDispatcher = "pitr.datafile-dispatcher";

    /// <summary>Actors whose handlers do file I/O: control file, segment folder, archive.</summary>
    public const string BlockingDispatcher = "pitr.blocking-dispatcher";

    /// <summary>
    /// Makes the dispatchers known to a system, once: what is added stays, and each addition costs more than the one
    /// before.
    /// </summary>
    public static void AddTo(ActorSystem system)
    {
        if (!system.Settings.Config.HasPath(WalDispatcher))
            system.Settings.InjectTopLevelFallback(Dispatchers);
    }

    public static Config Dispatchers { get; } = ConfigurationFactory.ParseString(
        """
        pitr {
          wal-dispatcher { type = PinnedDispatcher, throughput = 16 }
          datafile-dispatcher {
            type = ForkJoinDispatcher
            throughput = 32
            dedicated-thread-pool { thread-count = 2, threadtype = background }
          }
          blocking-dispatcher {
            type = ForkJoinDispatcher
            throughput = 1
            dedicated-thread-pool { thread-count = 4, threadtype = background }
          }
        }
        """);

    /// <summary>
    /// A system of the engine's own: no remoting, no signal handling, log through Akka's default logger.
    /// </summary>
    public static Config OwnSystem { get; } = Dispatchers.WithFallback(ConfigurationFactory.ParseString(
        """
        akka {
          loglevel = WARNING
          stdout-loglevel = OFF
          log-dead-letters = off
          log-dead-letters-during-shutdown = off
          coordinated-shutdown {
            terminate-actor-system = off
            exit-clr = off
            run-by-clr-shutdown-hook = off
            run-by-actor-system-terminate = off
          }
        }
        """));
}
