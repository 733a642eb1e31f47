using System.Runtime.CompilerServices;

namespace Pitr.Tests;

/// <summary>The repository as the tidy tests read it.</summary>
internal static class SourceTree
{
    /// <summary>The projects below which nobody knows Akka, then those above, in the order of their layers.</summary>
    public static readonly string[] Layers = ["Storage", "Wal", "Recovery", "Actors"];

    public static string Root { get; } = FindRoot();

    /// <summary>Every C# file below a folder, as paths from the root.</summary>
    public static IEnumerable<string> Sources(params string[] folders) => folders
        .Select(folder => Path.Combine(Root, folder))
        .Where(Directory.Exists)
        .SelectMany(folder => Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories))
        .Select(file => Path.GetRelativePath(Root, file))
        .Where(file => !file.Split('/').Any(part => part is "artifacts" or "obj" or "bin"))
        .Order(StringComparer.Ordinal);

    public static string[] Production => ["Storage", "Wal", "Recovery", "Actors", "Host"];

    public static string[] Everything => [.. Production, "Tests", "Bench", "samples"];

    public static string Text(string file) => File.ReadAllText(Path.Combine(Root, file));

    public static string[] Lines(string file) => File.ReadAllLines(Path.Combine(Root, file));

    private static string FindRoot([CallerFilePath] string here = "")
    {
        string? folder = Path.GetDirectoryName(here);
        while (folder is not null && !File.Exists(Path.Combine(folder, "Pitr.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException("The tests were moved away from their sources.");
    }
}
