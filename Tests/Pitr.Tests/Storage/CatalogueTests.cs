using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Which files and tables there are at an LSN, and that ids and names stay unique.</summary>
public sealed class CatalogueTests
{
    private static readonly Catalogue Two = Catalogue.Empty
        .CreateFile(FileOf(1, "main"), new Lsn(8))
        .CreateFile(FileOf(2, "orders"), new Lsn(16))
        .CreateTable(new TableId(1), "a", new FileId(2), new Lsn(24))
        .CreateTable(new TableId(2), "b", FileId.Main, new Lsn(32));

    private static CatalogueFile FileOf(uint id, string name) =>
        new(new FileId(id), name, name + ".pitr", new Incarnation(id), 1, new Lsn(id * 100), new Lsn(id * 100 + 50));

    /// <summary>H43: what the catalogue has is not applied again.</summary>
    [Fact]
    public void An_event_at_or_below_its_lsn_changes_nothing()
    {
        Assert.Same(Two, Two.CreateFile(FileOf(2, "orders"), new Lsn(16)));
        Assert.Same(Two, Two.DropFile(new FileId(2), new Lsn(32)));
        Assert.Same(Two, Two.CreateTable(new TableId(1), "a", new FileId(2), new Lsn(24)));
        Assert.Same(Two, Two.DropTable(new TableId(1), new Lsn(30)));
    }

    /// <summary>H23, H43: dropped ids stay listed until the redo point has passed, and are never given again.</summary>
    [Fact]
    public void Dropping_a_file_drops_its_tables_and_remembers_both()
    {
        Catalogue after = Two.DropFile(new FileId(2), new Lsn(40));
        Assert.Null(after.File("orders"));
        Assert.Null(after.Table("a"));
        Assert.NotNull(after.Table("b"));
        Assert.True(after.IsDropped(new FileId(2)) && after.IsDropped(new TableId(1)));
        Assert.Null(after.Fault());
        Assert.True(after.ForgetDropped(new Lsn(39)).IsDropped(new FileId(2)));

        Catalogue later = after.ForgetDropped(new Lsn(40));
        Assert.False(later.IsDropped(new FileId(2)) || later.IsDropped(new TableId(1)));
        Assert.Equal(new FileId(3), later.NextFileId);
        Assert.Throws<BugException>(() => later.CreateFile(FileOf(2, "orders"), new Lsn(48)));
        Assert.Throws<BugException>(() => later.CreateTable(new TableId(1), "a", FileId.Main, new Lsn(48)));
    }

    [Fact]
    public void Names_are_taken_once_and_free_again_after_a_drop()
    {
        Assert.Throws<BugException>(() => Two.CreateFile(FileOf(3, "orders"), new Lsn(40)));
        Assert.Throws<BugException>(() => Two.CreateTable(new TableId(3), "a", FileId.Main, new Lsn(40)));
        Catalogue again = Two.DropTable(new TableId(1), new Lsn(40))
            .CreateTable(new TableId(3), "a", FileId.Main, new Lsn(48));
        Assert.Equal(new TableId(3), again.Table("a")!.Id);
        Assert.Throws<BugException>(() => Two.CreateTable(new TableId(3), "c", new FileId(9), new Lsn(40)));
    }

    [Fact]
    public void New_facts_about_a_file_leave_the_lsn_as_it_is()
    {
        Catalogue after = Two.WithFile(Two.File("orders")! with { Generation = 7, NeedsRecovery = "older" });
        Assert.Equal(Two.Lsn, after.Lsn);
        Assert.Equal(7UL, after.File(new FileId(2))!.Generation);
        Assert.Equal(new Lsn(150), after.LeastCleanUpTo);
        Assert.Equal(Lsn.MaxValue, Catalogue.Empty.LeastCleanUpTo);
    }

    [Theory]
    [InlineData("/data/db", "/data/db/orders.pitr", "orders.pitr")]
    [InlineData("/data/db/", "/data/db/sub/../orders.pitr", "orders.pitr")]
    [InlineData("/data/db", "orders.pitr", "orders.pitr")]
    [InlineData("/data/db", "/data/db2/orders.pitr", "/data/db2/orders.pitr")]
    [InlineData("/data/db", "../x.pitr", "/data/x.pitr")]
    public void A_path_inside_the_folder_is_stored_relative_so_that_it_moves_with_it(
        string folder, string path, string stored)
    {
        Assert.Equal(stored, Catalogue.StoredPath(folder, path));
        string moved = stored.StartsWith('/') ? stored : "/elsewhere/" + stored;
        Assert.Equal(moved, Catalogue.FullPath("/elsewhere", stored));
    }
}
