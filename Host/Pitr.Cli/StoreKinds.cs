using Pitr.Actors;

namespace Pitr.Cli;

/// <summary>Every kind of store that there is: on the command line each works wherever a STORE stands.</summary>
internal static class StoreKinds
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<ArchiveStoreKind> All { get; } =
        [Pitr.Archive.S3.S3ArchiveStores.Default, Pitr.Archive.AzureBlob.AzureBlobArchiveStores.Default];

    /// <summary>The defaults, with all kinds of stores.</summary>
    public static PitrOptions Options { get; } = new() { ArchiveStoreKinds = All };

    /// <summary>
    /// The same, with the commands and the key that the pitr.json of a folder names, if one is given, or the environment.
    /// </summary>
    public static PitrOptions OptionsOf(CliConsole console, string? folder)
    {
        PitrOptions options = Options;
        if (folder is not null)
        {
            DatabaseSettings said = DatabaseSettings.Read(EngineFactory.FileSystemOf(options), folder);
            string? key = said.ArchiveKeyFile is { } path ? Path.GetFullPath(path, folder) : null;
            options = options with { ArchiveCommands = said.Over(options).ArchiveCommands, ArchiveKeyFile = key };
        }
        foreach ((_, DatabaseSettings says) in EnvironmentSettings.Read(console.Settings()))
        {
            if (says.ArchiveKeyFile is { } path)
                options = options with { ArchiveKeyFile = console.FullPath(path) };
        }
        return options;
    }
}
