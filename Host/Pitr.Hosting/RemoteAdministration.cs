using Akka.Actor;
using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>The engine's remoting system, with the Administrator as its only actor.</summary>
internal sealed class RemoteAdministration : IAsyncDisposable
{
    private readonly ActorSystem _system;

    private RemoteAdministration(ActorSystem system, string address) => (_system, Address) = (system, address);

    /// <summary>The actors that a caller could reach by a path of its own making.</summary>
    public IEnumerable<IActorRef> Reachable => ((LocalActorRef)((ExtendedActorSystem)_system).Guardian).Children;

    /// <summary>HOST:PORT that it listens on.</summary>
    public string Address { get; }

    /// <summary>
    /// Begins to listen. The Administrator comes when <see cref="Admit"/> is called: the port is known before.
    /// </summary>
    /// <exception cref="StorageFailedException">The address cannot be listened on.</exception>
    public static RemoteAdministration Listen(ListenAddress listen, TlsIdentity? tls, Serilog.ILogger log)
    {
        ActorSystem system;
        try
        {
            system = ActorSystem.Create(RemotingConfig.SystemName, RemotingConfig.ForEngine(listen, tls, log));
        }
        catch (Exception failure) when (failure is not PitrException)
        {
            throw ListenFailed(listen, failure);
        }
        Address bound = ((ExtendedActorSystem)system).Provider.DefaultAddress;
        return new RemoteAdministration(
            system, (listen with { Port = bound.Port ?? 0 }).ToString());
    }

    /// <summary>Admits clients from now on.</summary>
    public void Admit(IDatabaseTarget engine, AdministratorSettings settings) =>
        _system.ActorOf(
            Administrator.PropsFor(engine, settings, TimeProvider.System), RemotingConfig.AdministratorName);

    /// <summary>Ends it; answers that were given are sent first.</summary>
    public async ValueTask DisposeAsync() => await _system.Terminate().ConfigureAwait(false);

    /// <summary>The failure to listen on an address.</summary>
    public static StorageFailedException ListenFailed(ListenAddress listen, Exception cause)
    {
        Exception root = cause.GetBaseException();
        return new StorageFailedException(
            ErrorCode.FileOperationFailed,
            $"The address {listen} cannot be listened on: {root.Message}.",
            "Stop what listens there, or choose another port (0: any).", root);
    }
}
