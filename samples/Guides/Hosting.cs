using Akka.Actor;
using Akka.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Pitr.Hosting;

namespace Pitr.Samples.Guides;

/// <summary>The C# of <c>docs/guide/hosting.md</c>, line by line, so that it compiles.</summary>
internal static class Hosting
{
    public static void Service(HostApplicationBuilder builder)
    {
        builder.Services.AddPitr("shop", options => options with { CheckpointInterval = TimeSpan.FromMinutes(1) });
    }

    public static void Another(HostApplicationBuilder builder)
    {
        builder.Services.AddKeyedPitr("orders", "data/orders");
    }

    public static void WithActors(HostApplicationBuilder builder)
    {
        builder.Services.AddAkka("shop", akka => akka
            .WithPitr("shop")
            .WithActors((system, registry) => registry.Register<Orders>(
                system.ActorOf(Props.Create(() => new Orders(system.GetPitr()))))));
    }

    public static void Injected(IServiceCollection services)
    {
        services.AddSingleton(provider => provider.GetRequiredService<ActorSystem>().GetPitr());
    }

    public sealed class Orders(PitrDatabase database) : UntypedActor
    {
        protected override void OnReceive(object message) => Sender.Tell(database.GetTable("orders"));
    }
}
