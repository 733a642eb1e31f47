using System.Globalization;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Remote.Transport.DotNetty;

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
    /// <param name="address">HOST:PORT of the administration.</param>
    /// <param name="tls">Whether TLS is spoken: to Akka that is another protocol.</param>
    public static string AdministratorPath(string address, bool tls) =>
        $"akka.{(tls ? "ssl." : "")}tcp://{SystemName}@{address}/user/{AdministratorName}";

    /// <summary>The engine's side, listening.</summary>
    public static ActorSystemSetup ForEngine(ListenAddress listen, TlsIdentity? tls, Serilog.ILogger log)
    {
        IPEndPoint bind = listen.ToEndPoint();
        Config config = SerilogLogger.Config(log).WithFallback(
            Common(bind.Address.ToString(), listen.Host, bind.Port, $"/user/{AdministratorName}", tls is not null));
        ActorSystemSetup setup =
            ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(config), new SerilogSetup(log));
        return tls is null ? setup : setup.And(SslSetup(tls, tls.TrustsClient));
    }

    /// <summary>
    /// A client's side: it listens on a port of its own choosing and trusts only the heartbeats of the Administrator's
    /// death watch. (Without them the engine would take a client for dead after ten seconds.)
    /// </summary>
    /// <param name="local">The address of this machine under which the engine sees it.</param>
    /// <param name="host">The engine's host, as the address names it.</param>
    /// <param name="tls">What this client shows; null on loopback.</param>
    public static ActorSystemSetup ForClient(IPAddress local, string host, TlsIdentity? tls)
    {
        Config config = ConfigurationFactory
            .ParseString("akka { loglevel = OFF, loggers = [] }") // standard output is the answer's
            .WithFallback(Common(
                local.ToString(), local.ToString(), 0, "/system/remote-watcher", tls is not null));
        var setup = ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(config));
        return tls is null ? setup : setup.And(SslSetup(tls, (peer, chain) => tls.TrustsServer(peer, chain, host)));
    }

    private static DotNettySslSetup SslSetup(TlsIdentity tls, Func<X509Certificate?, X509Chain?, bool> trusts) => new(
        tls.Certificate, suppressValidation: false, requireMutualAuthentication: true,
        validateCertificateHostname: true, (peer, chain, _, _, _) => trusts(peer, chain));

    private static Config Common(string bind, string host, int port, string trustedPath, bool tls) => ConfigurationFactory.ParseString(
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
              hostname = "{{bind}}"
              public-hostname = "{{host}}"
              port = {{port}}
              batching.enabled = off
              tcp-reuse-addr = off # on Linux .NET makes of it SO_REUSEPORT: two engines would share one port
              enable-ssl = {{(tls ? "on" : "off")}}
              ssl {
                suppress-validation = off
                require-mutual-authentication = on
                validate-certificate-hostname = on
              }
            }
          }
        }
        """));
}
