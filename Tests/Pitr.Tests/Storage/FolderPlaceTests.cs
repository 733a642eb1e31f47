using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Which folders are one (H26), and where a path really leads.</summary>
public sealed class FolderPlaceTests
{
    private static readonly FolderPlace Here = new("alpha", "boot", 8, 2);

    /// <summary>The roots of two file systems have one inode: the device tells them apart, as long as its number holds.</summary>
    [Fact]
    public void A_place_is_machine_and_inode_and_within_a_boot_the_device()
    {
        Assert.Equal(PlaceComparison.Same, Here.ComparedWith(Here with { }));
        Assert.Equal(PlaceComparison.Other, Here.ComparedWith(Here with { Device = 9 }));
        Assert.Equal(PlaceComparison.Other, Here.ComparedWith(Here with { Inode = 3 }));
        Assert.Equal(PlaceComparison.Other, Here.ComparedWith(Here with { Machine = "beta" }));
        Assert.Equal(PlaceComparison.MayBeSame, Here.ComparedWith(Here with { BootId = "next", Device = 9 }));
        Assert.Equal(PlaceComparison.Other, Here.ComparedWith(Here with { BootId = "next", Inode = 3 }));
        Assert.Equal(PlaceComparison.MayBeSame, FolderPlace.Parse("alpha/2").ComparedWith(Here));
        Assert.Equal(PlaceComparison.Other, FolderPlace.Unknown.ComparedWith(Here));
        Assert.Equal(PlaceComparison.Other, FolderPlace.Unknown.ComparedWith(FolderPlace.Unknown));
    }

    [Theory]
    [InlineData("alpha/2@boot/8")]
    [InlineData("alpha/2@/0")]
    [InlineData("a/b@c/2@boot/8")]
    public void Its_text_comes_back(string text) => Assert.Equal(text, FolderPlace.Parse(text).ToString());

    [Fact]
    public void The_text_of_before_devices_were_noted_is_read() =>
        Assert.Equal(new FolderPlace("a/b", "", 0, 42), FolderPlace.Parse("a/b/42"));

    [Theory]
    [InlineData("")]
    [InlineData("alpha")]
    [InlineData("alpha/")]
    [InlineData("alpha/x@boot/8")]
    [InlineData("alpha/2@boot")]
    [InlineData("alpha/99999999999999999999@boot/8")]
    public void Another_text_is_none(string text) =>
        Assert.True(Record.Exception(() => FolderPlace.Parse(text)) is FormatException or OverflowException);

    [Fact]
    public void Links_of_folders_on_the_way_are_followed_too()
    {
        var disk = new SimulatedDisk(3);
        disk.CreateFolders("/data2/deep");
        disk.CreateFolders("/db");
        disk.Symlink("/data2", "/db/far");
        disk.Symlink("../data2/deep/../deep", "/db/near");
        disk.Symlink("/db/circle", "/db/circle");
        disk.Symlink("/db", "/to-db");
        Assert.Equal("/data2/b.pitr", LinkedName.ResolveAll(disk, "/db/far/b.pitr"));
        Assert.Equal("/data2/deep/none/b.pitr", LinkedName.ResolveAll(disk, "/db/near/none/b.pitr"));
        Assert.Equal("/db/b.pitr", LinkedName.ResolveAll(disk, "/to-db/b.pitr"));
        Assert.Equal("/db/circle", LinkedName.ResolveAll(disk, "/db/circle"));

        var process = new ThisProcess("elsewhere", 1, "boot");
        var outside = OutsideFiles.Of(disk, "/db", FolderPlace.Of(disk, "/db", process) with { Machine = "here" }, process);
        Assert.True(outside.Bars("/db/far/b.pitr"));
        Assert.True(outside.Bars("/data2/b.pitr"));
        Assert.False(outside.Bars("/to-db/b.pitr"));
        Assert.False(outside.Bars("/db/b.pitr"));
        Assert.False(outside.As(outside.Here).Bars("/data2/b.pitr"));
    }
}
