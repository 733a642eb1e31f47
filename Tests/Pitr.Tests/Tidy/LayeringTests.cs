using System.Reflection;
using System.Xml.Linq;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Host → Actors → Recovery → Wal → Storage, and nothing below Actors knows Akka.</summary>
public sealed class LayeringTests
{
    private static IEnumerable<string> References(string layer) =>
        XDocument.Load(Path.Combine(SourceTree.Root, layer, $"Pitr.{layer}.csproj")).Descendants()
            .Where(element => element.Name.LocalName is "PackageReference" or "ProjectReference")
            .Select(element => (string?)element.Attribute("Include") ?? "");

    [Fact]
    public void Each_layer_references_those_below_it_only()
    {
        for (int layer = 0; layer < SourceTree.Layers.Length; layer++)
        {
            string[] above = [.. SourceTree.Layers.Skip(layer).Select(name => $"Pitr.{name}.csproj"), "Host"];
            Assert.DoesNotContain(References(SourceTree.Layers[layer]),
                reference => above.Any(name => reference.Contains(name, StringComparison.Ordinal)));
        }
    }

    [Fact]
    public void Nothing_below_the_actors_references_akka()
    {
        foreach (string layer in SourceTree.Layers.SkipLast(1))
        {
            Assert.DoesNotContain(References(layer), reference =>
                reference.StartsWith("Akka", StringComparison.Ordinal));
            Assembly assembly = Assembly.Load($"Pitr.{layer}");
            Assert.DoesNotContain(assembly.GetReferencedAssemblies(),
                name => name.Name!.StartsWith("Akka", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Storage_needs_nothing_but_a_hash() => Assert.Equal(["System.IO.Hashing"], References("Storage"));

    [Fact]
    public void Public_types_live_in_the_applications_namespace()
    {
        // Recovery's plan is read by tools more than by applications, and keeps its project's namespace.
        var elsewhere = SourceTree.Layers.SelectMany(layer => Assembly.Load($"Pitr.{layer}").GetExportedTypes())
            .Where(type => type.Namespace is not ("Pitr" or "Pitr.Recovery"));
        Assert.Empty(elsewhere);
        Assert.False(typeof(IFileSystem).IsVisible);
    }

    [Fact]
    public void Namespaces_are_flat_and_none_hides_a_type_of_others()
    {
        string[] allowed =
        [
            "Pitr", "Pitr.Storage", "Pitr.Wal", "Pitr.Recovery", "Pitr.Actors", "Pitr.Hosting", "Pitr.Cli", "Pgtar",
            "Pitr.Persistence", "Pitr.Archive.S3", "Pitr.Archive.AzureBlob", "Pitr.Tests", "Pitr.Simulation",
            "Pitr.Bench",
        ];
        foreach (string file in SourceTree.Sources("Storage", "Wal", "Recovery", "Actors", "Tests"))
        {
            string? line = SourceTree.Lines(file)
                .FirstOrDefault(l => l.StartsWith("namespace ", StringComparison.Ordinal));
            if (line is not null)
                Assert.True(allowed.Contains(line["namespace ".Length..].TrimEnd(';')), $"{file}: {line}");
        }
    }
}
