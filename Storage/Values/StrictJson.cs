using System.Collections;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Pitr.Storage;

/// <summary>Reading JSON so that what the types say is true of what was read.</summary>
/// <remarks>
/// System.Text.Json lets null through where a type says that there is none: in a member that is not there, in one that
/// is null, in the elements of a list, in an immutable array; and numbers that no member of an enum has. Whoever uses
/// what was read then meets a NullReferenceException far from the text. Read by what <see cref="Of{T}"/> answers, all
/// of it is a JsonException, which each format tells as its own damage.
/// A member with a default may be absent: that is how formats grow.
/// THREADS  any.
/// </remarks>
internal static class StrictJson
{
    private static readonly ConcurrentDictionary<JsonTypeInfo, JsonTypeInfo> Strict = new();

    /// <summary>The same form, read strictly; writing is as it was.</summary>
    public static JsonTypeInfo<T> Of<T>(JsonTypeInfo<T> lenient) => (JsonTypeInfo<T>)Of((JsonTypeInfo)lenient);

    /// <summary>The same, for a type that only its caller knows.</summary>
    public static JsonTypeInfo Of(JsonTypeInfo lenient) => Strict.GetOrAdd(lenient, static info =>
        new JsonSerializerOptions(info.Options)
        {
            RespectNullableAnnotations = true,
            TypeInfoResolver = info.Options.TypeInfoResolver!.WithAddedModifier(Tighten),
        }.GetTypeInfo(info.Type));

    private static void Tighten(JsonTypeInfo info)
    {
        if (info.Kind != JsonTypeInfoKind.Object)
            return;
        var members = new List<JsonPropertyInfo>();
        foreach (JsonPropertyInfo member in info.Properties)
        {
            if (!member.PropertyType.IsValueType
                && member.AssociatedParameter is { IsNullable: false, HasDefaultValue: false })
                member.IsRequired = true;
            if (member.Get is not null && (IsList(member.PropertyType) || EnumOf(member.PropertyType) is not null))
                members.Add(member);
        }
        if (members.Count != 0)
            info.OnDeserialized = read => Require(read, members);
    }

    private static bool IsList(Type type) => type != typeof(string) && typeof(IEnumerable).IsAssignableFrom(type);

    private static Type? EnumOf(Type type) =>
        (Nullable.GetUnderlyingType(type) ?? type) is { IsEnum: true } found ? found : null;

    private static void Require(object read, List<JsonPropertyInfo> members)
    {
        foreach (JsonPropertyInfo member in members)
        {
            object? value = member.Get!(read);
            if (value is null)
                continue; // allowed, or refused already
            if (EnumOf(member.PropertyType) is { } type)
            {
                if (!Enum.IsDefined(type, value))
                    throw new JsonException($"'{member.Name}' is {value}, which has no meaning.");
                continue;
            }
            if (member.PropertyType.IsValueType
                && value.Equals(RuntimeHelpers.GetUninitializedObject(member.PropertyType)))
                throw new JsonException($"'{member.Name}' is null."); // an immutable array
            var elements = (IEnumerable)value;
            foreach (object? element in value is IDictionary map ? map.Values : elements)
            {
                if (element is null)
                    throw new JsonException($"An element of '{member.Name}' is null.");
            }
        }
    }
}
