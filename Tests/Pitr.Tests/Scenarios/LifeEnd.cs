using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What ends a life.</summary>
internal enum LifeEndKind
{
    /// <summary>A copy as after a crash; the engine itself does not notice, and is forced to shut down.</summary>
    Unnoticed,

    /// <summary>
    /// A copy as after a crash, and from the same operation on the file system throws, whatever is asked of it.
    /// </summary>
    FileSystemThrows,

    /// <summary>
    /// From an operation on the disk gives I/O errors; what was acknowledged until the engine ended must be there.
    /// </summary>
    DiskFails,

    /// <summary>An orderly shutdown, and a copy in the middle of it.</summary>
    Shutdown,
}

/// <summary>How and at which operation on the disk a life ends.</summary>
internal sealed class LifeEnd
{
    private static readonly FileOp[] Failing =
    [
        FileOp.Create, FileOp.Write, FileOp.SyncData, FileOp.StartWriteback, FileOp.SetLength, FileOp.Rename,
        FileOp.Link, FileOp.Symlink, FileOp.Delete, FileOp.SyncFolder,
    ];

    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int _after;
    private readonly int _shutdownAfter;

    private LifeEnd(LifeEndKind kind, string of, int after, int shutdownAfter)
    {
        Kind = kind;
        Of = of;
        _after = after;
        _shutdownAfter = shutdownAfter;
    }

    public LifeEndKind Kind { get; }

    /// <summary>What fails: a part of the path; empty: everything.</summary>
    public string Of { get; }

    /// <summary>Done when it has come to this end.</summary>
    public Task Begun => _begun.Task;

    public bool HasBegun => _begun.Task.IsCompleted;

    public static LifeEnd Drawn(ref SeededRandom random)
    {
        LifeEndKind kind = random.Next(10) switch
        {
            < 4 => LifeEndKind.Unnoticed,
            < 7 => LifeEndKind.FileSystemThrows,
            < 9 => LifeEndKind.DiskFails,
            _ => LifeEndKind.Shutdown,
        };
        string of = kind == LifeEndKind.DiskFails ? ((string[])["", ".pitr", "/wal/", "control"])[random.Next(4)] : "";
        return new LifeEnd(kind, of, 1 + random.Next(random.Chance(50) ? 150 : 1500), 1 + random.Next(40));
    }

    /// <summary>Sets it on the disk.</summary>
    public void Begin(SimulatedDisk disk, Action takeCopy)
    {
        long at = disk.OperationCount + _after;
        disk.BeforeOperation = operation =>
        {
            if (operation < at || HasBegun)
                return;
            if (Kind is LifeEndKind.Unnoticed or LifeEndKind.FileSystemThrows)
                takeCopy();
            if (Kind == LifeEndKind.FileSystemThrows)
                disk.PowerOff();
            if (Kind == LifeEndKind.DiskFails)
                FailFromNowOn(disk, Of);
            _begun.TrySetResult();
        };
    }

    /// <summary>The shutdown begins: the copy is taken at one of its operations.</summary>
    public void BeginShutdown(SimulatedDisk disk, Action takeCopy)
    {
        long at = disk.OperationCount + _shutdownAfter;
        disk.BeforeOperation = operation =>
        {
            if (operation >= at)
                takeCopy();
        };
    }

    /// <summary>Every change and every sync of the paths ends with EIO.</summary>
    public static void FailFromNowOn(SimulatedDisk disk, string of)
    {
        foreach (FileOp operation in Failing)
            disk.Faults.On(operation).Of(of).Always().Fail(Errno.EIO);
    }
}
