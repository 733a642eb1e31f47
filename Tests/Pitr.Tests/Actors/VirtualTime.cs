using Akka.Actor;
using Akka.Configuration;
using Microsoft.Extensions.Time.Testing;
using Pitr.Actors;

namespace Pitr.Tests;

/// <summary>A clock and a scheduler of actors that stand still until a test moves both.</summary>
internal sealed class VirtualTime : IAsyncDisposable
{
    private readonly ActorSystem _system = ActorSystem.Create("virtual", EngineConfig.Dispatchers.WithFallback(
        ConfigurationFactory.ParseString(
            """
            akka {
              loglevel = OFF
              stdout-loglevel = OFF
              log-dead-letters = off
            }
            """)).WithFallback(ConfigurationFactory.ParseString(ClockScheduler.Implementation)));

    public FakeTimeProvider Clock => ClockScheduler.ClockOf(_system);

    public ActorSystem System => _system;

    /// <summary>An engine that lives in this time.</summary>
    public PitrOptions In(PitrOptions options) => options with { Clock = Clock, ActorSystem = _system };

    public void Advance(TimeSpan by) => Clock.Advance(by);

    public async ValueTask DisposeAsync() => await _system.Terminate().Within();
}
