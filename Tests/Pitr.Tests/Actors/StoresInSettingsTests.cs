using System.Text;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>pitr.json after a store was added or removed: what the operator wrote besides stays as it was.</summary>
public sealed class StoresInSettingsTests
{
    [Theory]
    [InlineData("{}", "{\n  \"stores\": [\"/a\"]\n}")]
    [InlineData("""{"stores":[]}""", """{"stores":["/a"]}""")]
    [InlineData("""{"stores":null,"x":1}""", """{"stores":["/a"],"x":1}""")]
    [InlineData("""{ "roots": ["/r"] }""", "{\n  \"stores\": [\"/a\"], \"roots\": [\"/r\"] }")]
    [InlineData(
        """{ /* why */ "later": {"stores": 5}, "stores": [ "/b", ], } // end""",
        """{ /* why */ "later": {"stores": 5}, "stores": ["/b", "/a"], } // end""")]
    public void A_store_is_added_and_nothing_else_changes(string before, string after)
    {
        SimulatedDisk disk = DiskWith(before);
        StoresInSettings.Add(disk, "/db", "/a", store => store == "/a");
        Assert.Equal(after, Text(disk));
    }

    [Fact]
    public void Without_a_file_one_is_made()
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders("/db");
        StoresInSettings.Add(disk, "/db", "s3://b/p?region=x&endpoint=http://h", store => store == "s3://b/p?region=x&endpoint=http://h");
        Assert.Equal(["s3://b/p?region=x&endpoint=http://h"], DatabaseSettings.Read(disk, "/db").Stores);
    }

    [Fact]
    public void A_store_is_removed_wherever_it_stands()
    {
        SimulatedDisk disk = DiskWith("""{"stores": ["/a", "/b", "/a"], "http": "h:1"}""");
        Assert.True(StoresInSettings.Remove(disk, "/db", store => store == "/a"));
        Assert.Equal("""{"stores": ["/b"], "http": "h:1"}""", Text(disk));
        Assert.False(StoresInSettings.Remove(disk, "/db", store => store == "/a"));
        Assert.True(StoresInSettings.Remove(disk, "/db", store => store == "/b"));
        Assert.Equal("""{"stores": [], "http": "h:1"}""", Text(disk));
    }

    [Fact]
    public void A_file_that_is_no_settings_stays_as_it_is()
    {
        SimulatedDisk disk = DiskWith("""{"stores": "no list"}""");
        Assert.Equal(
            ErrorCode.SettingsInvalid,
            Assert.Throws<RefusedException>(() => StoresInSettings.Add(disk, "/db", "/a", store => store == "/a")).Code);
        Assert.Equal("""{"stores": "no list"}""", Text(disk));
    }

    /// <summary>Whatever the operation at which power goes, the file says the one or the other.</summary>
    [Fact]
    public void Power_loss_leaves_the_old_text_or_the_new_one()
    {
        for (long at = 1; ; at++)
        {
            SimulatedDisk disk = DiskWith("""{"stores": ["/b"]}""");
            disk.CrashAt(disk.OperationCount + at);
            bool isDone = false;
            try
            {
                StoresInSettings.Add(disk, "/db", "/a", store => store == "/a");
                isDone = true;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            for (int seed = 0; seed < 8; seed++)
            {
                string after = Text(disk.CrashCopy(seed));
                Assert.Contains(after, new[] { """{"stores": ["/b"]}""", """{"stores": ["/b", "/a"]}""" });
                Assert.True(!isDone || after.Contains("/a", StringComparison.Ordinal));
            }
            if (isDone)
                return;
        }
    }

    private static SimulatedDisk DiskWith(string text)
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders("/db");
        DurableReplace.Write(disk, "/db/pitr.json", Encoding.UTF8.GetBytes(text));
        return disk;
    }

    private static string Text(SimulatedDisk disk) => Encoding.UTF8.GetString(disk.ReadAll("/db/pitr.json"));
}
