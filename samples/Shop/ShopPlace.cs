namespace Pitr.Samples.Shop;

/// <summary>Where the shop keeps its things.</summary>
internal sealed record ShopPlace(string Folder)
{
    /// <summary>The database.</summary>
    public string Database => Path.Combine(Folder, "db");

    /// <summary>The archive of its WAL, and its backups; another disk would be the right place.</summary>
    public string Archive => Path.Combine(Folder, "archive");

    /// <summary>Copies of the datafile of orders.</summary>
    public string Copies => Path.Combine(Folder, "copies");

    /// <summary>Other disks, each under a name: here they are folders.</summary>
    public string Disks => Path.Combine(Folder, "disks");

    /// <summary>Where a moment of the past is looked at.</summary>
    public string Past => Path.Combine(Folder, "past");
}
