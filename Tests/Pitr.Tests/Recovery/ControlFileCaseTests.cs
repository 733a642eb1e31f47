using Pitr.Recovery;

namespace Pitr.Tests;

public sealed class ControlFileCaseTests
{
    private static readonly FileFacts Fitting = new(
        IsThere: true, IsReadable: true, IsOurs: true, IsDatafile: true, IsListed: true, IsDropped: false,
        IsSameIncarnation: true, Generation: 0, IsSameLsn: true, IsOnPath: true, IsAboveWal: false, IsUnborn: false,
        IsBlank: false);

    /// <summary>Every combination of facts: Decide itself requires that one row, and only one, fits.</summary>
    [Fact]
    public void Exactly_one_row_fits_any_facts()
    {
        for (int bits = 0; bits < 1 << 12; bits++)
        {
            for (int generation = -1; generation <= 1; generation++)
            {
                bool Bit(int n) => (bits >> n & 1) != 0;
                ControlFileCase.Decide(new FileFacts(
                    Bit(0), Bit(1), Bit(2), Bit(3), Bit(4), Bit(5), Bit(6), generation, Bit(7), Bit(8), Bit(9), Bit(10),
                    Bit(11)));
            }
        }
    }

    /// <summary>H16: ahead of the control file is what a crash after a flush leaves; ahead of the WAL is not.</summary>
    [Fact]
    public void A_higher_generation_is_normal_unless_it_is_above_the_WAL()
    {
        Assert.Equal("C1", Label(Fitting));
        Assert.Equal("C2", Label(Fitting with { Generation = 1, IsSameLsn = false }));
        Assert.Equal("C7", Label(Fitting with { Generation = 1, IsSameLsn = false, IsAboveWal = true }));
    }

    /// <summary>H16: a copy put back with cp.</summary>
    [Fact]
    public void An_older_or_foreign_copy_needs_recovery()
    {
        Assert.Equal("C3", Label(Fitting with { Generation = -1, IsSameLsn = false }));
        Assert.Equal("C4", Label(Fitting with { IsSameLsn = false }));
        Assert.Equal("C5", Label(Fitting with { Generation = 1, IsSameIncarnation = false }));
        Assert.Equal(FileVerdict.Refuse, ControlFileCase.Decide(Fitting with { IsOurs = false }).Verdict);
    }

    /// <summary>H14: a copy from the abandoned future.</summary>
    [Fact]
    public void A_file_of_a_timeline_that_was_left_needs_recovery() =>
        Assert.Equal("C6", Label(Fitting with { IsOnPath = false }));

    /// <summary>H17: scratch and unfinished copies never open.</summary>
    [Fact]
    public void A_spill_file_is_no_datafile() => Assert.Equal("C9", Label(Fitting with { IsDatafile = false }));

    /// <summary>H23: removed only if it is provably ours and empty of meaning.</summary>
    [Fact]
    public void A_stray_is_removed_only_if_it_is_ours_and_means_nothing()
    {
        FileFacts stray = Fitting with { IsListed = false };
        Assert.Equal(FileVerdict.Remove, ControlFileCase.Decide(stray with { IsDropped = true }).Verdict);
        Assert.Equal(FileVerdict.Remove, ControlFileCase.Decide(stray with { IsUnborn = true }).Verdict);
        Assert.Equal(FileVerdict.SetAside, ControlFileCase.Decide(stray).Verdict);
        Assert.Equal(FileVerdict.SetAside, ControlFileCase.Decide(stray with { IsOurs = false }).Verdict);
        Assert.Equal(FileVerdict.SetAside, ControlFileCase.Decide(stray with { IsReadable = false }).Verdict);
        Assert.Equal(
            FileVerdict.Remove, ControlFileCase.Decide(stray with { IsReadable = false, IsBlank = true }).Verdict);
    }

    private static string Label(FileFacts facts) => ControlFileCase.Decide(facts).Label;
}
