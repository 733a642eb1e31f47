using Pitr.Hosting;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>Which paths and stores remote callers may name (design §11).</summary>
public sealed class AllowedRootsTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-roots-").FullName;

    private AllowedRoots Roots => new([Path.Combine(_home, "allowed")]);

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Theory]
    [InlineData("HOME/allowed/x.pitr", true)]
    [InlineData("HOME/allowed/../x.pitr", false)]
    [InlineData("HOME/allowed-too/x.pitr", false)]
    [InlineData("HOME/link/x.pitr", false)]
    [InlineData("allowed/x.pitr", false)]
    [InlineData("file://HOME/allowed/x.pitr", false)]
    [InlineData("file://HOME/allowed/#/../../x.pitr", false)]
    public void A_datafile_lies_under_a_root_by_its_path_alone(string path, bool isAllowed)
    {
        MakeLink();
        Assert.Equal(isAllowed, Roots.AllowsPath(path.Replace("HOME", _home, StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("HOME/allowed/store", true)]
    [InlineData("HOME/allowed", true)]
    [InlineData("file://HOME/allowed/store", true)]
    [InlineData("file://HOME/allowed/%2e%2e/store", false)]
    [InlineData("file://HOME/allowed/#/../../store", false)]
    [InlineData("file://HOME/allowed/?/../../store", false)]
    [InlineData("FILE://HOME/allowed/../store", false)]
    [InlineData("HOME/link/store", false)]
    [InlineData("store", false)]
    [InlineData("s3://bucket/store", false)]
    public void A_store_lies_under_a_root_where_the_engine_will_read_it(string store, bool isAllowed)
    {
        MakeLink();
        string named = store.Replace("HOME", _home, StringComparison.Ordinal);
        Assert.Equal(isAllowed, Roots.AllowsStore(named));
        if (isAllowed)
            Assert.StartsWith(
                Path.Combine(_home, "allowed"), StoreAddress.Parse(named, "/").Folder, StringComparison.Ordinal);
        Assert.True(new AllowedRoots([]).AllowsStore(named));
    }

    [Theory]
    [InlineData("s3://bucket/backups", true)]
    [InlineData("s3://bucket/backups/orders", true)]
    [InlineData("s3://bucket/backups-of-others", false)]
    [InlineData("s3://bucket", false)]
    [InlineData("s3://bucket/backups?endpoint=http://elsewhere", false)]
    [InlineData("s3://bucket/backups/../x", false)]
    [InlineData("azblob://bucket/backups", false)]
    [InlineData("command:push", false)]
    [InlineData("/backups", false)]
    public void A_store_that_is_no_folder_lies_under_a_root_that_is_an_address(string store, bool isAllowed) =>
        Assert.Equal(isAllowed, new AllowedRoots(["s3://bucket/backups"]).AllowsStore(store));

    /// <summary>What a link names leads through links itself: in its folders, after `..`, from link to link.</summary>
    [Theory]
    [InlineData("x -> HOME/allowed/y/z, y -> HOME/out", false)]
    [InlineData("x -> y/z, y -> ../out", false)]
    [InlineData("x -> y/../../out, y -> HOME/allowed/deep/er", true)] // .. of where y leads, not of y
    [InlineData("x -> y/../z, y -> HOME/out/deep", false)]
    [InlineData("x -> y, y -> z, z -> HOME/out", false)]
    [InlineData("x -> y, y -> z, z -> HOME/allowed/real", true)]
    [InlineData("x -> HOME/door/allowed/real", true)]
    [InlineData("x -> x", false)]
    [InlineData("x -> y/f, y -> x", false)]
    public void A_link_is_followed_through_the_links_of_its_target(string links, bool isAllowed)
    {
        string allowed = Directory.CreateDirectory(Path.Combine(_home, "allowed")).FullName;
        Directory.CreateDirectory(Path.Combine(_home, "out", "deep"));
        Directory.CreateDirectory(Path.Combine(allowed, "deep", "er"));
        Directory.CreateSymbolicLink(Path.Combine(_home, "door"), _home);
        foreach (string link in links.Replace("HOME", _home, StringComparison.Ordinal).Split(", "))
        {
            string[] sides = link.Split(" -> ");
            File.CreateSymbolicLink(Path.Combine(allowed, sides[0]), sides[1]);
        }

        string named = Path.Combine(allowed, "x", "f");
        Assert.Equal(isAllowed, Roots.AllowsPath(named));
        Assert.Equal(isAllowed, Roots.AllowsStore(named));
        Assert.Equal(isAllowed, Roots.AllowsStore($"file://{named}"));
        // The same by a root that is reached through a link.
        Assert.Equal(isAllowed, new AllowedRoots([Path.Combine(_home, "door", "allowed")]).AllowsPath(named));
    }

    [Fact]
    public void A_root_that_leads_in_a_circle_is_refused_and_allows_nothing()
    {
        string circle = Path.Combine(_home, "circle");
        File.CreateSymbolicLink(circle, circle);
        RefusedException refused = Assert.Throws<RefusedException>(() => new AllowedRoots([circle]));
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
        Assert.Contains(circle, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_root_of_the_file_system_allows_every_path() =>
        Assert.True(new AllowedRoots(["/"]).AllowsPath(Path.Combine(_home, "x.pitr")));

    private void MakeLink()
    {
        Directory.CreateDirectory(Path.Combine(_home, "allowed"));
        string link = Path.Combine(_home, "link");
        if (!Path.Exists(link))
            File.CreateSymbolicLink(link, "/tmp");
    }
}
