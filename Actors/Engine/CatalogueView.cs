using System.Collections.Frozen;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>The catalogue as committers and readers use it: names to handles, and which table ids are alive.</summary>
internal sealed class CatalogueView
{
    private readonly FrozenDictionary<string, Table> _tables;
    private readonly FrozenDictionary<string, FileId> _files;
    private readonly bool[] _alive;

    public CatalogueView(Catalogue catalogue)
    {
        Catalogue = catalogue;
        Tables = [.. catalogue.Tables.Select(table => new Table(table.Name, table.Id, table.FileId))
            .OrderBy(table => table.Name, StringComparer.Ordinal)];
        _tables = Tables.ToFrozenDictionary(table => table.Name, StringComparer.Ordinal);
        _files = catalogue.Files.ToFrozenDictionary(file => file.Name, file => file.Id, StringComparer.Ordinal);
        _alive = new bool[catalogue.NextTableId.Value];
        foreach (Table table in Tables)
            _alive[table.Id.Value] = true;
    }

    public static CatalogueView Empty { get; } = new(Storage.Catalogue.Empty);

    public Catalogue Catalogue { get; }

    public IReadOnlyList<Table> Tables { get; }

    public bool TryTable(string name, out Table? table) => _tables.TryGetValue(name, out table);

    public bool TryFile(string name, out FileId file) => _files.TryGetValue(name, out file);

    /// <summary>The datafiles, by name.</summary>
    public IReadOnlyList<DatafileInfo> Datafiles(string folder) =>
        [.. Catalogue.Files.Select(file =>
            new DatafileInfo(file.Id, file.Name, Storage.Catalogue.FullPath(folder, file.Path)))
            .OrderBy(file => file.Name, StringComparer.Ordinal)];

    /// <summary>The same with one table gone.</summary>
    public CatalogueView Without(TableId table) =>
        new(Catalogue with { Tables = Catalogue.Tables.RemoveAll(found => found.Id == table) });

    /// <summary>True if the id is that of a table that was created and not dropped.</summary>
    public bool IsAlive(TableId table) => table.Value < _alive.Length && _alive[table.Value];
}
