namespace Pitr.Storage;

/// <summary>
/// One generation of a spill in the making: what a worker does between <c>PrepareSpill</c> and <c>CompleteSpill</c> or
/// <c>DropSpill</c>, which are the owner's.
/// </summary>
/// <remarks>
/// ORDER  scratch file made, if there is none · sealed buffers merged into its two trees · SyncData (SF2). Until
/// <c>CompleteSpill</c> the buffers stay and the former root stands, so it can be dropped at any time once its worker
/// has ended. Nothing of it touches the datafile (D3).
/// THREADS  <see cref="Run"/>: one worker. FAILURE  every failure is dropped by the owner: the changes are in the buffers.
/// </remarks>
internal sealed class SpillJob
{
    private readonly Datafile _datafile;
    private readonly Spilled? _before;

    internal SpillJob(Datafile datafile, Spilled? before, ReadView view, IReadOnlyList<WriteBuffer> buffers, Lsn upTo)
    {
        (_datafile, _before, View, Buffers, UpTo) = (datafile, before, view, buffers, upTo);
        File = before?.File;
    }

    /// <summary>What is published once the visible LSN is at or above <see cref="UpTo"/>; null until it has run.</summary>
    public Spilled? Result { get; private set; }

    /// <summary>The seal of the newest buffer.</summary>
    public Lsn UpTo { get; }

    internal ReadView View { get; }

    internal IReadOnlyList<WriteBuffer> Buffers { get; }

    internal IReadOnlyList<uint> Chain { get; private set; } = [];

    internal SpillFile? File { get; private set; }

    /// <summary>On a worker.</summary>
    public void Run(CancellationToken cancellation = default)
    {
        using Datafile.Work work = _datafile.BeginWork();
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _datafile.Closing);
        DatafileEnvironment environment = _datafile.Environment;
        SpillFile file = File ??= _datafile.MakeSpillFile();
        environment.Epochs.Collect();
        file.Free.Begin();
        ulong generation = (_before?.Generation ?? 0) + 1;
        TreeRoot puts = _before?.Puts ?? TreeRoot.Empty(0);
        TreeRoot deletes = _before?.Deletes ?? TreeRoot.Empty(0);
        using (var epoch = new FlushEpoch(environment.Epochs))
        using (var sink = new FlushSink(
            file.Free, file.Pages, file.Handle, environment.Writer, generation, epoch, both.Token))
        {
            puts = TreeMerge.Run(file.Pages, puts, Changes(), [], sink, both.Token, epoch.Renew);
            deletes = TreeMerge.Run(
                file.Pages, deletes, new InvertedChanges(Changes()), [], sink, both.Token, epoch.Renew);
            Chain = sink.Finish();
        }

        environment.Writer.Sync(file.Handle);
        Result = new Spilled(file, puts, deletes, UpTo);
    }

    private SealedChanges Changes() => new([.. Buffers]);
}
