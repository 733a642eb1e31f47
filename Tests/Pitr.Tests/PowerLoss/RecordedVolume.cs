using System.Diagnostics;

namespace Pitr.Tests;

/// <summary>
/// Runs where the kernel gives us a block device of our own: as root, with FUSE, a loop device and ext4. Skipped
/// elsewhere, and says why.
/// </summary>
public sealed class BlockDeviceFactAttribute : FactAttribute
{
    private static readonly Lazy<string?> Reason = new(WhyNot);

    public BlockDeviceFactAttribute() => Skip = Reason.Value;

    private static string? WhyNot()
    {
        if (!OperatingSystem.IsLinux())
            return "A block device of our own is made on Linux only.";
        if (!Environment.IsPrivilegedProcess)
            return "Only root may mount: run the tests as root to cut the power of a real block device.";
        if (!File.Exists("/dev/fuse") || !File.Exists("/dev/loop-control"))
            return "This kernel has no FUSE or no loop devices (/dev/fuse, /dev/loop-control).";
        foreach (string tool in (string[])["losetup", "mkfs.ext4", "mount", "umount"])
        {
            if (RecordedVolume.Find(tool) is null)
                return $"{tool} is not installed; Debian's packages mount, util-linux and e2fsprogs have them.";
        }
        return RecordedVolume.TryOnce();
    }
}

/// <summary>A mounted ext4 of which every write to its block device is recorded (<see cref="RecordingDevice"/>).</summary>
internal sealed class RecordedVolume : IDisposable
{
    private static readonly string[] ToolFolders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

    private readonly string _folder;
    private readonly byte[] _before;
    private string? _loop;
    private bool _isMounted;

    private RecordedVolume(string folder, byte[] before, RecordingDevice device) =>
        (_folder, _before, Device) = (folder, before, device);

    public RecordingDevice Device { get; }

    /// <summary>Where it is mounted.</summary>
    public string Path => System.IO.Path.Combine(_folder, "volume");

    /// <summary>A volume that was just formatted.</summary>
    public static RecordedVolume Format(string folder, int megabytes) =>
        Mount(folder, RecordingDevice.Blank(megabytes), formats: true);

    /// <summary>A volume as a power loss has left it; mounting replays its journal.</summary>
    public static RecordedVolume Mount(string folder, byte[] image) => Mount(folder, image, formats: false);

    /// <summary>The disk after a power loss when its log had so many entries.</summary>
    public byte[] ImageAt(int length, FuzzChance chance) => Device.ImageAt(_before, length, chance);

    public void Dispose()
    {
        if (_isMounted)
            Run("umount", Path);
        if (_loop is not null)
            Run("losetup", "--detach", _loop);
        Device.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Why it cannot be done here; null if it can.</summary>
    internal static string? TryOnce()
    {
        string folder = Directory.CreateTempSubdirectory("pitr-device-").FullName;
        try
        {
            using RecordedVolume volume = Format(folder, megabytes: 8);
            return null;
        }
        catch (InvalidOperationException refused)
        {
            return $"This system does not let us mount a block device of our own: {refused.Message}";
        }
    }

    internal static string? Find(string tool) =>
        ToolFolders.Select(folder => System.IO.Path.Combine(folder, tool)).FirstOrDefault(File.Exists);

    private static RecordedVolume Mount(string folder, byte[] content, bool formats)
    {
        string disk = System.IO.Path.Combine(folder, "disk");
        Directory.CreateDirectory(disk);
        byte[] before = [.. content];
        RecordingDevice device = RecordingDevice.TryMount(disk, content)
            ?? throw new InvalidOperationException("FUSE was refused.");
        var volume = new RecordedVolume(folder, before, device);
        try
        {
            volume._loop = Run("losetup", "--find", "--show", device.ImagePath).Trim();
            if (formats)
                Run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", volume._loop);
            Directory.CreateDirectory(volume.Path);
            Run("mount", "-t", "ext4", volume._loop, volume.Path);
            volume._isMounted = true;
            return volume;
        }
        catch
        {
            volume.Dispose();
            throw;
        }
    }

    private static string Run(string tool, params string[] args)
    {
        using Process process = Process.Start(new ProcessStartInfo(Find(tool)!, args)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"{tool} {string.Join(' ', args)}: {error.GetAwaiter().GetResult()}");
    }
}
