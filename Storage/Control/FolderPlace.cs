using System.Globalization;
using System.Text.RegularExpressions;

namespace Pitr.Storage;

/// <summary>How two places compare.</summary>
internal enum PlaceComparison
{
    /// <summary>One folder.</summary>
    Same,
    /// <summary>
    /// Nothing tells them apart, and nothing proves that they are one: the machine was booted in between, or it was cloned
    /// with its disk.
    /// </summary>
    MayBeSame,
    /// <summary>Two folders.</summary>
    Other,
}

/// <summary>
/// Which folder a database lies in, so that a copy of it is told from itself (H26): renamed, or moved within its file
/// system, a folder is the same place; copied, on another file system or machine it is another one.
/// </summary>
/// <param name="Machine">The machine's name: a clone has the same.</param>
/// <param name="BootId">The kernel's, drawn anew at each boot; empty if it is not known, and then the device is not
/// either.</param>
/// <param name="Device">The file system of the folder: two can have the same inode, as their roots have. Its number holds
/// for one boot.</param>
/// <param name="Inode">The folder's inode: another one for a copy in the same file system.</param>
internal sealed partial record FolderPlace(string Machine, string BootId, ulong Device, ulong Inode)
{
    /// <summary>A place that no folder is in: what lies outside is nobody's until somebody says so.</summary>
    public static FolderPlace Unknown { get; } = new("", "", 0, 0);

    /// <summary>The place of a folder here; links to it followed.</summary>
    public static FolderPlace Of(IFileSystem files, string folder, ThisProcess process) =>
        files.Stat(folder) is { } entry
            ? new FolderPlace(process.Machine, process.BootId, entry.Device, entry.Inode)
            : Unknown;

    /// <summary>Whether both are one folder.</summary>
    public PlaceComparison ComparedWith(FolderPlace other)
    {
        if (Inode == 0 || Inode != other.Inode || !string.Equals(Machine, other.Machine, StringComparison.Ordinal))
            return PlaceComparison.Other;
        if (BootId.Length == 0 || !string.Equals(BootId, other.BootId, StringComparison.Ordinal))
            return PlaceComparison.MayBeSame;
        return Device == other.Device ? PlaceComparison.Same : PlaceComparison.Other;
    }

    /// <summary>As it is stored: <c>MACHINE/INODE@BOOT/DEVICE</c>.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Machine}/{Inode}@{BootId}/{Device}");

    /// <summary>From the stored form; the shorter <c>MACHINE/INODE</c> knows neither boot nor device.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static FolderPlace Parse(string text)
    {
        Match match = Form().Match(text);
        return match.Success
            ? new FolderPlace(
                match.Groups["machine"].Value, match.Groups["boot"].Value, Number(match.Groups["device"]),
                Number(match.Groups["inode"]))
            : throw new FormatException($"'{text}' is no place of a folder.");
    }

    private static ulong Number(Group digits) =>
        digits.Success ? ulong.Parse(digits.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture) : 0;

    [GeneratedRegex(
        @"\A((?<machine>.*)/(?<inode>[0-9]+)@(?<boot>[^@/]*)/(?<device>[0-9]+)|(?<machine>[^@]*)/(?<inode>[0-9]+))\z",
        RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex Form();
}
