using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>The archive store fails for some turns, in one kind of operation or all, and comes back.</summary>
internal sealed class StepStoreOutage(StepScene scene) : StepActivity(scene)
{
    private static readonly FileOp[] Failing =
        [FileOp.SyncData, FileOp.Write, FileOp.Create, FileOp.Rename, FileOp.Link, FileOp.SyncFolder, FileOp.Read, FileOp.List];

    public override IEnumerable<Turn> Run()
    {
        FileOp operation = Failing[Scene.Next(Failing.Length)];
        Fault fault = Scene.Disk.Faults.On(operation).Of(StepSettings.Store).Nth(1 + Scene.Next(4));
        if (operation == FileOp.SyncData && Scene.Chance(30))
            fault.Slow(TimeSpan.FromSeconds(90));
        else
            fault.Fail(Errno.EIO);
        for (int i = 1 + Scene.Next(10); i > 0; i--)
            yield return default;
    }
}
