using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.MixedLab;

namespace Pitr.Tests;

/// <summary>
/// A database goes back where it lies while its archive is behind: what was committed beyond the target is in its folder
/// alone. The run says so, and keeps it (H31).
/// </summary>
public sealed class LeftBehindTests
{
    private const string WalFolderName = $"{Folder}/wal";

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_no_store_has_is_told_and_stays_until_the_operator_removes_it(bool isArchived)
    {
        MixedLab lab = await LaggingAsync();
        RecoveryTarget target = RecoveryTarget.Including(lab.Recent.Lsn);
        InPlaceRecoveryRequest back = isArchived ? lab.Request(target) : lab.Detached(target);
        Dictionary<string, byte[]> left = SegmentsFrom(lab, lab.Recent.Lsn);
        Assert.True(left.Count > 1, $"Only {left.Count} segments.");

        RestoreResult result = await PitrRecovery.RecoverInPlaceAsync(back, RecoveryLab.OptionsOn(lab.Disk))
            .WaitAsync(Patience);

        string told = Assert.Single(result.Findings, finding => finding.StartsWith("Behind the target", StringComparison.Ordinal));
        Assert.Contains("WAL of timeline 1 up to", told, StringComparison.Ordinal);
        Assert.Contains(AsideName.Suffix, told, StringComparison.Ordinal);
        Assert.Contains(result.Findings, finding => finding.Contains($"'{MixedLab.Control}' is kept", StringComparison.Ordinal));
        Assert.Equal(!isArchived, result.Findings.Any(finding => finding.Contains("archives nowhere", StringComparison.Ordinal)));

        await PassAsync(lab, left.Keys);

        Assert.All(left, segment => Assert.Equal(segment.Value, lab.Disk.ReadAll(segment.Key + AsideName.Suffix)));
        Assert.Equal(new TimelineId(2), WalOf(lab).LastRuns.Single().Identity.Timeline);
    }

    /// <summary>The way back to what was left, with what was kept.</summary>
    [Fact]
    public async Task With_what_was_kept_the_database_goes_to_the_end_of_the_branch_that_it_left()
    {
        MixedLab lab = await LaggingAsync();
        Dictionary<string, byte[]> left = SegmentsFrom(lab, lab.Recent.Lsn);
        await PitrRecovery.RecoverInPlaceAsync(
            lab.Request(RecoveryTarget.Including(lab.Recent.Lsn)), RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);
        await PassAsync(lab, left.Keys);
        foreach (string segment in left.Keys)
            lab.Disk.Rename(segment + AsideName.Suffix, segment);
        lab.Disk.SyncFolder(WalFolderName);

        await PitrRecovery.RecoverInPlaceAsync(
            lab.Request() with { Timeline = "1" }, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);

        await lab.RequireServesAsync(lab.Content, 3);
    }

    /// <summary>Nothing is left behind the end.</summary>
    [Fact]
    public async Task A_recovery_to_the_end_leaves_nothing_behind()
    {
        MixedLab lab = await RecordedAsync(isKilled: true);
        lab.Disk.Delete(MixedLab.Control);
        Dictionary<string, byte[]> segments = SegmentsFrom(lab, Lsn.Zero);

        RestoreResult result = await PitrRecovery.RecoverInPlaceAsync(lab.Request(), RecoveryLab.OptionsOn(lab.Disk))
            .WaitAsync(Patience);

        Assert.DoesNotContain(result.Findings, finding => finding.StartsWith("Behind", StringComparison.Ordinal));
        await PassAsync(lab, segments.Keys);
        Assert.DoesNotContain(
            lab.Disk.List(WalFolderName), name => name.EndsWith(AsideName.Suffix, StringComparison.Ordinal));
    }

    /// <summary>What came from parts is told by the run, too.</summary>
    [Fact]
    public async Task A_restore_tells_what_its_plan_noted()
    {
        MixedLab lab = await RecordedAsync(isArchived: false);

        RestoreResult result = await PitrRecovery.RestoreAsync(
            new RestoreRequest { Store = Sets, Into = "/again", Target = RecoveryTarget.Immediate },
            RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);

        Assert.Contains(result.Findings, finding => finding.Contains("archives nowhere", StringComparison.Ordinal));
    }

    /// <summary>The database goes on until a checkpoint has passed all of these, and they have gone from their names.</summary>
    private static async Task PassAsync(MixedLab lab, IEnumerable<string> segments)
    {
        await using PitrDatabase database = await lab.OpenAsync();
        for (int n = 0; n < 20; n++)
            await database.PutAsync(database.GetTable("orders"), "after"u8.ToArray(), new byte[12 << 10]);
        await database.CheckpointAsync().WaitAsync(Patience);
        await TestEngine.Until(() => segments.All(path => lab.Disk.Stat(path) is null), "the segments that were left go");
        await database.ShutdownAsync().WaitAsync(Patience);
        await TestDatabase.NothingIsOpenAsync(lab.Disk);
    }

    private static Dictionary<string, byte[]> SegmentsFrom(MixedLab lab, Lsn from) => WalOf(lab).Runs
        .SelectMany(run => Enumerable.Range((int)NumberOf(run.From), 1 + (int)(NumberOf(run.To) - NumberOf(run.From)))
            .Select(number => new SegmentName(run.Identity.Timeline, (ulong)number)))
        .Where(name => name.Number >= NumberOf(from))
        .Select(name => $"{WalFolderName}/{name}")
        .ToDictionary(path => path, lab.Disk.ReadAll);

    private static WalSurvey WalOf(MixedLab lab) => WalSurvey.Of(lab.Disk, WalFolderName);

    private static ulong NumberOf(Lsn lsn) => new WalGeometry(16 << 10).NumberOf(lsn);
}
