using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Tests.MixedLab;

namespace Pitr.Tests;

/// <summary>
/// Files that do not belong to the control file that is there. Most rows are tests of the subject they are about; these are
/// the rest.
/// </summary>
public sealed class CurrentControlFileTests
{
    /// <summary>It is told by its header, keeps nobody else from serving, and is not written over (RF1).</summary>
    [Fact]
    [MixedCase("X9")]
    public async Task A_file_of_another_database_is_not_used_and_stays_beside_the_one_that_comes_back()
    {
        MixedLab lab = await RecordedAsync();
        byte[] foreign = await lab.ForeignFileAsync();
        lab.Put(Early, foreign);

        await using (PitrDatabase database = await lab.OpenAsync())
        {
            RefusedException refused = Assert.Throws<RefusedException>(
                () => database.Get(database.GetTable("archived"), "k01"u8.ToArray()));
            Assert.Equal(ErrorCode.ForeignSystem, refused.Code);
            await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "1"u8.ToArray());
            await database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "early" }).WaitAsync(Patience);
            Assert.Equal(
                lab.Content.Split('\n').Where(line => line.StartsWith("archived", StringComparison.Ordinal)),
                RecoveryLab.ContentOf(database).Split('\n')
                    .Where(line => line.StartsWith("archived", StringComparison.Ordinal)));
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        Assert.Equal(foreign, lab.Disk.ReadAll(Early + RecoveredFile.AsideSuffix));
    }

    /// <summary>A copy of a set in a folder is no database: nothing opens it as if it had crashed.</summary>
    [Fact]
    public async Task The_control_file_of_a_backup_set_opens_no_database()
    {
        MixedLab lab = await RecordedAsync();
        lab.Put(MixedLab.Control, lab.Disk.ReadAll(FilesUnder(lab.Disk, RecoveryLab.Archive)
            .Single(path => path.EndsWith("/pitr.control", StringComparison.Ordinal))));
        string[] before = lab.Fingerprints();
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => lab.OpenAsync());
        Assert.Equal(ErrorCode.ControlFileOfBackup, refused.Code);
        Assert.Equal(before, lab.Fingerprints());
    }
}
