using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Whether all that a backup set consists of is there, by names and lengths; nothing is read.</summary>
/// <remarks>
/// For who removes what is older because there is this one. A store says of each object how long its content is, also one
/// that is encrypted; WAL counts by the names in the archives, or in the set if it brings its own.
/// THREADS  any. FAILURE  StorageFailedException: the store can't be asked, so nothing is known.
/// </remarks>
internal static class SetPresence
{
    /// <summary>What is missing of a set and what it builds on, for people; null if nothing is.</summary>
    public static string? WhatLacks(
        BackupSet set, IEnumerable<(IArchiveStore Store, ArchiveCatalog Catalog)> archives, WalGeometry geometry) =>
        set.Bases.Prepend(set).Select(LostObject).FirstOrDefault(lost => lost is not null)
        ?? LostWal(set, archives, geometry);

    private static string? LostObject(BackupSet set)
    {
        foreach (ManifestEntry entry in set.Manifest.Objects)
        {
            string name = set.Prefix + entry.Name;
            if (set.Store.Stat(name) is not { } there)
                return $"'{name}' is not there";
            if (there.LengthBytes != entry.LengthBytes)
                return $"'{name}' has {there.LengthBytes} bytes instead of {entry.LengthBytes}";
        }
        return null;
    }

    private static string? LostWal(
        BackupSet set, IEnumerable<(IArchiveStore Store, ArchiveCatalog Catalog)> archives, WalGeometry geometry)
    {
        if (set.Label.IncludesWal)
            return null; // objects of the set
        var places = new WalSources(
            [.. archives.Select(one => new ArchiveWalSource(one.Store, one.Catalog, geometry))], geometry);
        return places.Along(set.Label.History(), set.Label.StartLsn, set.Label.StopLsn).Hole is { } hole
            ? $"the WAL of timeline {hole.Timeline} that it needs, from {hole.From} to {hole.To}, is in no archive that was named"
            : null;
    }
}
