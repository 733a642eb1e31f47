using System.Collections.Frozen;
using Akka.Actor;
using Akka.Serialization;
using Google.Protobuf;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>
/// Bytes of the administration messages: one manifest a message, Protocol Buffers as body, no type names on the wire.
/// </summary>
/// <remarks>
/// LAYOUT  <c>Protocol/Wire/admin.proto</c>, described in docs/formats/admin-wire.md. A manifest is <c>NAME.VERSION</c>.
/// A reader leaves out fields that it does not know. A message whose meaning changes gets a new version, which writers
/// use one release after readers know it.
/// INVARIANTS  W1 what is written can be read again (a message longer than <see cref="MessageBytesMax"/> is refused by
/// the writer, since a frame holds 128,000 bytes, and the transport tells nobody: client and Administrator look before
/// they send). W2 a manifest that is not in the table stands for nothing: no type is
/// ever looked up by a name that came from outside. W3 what cannot be read is told as <see cref="Unintelligible"/>, so
/// that its sender is answered instead of waiting.
/// THREADS  any; it has no state.
/// </remarks>
internal sealed class AdminSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    /// <summary>Longest body; below Akka's frame of 128,000 bytes with room for its envelope.</summary>
    public const int MessageBytesMax = 112 << 10;

    /// <summary>This serializer's number on the wire; never another.</summary>
    public const int SerializerId = 7041;

    private const int ManifestShownMax = 100;

    private static readonly FrozenDictionary<Type, WireEntry> ByType =
        SessionWire.Entries.Concat(EngineWire.Entries).Concat(DatafileWire.Entries).Concat(FenceWire.Entries)
            .Concat(MoveWire.Entries)
            .Concat(RecoveryWire.Entries)
            .Concat(SetWire.Entries)
            .ToFrozenDictionary(entry => entry.Type);

    private static readonly FrozenDictionary<string, WireEntry> ByManifest =
        ByType.Values.ToFrozenDictionary(entry => entry.Manifest, StringComparer.Ordinal);

    /// <inheritdoc/>
    public override int Identifier => SerializerId;

    /// <summary>Every manifest, for the format's test.</summary>
    public static IEnumerable<(Type Type, string Manifest)> Manifests =>
        ByType.Select(entry => (entry.Key, entry.Value.Manifest));

    /// <inheritdoc/>
    public override string Manifest(object o) => Entry(o).Manifest;

    /// <summary>How long a message's body would be: whoever sends one that may be too long asks first.</summary>
    public static int BytesOf(object message) => Entry(message).ToBytes(message).Length;

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj)
    {
        byte[] bytes = Entry(obj).ToBytes(obj);
        return bytes.Length <= MessageBytesMax
            ? bytes
            : throw new ArgumentException(
                $"A message '{Manifest(obj)}' of {bytes.Length} bytes does not fit into a frame (W1).", nameof(obj));
    }

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (bytes.Length > MessageBytesMax)
            return new Unintelligible(0, $"A message '{Shown(manifest)}' has {bytes.Length} bytes.");
        if (!ByManifest.TryGetValue(manifest, out WireEntry? entry)) // W2
            return new Unintelligible(RequestIdOf(bytes), $"This release knows no message '{Shown(manifest)}'.");
        try
        {
            return entry.FromBytes(bytes);
        }
        catch (ArgumentException nonsense)
        {
            return new Unintelligible(RequestIdOf(bytes), nonsense.Message); // W3
        }
    }

    private static WireEntry Entry(object message) =>
        ByType.TryGetValue(message.GetType(), out WireEntry? entry)
            ? entry
            : throw new ArgumentException(
                $"'{message.GetType().Name}' is not an administration message.", nameof(message));

    private static long RequestIdOf(byte[] bytes)
    {
        try
        {
            return Wire.AnyRequest.Parser.ParseFrom(bytes).RequestId;
        }
        catch (InvalidProtocolBufferException)
        {
            return 0;
        }
    }

    private static string Shown(string manifest) =>
        manifest.Length <= ManifestShownMax ? manifest : manifest[..ManifestShownMax] + "…";
}
