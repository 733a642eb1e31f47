using Akka.Actor;

namespace Pitr.Actors;

/// <summary>
/// How an actor is made: by a plain call. Akka's form with an expression compiles it each time, which costs more than
/// all else of starting an engine's actors, and leaves work for the finalizers.
/// </summary>
internal static class ActorProps
{
    public static Props Of<T>(Func<T> make)
        where T : ActorBase => Props.CreateBy(new Producer<T>(make));

    private sealed class Producer<T>(Func<T> make) : IIndirectActorProducer
        where T : ActorBase
    {
        public Type ActorType => typeof(T);

        public ActorBase Produce() => make();

        public void Release(ActorBase actor)
        {
        }
    }
}
