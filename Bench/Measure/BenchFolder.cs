namespace Pitr.Bench;

/// <summary>A scratch folder for one engine, removed when it is done.</summary>
internal sealed class BenchFolder : IDisposable
{
    public BenchFolder(string root, string engine)
    {
        Path = System.IO.Path.Combine(root, $"pitr-bench-{engine}-{Environment.ProcessId}");
        if (Directory.Exists(Path))
            Directory.Delete(Path, recursive: true);
        Directory.CreateDirectory(Path);
    }

    public string Path { get; }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
