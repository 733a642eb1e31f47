using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>The decision table row by row (H6).</summary>
public sealed class EndOfWalTests
{
    [Fact]
    public void Exactly_one_row_fits_any_facts()
    {
        foreach (FoundAtEnd found in Enum.GetValues<FoundAtEnd>())
        {
            foreach (FoundBehind behind in Enum.GetValues<FoundBehind>())
            {
                foreach (bool below in (bool[])[false, true])
                {
                    foreach (bool archive in (bool[])[false, true])
                    {
                        // A record's place that is not reached, or cannot be read, has nothing behind it that counts.
                        bool isMoot = found is FoundAtEnd.Stop or FoundAtEnd.CrossesStop or FoundAtEnd.Unreadable
                            && behind != FoundBehind.Nothing;
                        if (!isMoot)
                            Assert.Single(EndOfWal.Rows, row => row.Fits(new EndFacts(found, behind, below, archive)));
                    }
                }
            }
        }
    }
}
