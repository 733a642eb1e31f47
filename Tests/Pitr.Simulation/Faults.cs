namespace Pitr.Simulation;

/// <summary>What is asked of a disk: the words of faults and of the operation log.</summary>
internal enum FileOp
{
    Open,
    Create,
    Read,
    Write,
    SyncData,
    StartWriteback,
    SetLength,
    Rename,
    Link,
    Symlink,
    ReadLink,
    Delete,
    DeleteFolder,
    CreateFolder,
    SyncFolder,
    Stat,
    List,
    FreeBytes,
    Lock,
}

/// <summary>
/// The language of faults: <c>disk.Faults.On(FileOp.SyncData).Of("orders.pitr").Nth(2).Fail(Errno.EIO)</c>.
/// </summary>
/// <remarks>
/// A fault counts the operations that match from when it was said; without <c>Nth</c> or <c>From</c> it hits the next
/// one, once. Several faults may wait; the first that is due for an operation is taken.
/// </remarks>
internal sealed class Faults(Lock gate)
{
    private readonly List<Fault> _faults = [];

    /// <summary>True if no fault waits.</summary>
    public bool IsEmpty => _faults.Count == 0;

    /// <summary>Begins a fault on one kind of operation.</summary>
    public Fault On(FileOp op) => new(this, op);

    /// <summary>Forgets all faults; what a gate holds stays held.</summary>
    public void Clear()
    {
        lock (gate)
            _faults.Clear();
    }

    internal void Add(Fault fault)
    {
        lock (gate)
            _faults.Add(fault);
    }

    /// <summary>The fault that hits this operation; the caller holds the disk's lock.</summary>
    internal Fault? Take(FileOp op, string path)
    {
        Fault? due = null;
        foreach (Fault fault in _faults)
        {
            if (fault.IsDue(op, path))
                due ??= fault;
        }
        if (due is { IsOver: true })
            _faults.Remove(due);
        return due;
    }
}

/// <summary>What a fault does to the operation that it hits.</summary>
internal enum FaultKind
{
    /// <summary>Nothing is done; the error is thrown. A failed sync drops what it should have written.</summary>
    Fail,

    /// <summary>A write does its first bytes, then fails with EIO.</summary>
    Tear,

    /// <summary>Nothing is done, and success is reported: a lying disk.</summary>
    Lie,

    /// <summary>A read gives other bytes than were written.</summary>
    Garble,

    /// <summary>The operation waits until its gate is released.</summary>
    Hold,

    /// <summary>A write lands elsewhere in its file, and success is reported: a drive's misdirected write.</summary>
    Misdirect,

    /// <summary>The operation is done, and takes its time: the disk's clock goes on by it.</summary>
    Slow,
}

/// <summary>
/// One fault; the last word (Fail, Tear, Full, Lie, Garble, Hold, Misdirect, Slow) puts it in force.
/// </summary>
internal sealed class Fault(Faults owner, FileOp op)
{
    private string _of = "";
    private int _first = 1;
    private bool _stays;
    private int _seen;

    public FaultKind Kind { get; private set; }
    public int Error { get; private set; }
    public int AtBytes { get; private set; }
    public long ToOffset { get; private set; }
    public TimeSpan Takes { get; private set; }
    public FaultGate? Gate { get; private set; }
    public bool IsOver => !_stays;

    /// <summary>Only where the path contains this.</summary>
    public Fault Of(string pathPart)
    {
        _of = pathPart;
        return this;
    }

    /// <summary>The n-th from now on, from 1.</summary>
    public Fault Nth(int n)
    {
        _first = n;
        return this;
    }

    /// <summary>The n-th from now on and all after it.</summary>
    public Fault From(int n)
    {
        (_first, _stays) = (n, true);
        return this;
    }

    /// <summary>Every one from now on.</summary>
    public Fault Always() => From(1);

    /// <summary>Fails with an error number of <see cref="Pitr.Storage.Errno"/>.</summary>
    public void Fail(int errno) => Enter(FaultKind.Fail, errno);

    /// <summary>Fails with ENOSPC.</summary>
    public void Full() => Enter(FaultKind.Fail, Pitr.Storage.Errno.ENOSPC);

    /// <summary>A write does its first bytes, then fails with EIO.</summary>
    public void Tear(int atBytes)
    {
        AtBytes = atBytes;
        Enter(FaultKind.Tear, Pitr.Storage.Errno.EIO);
    }

    /// <summary>Reports success and does nothing; a sync that lies leaves its changes unsynced.</summary>
    public void Lie() => Enter(FaultKind.Lie, 0);

    /// <summary>A read that gives other bytes: its first byte is turned over.</summary>
    public void Garble() => Enter(FaultKind.Garble, 0);

    /// <summary>A write lands at this offset of its file instead of its own.</summary>
    public void Misdirect(long toOffset)
    {
        ToOffset = toOffset;
        Enter(FaultKind.Misdirect, 0);
    }

    /// <summary>The operation takes so long, in the disk's virtual time.</summary>
    public void Slow(TimeSpan takes)
    {
        Takes = takes;
        Enter(FaultKind.Slow, 0);
    }

    /// <summary>Stops the thread that does it, until the gate is released; then the operation is done.</summary>
    public FaultGate Hold()
    {
        Gate = new FaultGate();
        Enter(FaultKind.Hold, 0);
        return Gate;
    }

    internal bool IsDue(FileOp asked, string path)
    {
        if (asked != op || !path.Contains(_of, StringComparison.Ordinal))
            return false;
        _seen++;
        return _stays ? _seen >= _first : _seen == _first;
    }

    private void Enter(FaultKind kind, int errno)
    {
        (Kind, Error) = (kind, errno);
        owner.Add(this);
    }
}

/// <summary>A door inside the disk: a test sees that an operation stands before it, and opens it.</summary>
internal sealed class FaultGate
{
    private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Done when an operation stands before the gate.</summary>
    public Task Reached => _reached.Task;

    /// <summary>Lets it, and all that come after it, pass.</summary>
    public void Release() => _released.TrySetResult();

    internal void Pass()
    {
        _reached.TrySetResult();
        _released.Task.Wait();
    }
}
