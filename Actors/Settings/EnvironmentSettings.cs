using System.Text.Json;
using System.Text.RegularExpressions;

namespace Pitr.Actors;

/// <summary>
/// The environment as a source of settings: <c>PITR__NAME</c>, with the names of <c>pitr.json</c> in any case, and
/// <c>PITR__STORES__0</c>, <c>__1</c> … for lists.
/// </summary>
/// <remarks>
/// Each variable is read as the JSON that <c>pitr.json</c> would hold for it, so that there is one form for each
/// setting. One that names no setting is refused: it was meant to change something.
/// </remarks>
internal static partial class EnvironmentSettings
{
    public const string Prefix = "PITR__";

    /// <summary>Names of the settings, as <c>pitr.json</c> spells them.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. SettingsJson.Default.DatabaseSettings.Properties.Select(static property => property.Name)];

    private static readonly string[] Lists = ["stores", "roots", "operatorTokens", "viewerTokens"];

    /// <summary>What each variable says, with its name, in the order of the names.</summary>
    /// <exception cref="RefusedException">SettingsInvalid, with the variable's name.</exception>
    public static IEnumerable<(string Variable, DatabaseSettings Says)> Read(
        IEnumerable<KeyValuePair<string, string>> variables) =>
        from variable in variables
        where variable.Key.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase)
        orderby variable.Key.Length, variable.Key // lists: __2 before __10
        select (variable.Key, Says(variable.Key, variable.Value));

    private static DatabaseSettings Says(string variable, string text)
    {
        Match match = Form().Match(variable[Prefix.Length..]);
        string? name = Names.FirstOrDefault(
            name => name.Equals(match.Groups["name"].Value, StringComparison.OrdinalIgnoreCase));
        if (name is null)
            throw EngineErrors.SettingsInvalid($"{variable} of the environment", "no setting has that name.");
        bool isList = Lists.Contains(name);
        if (isList != match.Groups["index"].Success)
        {
            throw EngineErrors.SettingsInvalid(
                $"{variable} of the environment",
                isList ? $"'{name}' is a list, whose elements are {variable}__0, {variable}__1 …"
                    : $"'{name}' is no list: it is {variable[..^(match.Groups["index"].Length + 2)]}.");
        }

        try
        {
            return DatabaseSettings.Parse(JsonSerializer.SerializeToUtf8Bytes(
                new Dictionary<string, object> { [name] = isList ? new[] { text } : text }));
        }
        catch (JsonException wrong)
        {
            throw EngineErrors.SettingsInvalid($"{variable} of the environment", wrong.Message);
        }
    }

    [GeneratedRegex(@"\A(?<name>[A-Za-z]+)(__(?<index>[0-9]{1,4}))?\z", RegexOptions.CultureInvariant)]
    private static partial Regex Form();
}
