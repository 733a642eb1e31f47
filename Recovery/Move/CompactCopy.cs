using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>The compacted file of a datafile, from its first byte to its place: steps 3 to 7 of <see cref="CompactPlan"/>.</summary>
/// <remarks>
/// DURABILITY  those of <see cref="CompactedFile"/>, then, as the switch
/// <code>
///   Stamp · rename over the datafile · sync of its folder · opened by the path that it then has
/// </code>
/// Content and name were synced long before (H18). The rename takes the only name that the former file has, unless somebody
/// gave it another; whoever closes a large one may give its room back in steps (<see cref="GentleRemoval"/>).
/// THREADS  one at a time. FAILURE  as the disk's; then it is void: <see cref="Remove"/>.
/// </remarks>
internal sealed class CompactCopy : SwitchableCopy
{
    private readonly IFileSystem _files;
    private readonly CompactPlan _plan;
    private readonly CompactedFile _file;
    private readonly long _cutBytes;

    private CompactCopy(IFileSystem files, CompactPlan plan, CompactedFile file, long cutBytes) =>
        (_files, _plan, _file, _cutBytes) = (files, plan, file, cutBytes);

    public CompactPlan Plan => _plan;

    public override FileId FileId => _plan.FileId;

    public override string Datafile => _plan.Datafile;

    public override string To => _plan.Origin;

    public override bool IsSwitchedByRecord => false;

    /// <summary>What it is: complete when it was filled, a datafile's once it has switched.</summary>
    public MetaPage Meta => _file.Meta;

    public long LengthBytes => _file.LengthBytes;

    /// <summary>Of a file that is fenced: its meta page must be the one that the fence named.</summary>
    /// <exception cref="DamageException">It is not, or no meta page is valid.</exception>
    /// <exception cref="RefusedException">CompactRefused: a move was faster than the plan.</exception>
    public static CompactCopy Of(
        DatafileEnvironment environment, CompactPlan plan, Incarnation incarnation, ulong generation, Lsn checkpoint)
    {
        RequireAsPlanned(environment.Files, plan);
        MetaPage meta = Storage.Datafile.Inspect(environment.Files, plan.Origin);
        return meta.FileId == plan.FileId && meta.Incarnation == incarnation && meta.Generation == generation
            && meta.CheckpointLsn == checkpoint
            ? new CompactCopy(
                environment.Files, plan,
                new CompactedFile(environment, plan.Datafile, meta, plan.Incarnation, plan.Copy),
                environment.Writer.CutBytes)
            : throw MoveErrors.NotAsFenced(plan.Datafile, plan.Origin);
    }

    /// <summary>See <see cref="CompactedFile.Create"/>.</summary>
    /// <exception cref="RefusedException">CompactRefused: somebody was faster.</exception>
    public void Create()
    {
        RequireAsPlanned(_files, _plan);
        try
        {
            _file.Create();
        }
        catch (StorageFailedException taken) when (taken.Errno == Errno.EEXIST && !_file.IsMade)
        {
            throw CompactErrors.InTheWay(_plan.Datafile, _plan.Copy);
        }
    }

    /// <summary>See <see cref="CompactedFile.Fill"/>.</summary>
    public void Fill(Action<int> wait, Action<long> written, CancellationToken cancellation) =>
        _file.Fill(_plan.Origin, wait, written, cancellation);

    /// <summary>See <see cref="CompactedFile.Prove"/>.</summary>
    public void Prove(Action<long> verified, CancellationToken cancellation) => _file.Prove(verified, cancellation);

    /// <inheritdoc/>
    public override WalEvent? Record(string folder) => null;

    /// <inheritdoc/>
    public override SwitchOutcome Switch()
    {
        FileEntry? former = null;
        try
        {
            _file.Stamp();
            former = _files.Stat(_plan.Origin);
            _files.Rename(_plan.Copy, _plan.Origin);
            _files.SyncFolder(DurableReplace.FolderOf(_plan.Origin));
            return new SwitchOutcome.Compacted(
                _file.Open(_plan.Origin), _file.Meta, GentleRemoval.IsLarge(former, _cutBytes));
        }
        catch (Exception why)
        {
            return former is { Inode: ulong inode } && !IsAsBefore(inode)
                ? new SwitchOutcome.Unknown(why)
                : new SwitchOutcome.NotSwitched(why);
        }
    }

    /// <inheritdoc/>
    public override RefusedException Undecided(string why) => CompactErrors.Undecided(_plan.Datafile, why);

    /// <inheritdoc/>
    public override void Remove()
    {
        if (!_file.IsMade)
            return;
        _files.Delete(_plan.Copy);
        _files.SyncFolder(DurableReplace.FolderOf(_plan.Copy));
    }

    /// <inheritdoc/>
    public override void Dispose() => _file.Dispose();

    private static void RequireAsPlanned(IFileSystem files, CompactPlan plan)
    {
        if (LinkedName.Resolve(files, plan.Name) != plan.Origin)
            throw CompactErrors.Moved(plan.Datafile);
    }

    /// <summary>The name leads to the former file, and a power loss changes nothing about that.</summary>
    private bool IsAsBefore(ulong inode)
    {
        try
        {
            if (_files.Stat(_plan.Origin)?.Inode != inode || _files.Stat(_plan.Copy) is null)
                return false;
            _files.SyncFolder(DurableReplace.FolderOf(_plan.Origin));
            return _files.Stat(_plan.Origin)?.Inode == inode;
        }
        catch (StorageFailedException)
        {
            return false;
        }
    }
}
