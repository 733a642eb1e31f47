using System.Security.Cryptography;
using System.Text;
using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>
/// The file through which the same user's clients learn a running engine's token: readable by its owner only, in the
/// user's runtime folder, named after the engine's address.
/// </summary>
/// <remarks>
/// PLACE  <c>$XDG_RUNTIME_DIR/pitr</c>, else <c>$HOME/.pitr/run</c>; a client looks into both, since a service and a
/// shell need not have the same environment. The folder is 0700, the file 0600: both are made so before the token is in
/// them. Loopback is no authentication: any user of the machine can connect, only this file tells them apart.
/// </remarks>
internal static class TokenFile
{
    private const UnixFileMode FolderMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode TokenMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const int TokenBytesMax = 1024;
    private const int TokenCharactersMin = 32;

    /// <summary>A new token: 256 random bits as hexadecimal digits.</summary>
    public static string NewToken() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));

    /// <summary>Where the token of an address is, or would be written.</summary>
    public static string PathFor(string address, Func<string, string?> variable) =>
        Candidates(address, variable).First();

    /// <summary>Where the viewer's token is, beside an operator's.</summary>
    public static string ForViewers(string file) => file + ".viewer";

    /// <summary>Writes a token and returns the file's path. An old file of the same address is replaced.</summary>
    public static string Write(string? path, string address, string token, Func<string, string?> variable)
    {
        if (OperatingSystem.IsWindows())
            throw new PlatformNotSupportedException("A token file needs the modes of a POSIX file system.");
        string file = path ?? PathFor(address, variable);
        string folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        if (!Directory.Exists(folder))
            Directory.CreateDirectory(folder, FolderMode);
        string temporary = $"{file}.{Environment.ProcessId}";
        using (var stream = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            UnixCreateMode = TokenMode,
        }))
        {
            File.SetUnixFileMode(stream.SafeFileHandle, TokenMode); // a stray of an earlier process may have had another
            stream.Write(Encoding.ASCII.GetBytes(token + "\n"));
        }
        File.Move(temporary, file, overwrite: true);
        return file;
    }

    /// <summary>The token of a running engine.</summary>
    public static string Read(string? path, string address, Func<string, string?> variable)
    {
        string[] candidates = path is null ? [.. Candidates(address, variable)] : [path];
        string? file = candidates.FirstOrDefault(File.Exists);
        if (file is null)
        {
            throw new RefusedException(
                ErrorCode.NotAuthorized,
                $"There is no token file for the engine at {address} ({string.Join(", ", candidates)}).",
                "Run it as the user that runs `pitr serve`, or name the engine's token file with --token-file.");
        }
        try
        {
            return RequireToken(file);
        }
        catch (UnauthorizedAccessException denied)
        {
            throw new RefusedException(
                ErrorCode.NotAuthorized,
                $"The token file '{file}' may not be read.",
                "Run it as the user that runs `pitr serve`.", denied);
        }
    }

    /// <summary>A token that a setting names: it stays the same over restarts, and must be hard to guess.</summary>
    /// <exception cref="RefusedException">SettingsInvalid: the file holds none, or a short one.</exception>
    public static string Read(string file)
    {
        string token;
        try
        {
            token = RequireToken(file);
        }
        catch (Exception wrong) when (wrong is IOException or UnauthorizedAccessException or RefusedException)
        {
            throw EngineErrors.SettingsInvalid(file, wrong.Message);
        }
        return token.Length >= TokenCharactersMin
            ? token
            : throw EngineErrors.SettingsInvalid(file, $"a token has at least {TokenCharactersMin} characters.");
    }

    // A token goes into a header as it is, so what would not pass there is told here, by the name of its file.
    private static string RequireToken(string file)
    {
        Span<byte> bytes = stackalloc byte[TokenBytesMax + 1];
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        int length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        ReadOnlySpan<byte> token = bytes[..length].Trim(" \t\r\n"u8);
        if (length <= TokenBytesMax && !token.IsEmpty && !token.ContainsAnyExceptInRange((byte)'!', (byte)'~'))
            return Encoding.ASCII.GetString(token);
        throw new RefusedException(
            ErrorCode.NotAuthorized,
            $"The file '{file}' holds no token.",
            "Name the token file that `pitr serve` wrote, with --token-file.");
    }

    /// <summary>Removes a token that is no longer good; leaves one that a newer engine has put there.</summary>
    public static void Remove(string file, string token)
    {
        try
        {
            if (File.Exists(file) && File.ReadAllText(file).Trim() == token)
                File.Delete(file);
        }
        catch (IOException)
        {
            // A stray token opens nothing: it dies with its engine.
        }
        catch (UnauthorizedAccessException)
        {
            // Likewise.
        }
    }

    private static IEnumerable<string> Candidates(string address, Func<string, string?> variable)
    {
        string name = address.Replace(':', '_').Replace('[', '_').Replace(']', '_') + ".token";
        if (variable("XDG_RUNTIME_DIR") is { Length: > 0 } runtime)
            yield return Path.Combine(runtime, "pitr", name);
        string home = variable("HOME") is { Length: > 0 } given
            ? given
            : Environment.GetFolderPath(
                Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);
        yield return Path.Combine(home.Length > 0 ? home : Path.GetTempPath(), ".pitr", "run", name);
    }
}
