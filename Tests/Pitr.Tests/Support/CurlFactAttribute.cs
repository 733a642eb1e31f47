namespace Pitr.Tests;

/// <summary>A fact that needs <c>curl</c>, since a document's commands do; skipped without it.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class CurlFactAttribute : FactAttribute
{
    public CurlFactAttribute()
    {
        string[] folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':');
        if (!folders.Any(static folder => File.Exists(Path.Combine(folder, "curl"))))
            Skip = "There is no curl.";
    }
}
