using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.MixedLab;

namespace Pitr.Tests;

/// <summary>
/// A recovery in place that stays at its target (design §10): it is looked at, goes on forward with the WAL of its own folder,
/// and is promoted; until then the way back is open.
/// </summary>
public sealed class PausedInPlaceTests
{
    /// <summary>
    /// Forward over the drop of a datafile and the birth of one: what lay there under its name stays beside (IW1). The archive
    /// lacks the end of it.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task It_is_looked_at_goes_on_to_later_moments_and_is_promoted(bool isPromotedAtOnce)
    {
        MixedLab lab = await LaggingAsync();
        Moment[] moments = [.. lab.Moments.SkipWhile(moment => !moment.Content.Contains("events@late", StringComparison.Ordinal))];
        Moment before = lab.Moments[lab.Moments.Count - moments.Length - 1];
        byte[] late = lab.Disk.ReadAll(Late);

        RestoreResult paused = await PauseAsync(lab, before);

        Assert.Equal((1u, before.Transaction), (paused.Timeline.Value, paused.StoppedAt.TransactionId));
        Assert.Contains(paused.Findings, finding => finding.StartsWith("Behind the target", StringComparison.Ordinal));
        await RequireLooksAsync(lab, before);
        foreach (Moment next in new[] { moments[1], lab.Middle, lab.Recent })
        {
            RestoreResult result = await RecoverAsync(lab, RecoveryTarget.Including(next.Lsn));
            Assert.Equal((1u, next.Transaction), (result.Timeline.Value, result.StoppedAt.TransactionId));
            Assert.Contains(result.Findings, finding => finding.StartsWith("Behind the target", StringComparison.Ordinal));
            await RequireLooksAsync(lab, next);
        }

        Assert.Equal(late, lab.Disk.ReadAll(Late + AsideName.Suffix));
        Moment last = isPromotedAtOnce ? moments[^2] : lab.Recent;
        RestoreResult promoted = await RecoverAsync(
            lab, isPromotedAtOnce ? RecoveryTarget.Including(last.Lsn) : null, promote: true);
        Assert.Equal(2u, promoted.Timeline.Value);
        await lab.RequireServesAsync(last.Content, 2);
    }

    /// <summary>To the end of what the folder has, which no store has.</summary>
    [Fact]
    public async Task Without_a_target_it_goes_to_the_end_of_its_own_WAL()
    {
        MixedLab lab = await LaggingAsync();
        await PauseAsync(lab, lab.Recent);

        RestoreResult end = await RecoverAsync(lab, null);

        Assert.DoesNotContain(end.Findings, finding => finding.StartsWith("Behind the target", StringComparison.Ordinal));
        await RequireLooksAsync(lab, lab.Moments[^1]);
        await RecoverAsync(lab, null, promote: true);
        await lab.RequireServesAsync(lab.Content, 2);
    }

    /// <summary>The moment was too late, or all of it a mistake: with the control file that was there it is begun again.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task With_the_former_control_file_it_is_begun_again_to_an_earlier_moment_or_to_the_end(bool isEarlier)
    {
        MixedLab lab = await RecordedAsync();
        Moment earlier = lab.Moments.First(moment => moment.Content.Contains("events@late", StringComparison.Ordinal));
        await PauseAsync(lab, lab.Middle);
        await lab.RequireRefusedAsync<RefusedException>(
            lab.Request(RecoveryTarget.Including(earlier.Lsn)), ErrorCode.ControlFileWhole);

        lab.Disk.Rename(MixedLab.Control + AsideName.Suffix, MixedLab.Control);
        lab.Disk.SyncFolder(Folder);

        await lab.RequireRecoversAsync(
            isEarlier ? lab.Request(RecoveryTarget.Including(earlier.Lsn)) : lab.Request(),
            isEarlier ? earlier.Content : lab.Content);
    }

    /// <summary>A branch whose history no store has: the control file has it.</summary>
    [Fact]
    public async Task On_a_branch_that_no_store_knows_it_goes_on_too()
    {
        MixedLab lab = await RecordedAsync();
        InPlaceRecoveryRequest back = lab.Detached(RecoveryTarget.Including(lab.Middle.Lsn));
        await PitrRecovery.RecoverInPlaceAsync(back, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);
        CommitResult first;
        CommitResult second;
        await using (PitrDatabase database = await lab.OpenAsync())
        {
            first = await database.PutAsync("orders", "branch", "1");
            second = await database.PutAsync("orders", "branch", "2");
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        await PitrRecovery.RecoverInPlaceAsync(
            back with { Target = RecoveryTarget.Including(first.Lsn), Pause = true }, RecoveryLab.OptionsOn(lab.Disk))
            .WaitAsync(Patience);
        RestoreResult result = await RecoverAsync(lab, RecoveryTarget.Including(second.Lsn));

        Assert.Equal((2u, second.TransactionId), (result.Timeline.Value, result.StoppedAt.TransactionId));
        await using PitrDatabase paused = await lab.OpenAsync();
        Assert.Equal("2", paused.Get("orders", "branch"));
    }

    private static Task<RestoreResult> PauseAsync(MixedLab lab, Moment at) => PitrRecovery.RecoverInPlaceAsync(
        lab.Request(RecoveryTarget.Including(at.Lsn)) with { Pause = true }, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);

    private static Task<RestoreResult> RecoverAsync(MixedLab lab, RecoveryTarget? target, bool promote = false) =>
        PitrRecovery.RecoverAsync(Folder, target, promote, RecoveryLab.OptionsOn(lab.Disk)).WaitAsync(Patience);

    /// <summary>It shows that moment, takes no commit, and nothing of it is left open.</summary>
    private static async Task RequireLooksAsync(MixedLab lab, Moment moment)
    {
        await using (PitrDatabase database = await lab.OpenAsync())
        {
            Assert.Equal(moment.Content, RecoveryLab.ContentOf(database));
            Assert.Equal("paused", (await database.GetStatusAsync().WaitAsync(Patience)).State);
            await Assert.ThrowsAsync<RefusedException>(
                () => database.PutAsync(database.GetTable("orders"), "no"u8.ToArray(), "1"u8.ToArray()).AsTask());
        }

        await TestDatabase.NothingIsOpenAsync(lab.Disk);
        Assert.Null(lab.Disk.WrittenWithoutLock);
    }
}
