using System.CommandLine;
using System.Text;
using Pitr.Actors;

namespace Pitr.Cli;

/// <summary><c>pitr get TABLE KEY</c>: the value's bytes and a line end; exit 3 if there is none.</summary>
internal static class GetCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        Argument<string> key = DataOptions.Key();
        Option<bool> hex = DataOptions.Hex();
        return cli.TargetVerb("get", "Read one key.", [table, key, hex], async (target, parsed, cancellationToken) =>
        {
            bool isHex = parsed.GetValue(hex);
            string keyText = parsed.GetRequiredValue(key);
            string tableName = parsed.GetRequiredValue(table);
            FoundValue found = await target
                .GetAsync(tableName, TextForms.Bytes(keyText, isHex), cancellationToken).ConfigureAwait(false)
                ?? throw AdminErrors.KeyUnknown(tableName, keyText);
            if (!cli.AsJson(parsed))
            {
                byte[] line = isHex ? Encoding.ASCII.GetBytes(Convert.ToHexStringLower(found.Value)) : found.Value;
                await cli.Console.Output.WriteAsync(line, cancellationToken).ConfigureAwait(false);
                await cli.Console.Output.WriteAsync("\n"u8.ToArray(), cancellationToken).ConfigureAwait(false);
                return Answer.Streamed;
            }
            string value = TextForms.Text(found.Value, isHex);
            return Answer.Line(
                json =>
                {
                    json.WriteStartObject();
                    json.WriteString("key", keyText);
                    json.WriteString("value", value);
                    json.WriteString("lsn", found.Lsn.ToString());
                    json.WriteEndObject();
                },
                value);
        });
    }
}
