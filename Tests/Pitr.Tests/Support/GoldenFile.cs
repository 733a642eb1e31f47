using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary>Compares a text with a file of <c>Golden/</c>; PITR_UPDATE_GOLDEN=1 writes the file instead.</summary>
internal static partial class GoldenFile
{
    /// <summary>The same of operations on a disk; how long the control file is depends on the machine's name.</summary>
    public static void CheckSteps(string name, string steps, [CallerFilePath] string caller = "") =>
        Check(name, WholeControlFile().Replace(steps, "pitr.control.new, all of it"), caller);

    /// <summary>Fails if the text is not what the file holds.</summary>
    public static void Check(string name, string text, [CallerFilePath] string caller = "")
    {
        string path = Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(caller))!, "Golden", name);
        if (Environment.GetEnvironmentVariable("PITR_UPDATE_GOLDEN") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, text);
        }
        Assert.True(
            File.Exists(path), $"There is no golden file '{name}': run with PITR_UPDATE_GOLDEN=1, and read it.");
        Assert.Equal(File.ReadAllText(path), text);
    }

    [GeneratedRegex(@"pitr\.control\.new 0\+[0-9]+")]
    private static partial Regex WholeControlFile();
}
