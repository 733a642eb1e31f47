namespace Pitr.Cli;

/// <summary>Every kind of store that there is: on the command line each works wherever a STORE stands.</summary>
internal static class StoreKinds
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<ArchiveStoreKind> All { get; } =
        [Pitr.Archive.S3.S3ArchiveStores.Default, Pitr.Archive.AzureBlob.AzureBlobArchiveStores.Default];

    /// <summary>The defaults, with all kinds of stores.</summary>
    public static PitrOptions Options { get; } = new() { ArchiveStoreKinds = All };
}
