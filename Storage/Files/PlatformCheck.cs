using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>Refuses to open where Pitr's promises cannot be kept.</summary>
/// <remarks>
/// Formats are little endian and read in place; locks and syncs are those of Linux (macOS for development). Network
/// file systems are refused: their locks and syncs depend on a server, and a cached page may be anybody's.
/// </remarks>
internal static class PlatformCheck
{
    private const uint Nfs = 0x6969;
    private const uint Smb = 0x517B;
    private const uint Cifs = 0xFF534D42;
    private const uint Smb2 = 0xFE534D42;
    private const uint Ceph = 0x00C36400;

    /// <summary>Refuses another system or architecture.</summary>
    /// <exception cref="RefusedException">PlatformUnsupported.</exception>
    public static void RequireSystem()
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
            throw StorageErrors.PlatformUnsupported($"the operating system is {RuntimeInformation.OSDescription}");
        if (RuntimeInformation.ProcessArchitecture is not (Architecture.X64 or Architecture.Arm64))
            throw StorageErrors.PlatformUnsupported($"the process is {RuntimeInformation.ProcessArchitecture}");
        if (!BitConverter.IsLittleEndian)
            throw StorageErrors.PlatformUnsupported("the machine is big endian");
    }

    /// <summary>Refuses a folder on a network file system; the folder must exist.</summary>
    /// <exception cref="RefusedException">PlatformUnsupported.</exception>
    public static void RequireLocal(string folder)
    {
        if (NetworkName(PosixCalls.FileSystemMagic(folder)) is { } name)
            throw StorageErrors.PlatformUnsupported($"'{folder}' is on {name}, a network file system");
    }

    /// <summary>The network file system that has this magic number; null if it is none of them.</summary>
    internal static string? NetworkName(uint magic) => magic switch
    {
        Nfs => "NFS",
        Smb or Cifs or Smb2 => "SMB",
        Ceph => "Ceph",
        _ => null,
    };
}
