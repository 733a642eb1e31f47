using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// Cuts a large group into ordered parts, so that no message of a datafile takes longer than a millisecond (design §3).
/// Only the last part carries the group's LSN, and nothing continues itself: a seal that comes between two groups finds
/// all of the first and nothing of the second (H1).
/// </summary>
internal static class GroupParts
{
    /// <summary>About a millisecond of inserts: 2,000 changes of 130 bytes.</summary>
    public const int PartBytesMax = 256 << 10;

    /// <summary>Cuts a group.</summary>
    /// <param name="group">What was stamped.</param>
    /// <param name="parts">Gets the parts, in order.</param>
    /// <param name="partBytesMax">Of records, about, in one part; a simulation makes small ones.</param>
    public static void Cut(CommitGroup group, List<ApplyPart> parts, int partBytesMax = PartBytesMax)
    {
        parts.Clear();
        int from = 0;
        long bytes = 0;
        for (int i = 0; i < group.Count; i++)
        {
            PendingCommit member = group.Members[i];
            if (i > from && bytes + member.RecordBytes > partBytesMax)
            {
                parts.Add(new ApplyPart(group, from, i, 0, 0, IsLast: false));
                (from, bytes) = (i, 0);
            }

            if (member.RecordBytes > partBytesMax)
            {
                foreach ((int bodyFrom, uint operations) in Cuts(member, partBytesMax))
                    parts.Add(new ApplyPart(group, i, i + 1, bodyFrom, operations, IsLast: false));
                (from, bytes) = (i + 1, 0);
                continue;
            }

            bytes += member.RecordBytes;
        }

        if (from < group.Count)
            parts.Add(new ApplyPart(group, from, group.Count, 0, 0, IsLast: true));
        else
            parts[^1] = parts[^1] with { IsLast = true };
    }

    private static List<(int From, uint Operations)> Cuts(PendingCommit member, int partBytesMax)
    {
        var cuts = new List<(int From, uint Operations)>();
        var reader = new OperationReader(member.Record.AsSpan(RecordCodec.HeaderBytes), member.OperationCount);
        int from = 0;
        int at = 0;
        uint operations = 0;
        while (reader.MoveNext())
        {
            at += OperationCodec.HeaderBytes + reader.Key.Length + reader.Value.Length;
            operations++;
            if (at - from < partBytesMax)
                continue;
            cuts.Add((from, operations));
            (from, operations) = (at, 0);
        }

        if (operations > 0)
            cuts.Add((from, operations));
        return cuts;
    }
}
