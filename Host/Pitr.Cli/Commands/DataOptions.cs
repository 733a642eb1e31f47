using System.CommandLine;

namespace Pitr.Cli;

/// <summary>What the verbs that read and write keys share.</summary>
internal static class DataOptions
{
    /// <summary>Keys and values as hexadecimal digits.</summary>
    public static Option<bool> Hex() =>
        new("--hex") { Description = "Keys and values are hexadecimal digits, not text." };

    /// <summary>The table.</summary>
    public static Argument<string> Table() => CliContext.ArgumentOf("TABLE", "The table.", TextForms.Name);

    /// <summary>The key.</summary>
    public static Argument<string> Key() => new("KEY") { Description = "The key." };
}
