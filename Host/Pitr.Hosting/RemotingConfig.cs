using System.Globalization;
using System.Net;
using Akka.Configuration;

namespace Pitr.Hosting;

/// <summary>
/// The settings of the remoting system on both sides. It holds the Administrator and nothing else: untrusted mode alone
/// still lets a remote caller reach any actor by a direct reference, so the engine must live elsewhere (design §11).
/// </summary>
internal static class RemotingConfig
{
    /// <summary>Name of the engine's remoting system, part of its address.</summary>
    public const string SystemName = "pitr";

    /// <summary>Name of the Administrator.</summary>
    public const string AdministratorName = "admin";

    /// <summary>Where clients find the Administrator.</summary>
    public static string AdministratorPath(string address) =>
        $"akka.tcp://{SystemName}@{address}/user/{AdministratorName}";

    /// <summary>The engine's side, listening.</summary>
    public static Config ForEngine(IPEndPoint listen) =>
        Common(listen.Address.ToString(), listen.Port, $"/user/{AdministratorName}");

    /// <summary>
    /// A client's side: it listens on a port of its own choosing and trusts only the heartbeats of the Administrator's
    /// death watch. (Without them the engine would take a client for dead after ten seconds.)
    /// </summary>
    public static Config ForClient(IPAddress local) =>
        ConfigurationFactory.ParseString("akka { loglevel = OFF, loggers = [] }") // standard output is the answer's
            .WithFallback(Common(local.ToString(), 0, "/system/remote-watcher"));

    private static Config Common(string host, int port, string trustedPath) => ConfigurationFactory.ParseString(
        string.Create(CultureInfo.InvariantCulture, $$"""
        akka {
          loglevel = WARNING
          stdout-loglevel = OFF
          log-dead-letters = off
          log-dead-letters-during-shutdown = off
          coordinated-shutdown {
            exit-clr = off
            run-by-clr-shutdown-hook = off
            run-by-actor-system-terminate = off
          }
          actor {
            provider = remote
            serializers {
              json = "Pitr.Hosting.RefusingSerializer, Pitr.Hosting"
              bytes = "Pitr.Hosting.RefusingSerializer, Pitr.Hosting"
              primitive = "Pitr.Hosting.RefusingSerializer, Pitr.Hosting"
              proto = "Pitr.Hosting.RefusingSerializer, Pitr.Hosting"
              daemon-create = "Pitr.Hosting.RefusingSerializer, Pitr.Hosting"
              akka-misc = "Pitr.Hosting.RemotingMiscSerializer, Pitr.Hosting"
              akka-system-msg = "Pitr.Hosting.RemotingSystemSerializer, Pitr.Hosting"
              pitr-admin = "Pitr.Actors.AdminSerializer, Pitr.Actors"
            }
            serialization-bindings {
              "System.Object" = json
              "Pitr.Actors.AdminProtocol+IAdminMessage, Pitr.Actors" = pitr-admin
            }
          }
          remote {
            untrusted-mode = on
            trusted-selection-paths = ["{{trustedPath}}"]
            log-remote-lifecycle-events = off
            dot-netty.tcp {
              hostname = "{{host}}"
              port = {{port}}
              batching.enabled = off
            }
          }
        }
        """));
}
