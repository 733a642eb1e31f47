using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Pitr.Tests;

/// <summary>
/// Changes JSON so that it mostly stays JSON: members that are gone, null, of another type, of numbers and texts that
/// nothing writes. Bytes are changed too, now and then.
/// </summary>
internal static class JsonMutator
{
    // Written raw, since a JsonNode cannot hold them: texts without a valid form in UTF-16, numbers without a type.
    private static readonly (string Mark, string Raw)[] Raws =
    [
        ("\"@1\"", "\"\\ud800\""), ("\"@2\"", "1e999"), ("\"@3\"", "123456789012345678901234567890"),
        ("\"@4\"", "-0.0"), ("\"@5\"", "1.0000000000000000000001"), ("\"@6\"", "\"\\u0000\""),
        ("\"@7\"", new string('[', 70) + new string(']', 70)),
    ];

    private static readonly string[] Texts =
    [
        "", " ", "x", "0/0", "FFFFFFFF/FFFFFFFF", "0/", "/", "0000000000000000", "FFFFFFFFFFFFFFFF", "ffffffffffffffff",
        "0x1", "-1", "2026-11-22T14:05:00.1234567Z", "9999-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00.0000000Z",
        "2026-13-22T14:05:00.1234567Z", "../../etc/passwd", "a/../b", "\u0000", "\uFEFF", "ſ", "İ", "NaN",
        "00000000-0000-0000-0000-000000000000", "live", "backup", "latest", "null",
    ];

    /// <summary>One to three changes.</summary>
    public static byte[] Mutate(byte[] input, FuzzChance chance)
    {
        if (chance.Percent(15) || Parse(input) is not { } root)
            return ByteMutator.Mutate(input, chance);
        for (int changes = 1 + chance.Next(3); changes > 0; changes--)
            root = Change(root, chance) ?? root;
        string text = root.ToJsonString();
        foreach ((string mark, string raw) in Raws)
            text = text.Replace(mark, raw, StringComparison.Ordinal);
        return Encoding.UTF8.GetBytes(text);
    }

    private static JsonNode? Parse(byte[] input)
    {
        try
        {
            return JsonNode.Parse(input);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static JsonNode? Change(JsonNode root, FuzzChance chance)
    {
        var places = new List<(JsonNode Parent, string? Name, int Index)>();
        Collect(root, places);
        if (places.Count == 0 || chance.Percent(2))
            return Other(root, chance);
        (JsonNode parent, string? name, int index) = chance.Of(places);
        if (parent is JsonObject members)
        {
            if (chance.Percent(25))
                members.Remove(name!);
            else
                members[name!] = Other(members[name!], chance);
        }
        else if (parent is JsonArray items)
        {
            if (chance.Percent(25))
                items.RemoveAt(index);
            else if (chance.Percent(25))
                items.Add(items[index]?.DeepClone());
            else
                items[index] = Other(items[index], chance);
        }
        return null;
    }

    private static void Collect(JsonNode node, List<(JsonNode Parent, string? Name, int Index)> places)
    {
        if (node is JsonObject members)
        {
            foreach ((string name, JsonNode? value) in members)
            {
                places.Add((node, name, 0));
                if (value is not null)
                    Collect(value, places);
            }
        }
        else if (node is JsonArray items)
        {
            for (int i = 0; i < items.Count; i++)
            {
                places.Add((node, null, i));
                if (items[i] is { } item)
                    Collect(item, places);
            }
        }
    }

    private static JsonNode? Other(JsonNode? old, FuzzChance chance) => chance.Next(10) switch
    {
        0 => null,
        1 => new JsonObject(),
        2 => new JsonArray(),
        3 => new JsonArray((JsonNode?)null),
        4 => JsonValue.Create(chance.Percent(50)),
        5 => JsonValue.Create(chance.Number()),
        6 => JsonValue.Create(-(long)(chance.Number() >> 1)),
        7 => JsonValue.Create(chance.Of(Texts)),
        8 => JsonValue.Create($"@{1 + chance.Next(Raws.Length)}"),
        _ => new JsonArray(old?.DeepClone(), old?.DeepClone()),
    };
}
