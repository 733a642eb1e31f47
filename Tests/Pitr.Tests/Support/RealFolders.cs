using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What lies on a simulated disk, on the real one: for command lines, which know no other.</summary>
internal static class RealFolders
{
    /// <summary>Writes a folder, and what is below it, under a home; stores in settings are named there.</summary>
    public static void Write(SimulatedDisk disk, string folder, string home)
    {
        Directory.CreateDirectory(home + folder);
        foreach (string name in disk.List(folder))
        {
            string path = $"{folder}/{name}";
            if (disk.Stat(path) is { IsFolder: true })
                Write(disk, path, home);
            else if (name == "pitr.json")
                File.WriteAllText(home + path, File.ReadAllText(Bytes(disk, path, home)).Replace("\"/", $"\"{home}/", StringComparison.Ordinal));
            else
                Bytes(disk, path, home);
        }
    }

    private static string Bytes(SimulatedDisk disk, string path, string home)
    {
        File.WriteAllBytes(home + path, disk.ReadAll(path));
        return home + path;
    }
}
