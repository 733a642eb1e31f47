using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Tests;

/// <summary>H1, in the plain parts: how a group is cut, and what a datafile does between two parts of one.</summary>
public sealed class GroupPartsTests
{
    private static readonly Table Table = new("t", new TableId(1), FileId.Main);

    /// <summary>H1: the parts cover the group in order, each member once, and only the last of them ends it.</summary>
    [Theory]
    [InlineData(100, 100, 100, 100, 100, 100)]
    [InlineData(1, 600, 1)]
    [InlineData(200, 200, 900)]
    public void The_parts_of_a_group_hold_each_commit_once_and_only_the_last_one_ends_it(params int[] kibibytes)
    {
        CommitGroup group = GroupOf(kibibytes);
        var parts = new List<ApplyPart>();
        GroupParts.Cut(group, parts);

        Assert.True(parts.Count > 1);
        Assert.All(parts.SkipLast(1), part => Assert.False(part.IsLast));
        Assert.True(parts[^1].IsLast);
        var operations = new uint[group.Count];
        int next = 0;
        foreach (ApplyPart part in parts)
        {
            Assert.Equal(part.Operations == 0 || part.BodyFrom == 0 ? next : next - 1, part.From);
            next = part.To;
            for (int i = part.From; i < part.To; i++)
                operations[i] += part.Operations == 0 ? group.Members[i].OperationCount : part.Operations;
        }
        Assert.Equal(group.Members.Take(group.Count).Select(member => member.OperationCount), operations);
    }

    /// <summary>
    /// H1: between two parts of a group a file is not sealed, whoever asks; after the last one it is.
    /// </summary>
    [Fact]
    public void A_file_is_not_sealed_between_two_parts_of_a_group()
    {
        using DatafileOnDisk it = DatafileOnDisk.Create();
        var progress = new DatafileProgress(
            FileId.Main, it.File,
            new DatafileStart(DatafileOnDisk.Lineage, it.File.CheckpointLsn, IsRecovering: false));
        CommitGroup group = GroupOf(200, 200, 200);
        group.Lsn = it.File.CheckpointLsn + 800;
        for (int i = 0; i < group.Count; i++)
            group.Members[i].Result = new CommitResult(group.Lsn + (-8 * (group.Count - 1 - i)), default, default);
        var parts = new List<ApplyPart>();
        GroupParts.Cut(group, parts);

        foreach (ApplyPart part in parts.SkipLast(1))
        {
            Assert.False(progress.Apply(part));
            Assert.False(progress.CanSeal);
            Assert.Throws<BugException>(progress.Seal);
        }
        Assert.True(progress.Apply(parts[^1]));
        Assert.True(progress.CanSeal);
        progress.Seal();
        Assert.Equal(group.Lsn, it.File.SealedUpTo);
    }

    private static CommitGroup GroupOf(params int[] kibibytes)
    {
        var group = new CommitGroup();
        foreach (int size in kibibytes)
        {
            var batch = new WriteBatch();
            for (int i = 0; i < size; i++)
                batch.Put(Table, BitConverter.GetBytes(i), new byte[1024]);
            batch.Pending.Prepare(PoolThreads.Instance, CancellationToken.None);
            group.Add(batch.Pending);
        }
        return group;
    }
}
