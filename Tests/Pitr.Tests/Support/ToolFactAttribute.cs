namespace Pitr.Tests;

/// <summary>A fact that needs a program of the machine; skipped, and said so, without it.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class ToolFactAttribute : FactAttribute
{
    public ToolFactAttribute(string program)
    {
        Program = program;
        string[] folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':');
        if (!folders.Any(folder => File.Exists(Path.Combine(folder, program))))
            Skip = $"There is no {program}.";
    }

    public string Program { get; }
}
