using Google.Protobuf;

namespace Pitr.Actors;

/// <summary>How one record of <see cref="AdminProtocol"/> becomes bytes, and bytes become it.</summary>
internal abstract class WireEntry(string manifest, Type type)
{
    /// <summary>Its name on the wire, <c>NAME.VERSION</c>.</summary>
    public string Manifest { get; } = manifest;

    /// <summary>The record.</summary>
    public Type Type { get; } = type;

    /// <summary>Its bytes.</summary>
    public abstract byte[] ToBytes(object message);

    /// <summary>The record of some bytes.</summary>
    /// <exception cref="ArgumentException">The bytes are none of it.</exception>
    public abstract object FromBytes(byte[] bytes);

    /// <summary>An entry made of two functions.</summary>
    public static WireEntry Of<TMessage, TWire>(
        string manifest, Func<TMessage, TWire> toWire, Func<TWire, TMessage> fromWire)
        where TMessage : class
        where TWire : IMessage<TWire>, new() =>
        new Mapped<TMessage, TWire>(manifest, toWire, fromWire);

    private sealed class Mapped<TMessage, TWire>(
        string manifest, Func<TMessage, TWire> toWire, Func<TWire, TMessage> fromWire)
        : WireEntry(manifest, typeof(TMessage))
        where TMessage : class
        where TWire : IMessage<TWire>, new()
    {
        private static readonly MessageParser<TWire> Parser =
            new MessageParser<TWire>(static () => new TWire()).WithDiscardUnknownFields(true);

        public override byte[] ToBytes(object message) => toWire((TMessage)message).ToByteArray();

        public override object FromBytes(byte[] bytes)
        {
            try
            {
                return fromWire(Parser.ParseFrom(bytes));
            }
            catch (InvalidProtocolBufferException nonsense)
            {
                throw new ArgumentException($"These bytes are no '{Manifest}': {nonsense.Message}", nonsense);
            }
        }
    }
}
