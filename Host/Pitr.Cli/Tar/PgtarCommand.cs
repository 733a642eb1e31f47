using System.CommandLine;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Cli;

/// <summary>
/// <c>pgtar</c>: the tar of a running engine's datafiles, through its fences, to a file or standard output.
/// </summary>
/// <remarks>
/// A file gets its name when the tar is whole and durable; standard output, a pipe or a device gets it as it is made.
/// Interrupted, it gives its fence back and ends with 1; what it has written has no manifest. The destination is opened
/// before the engine keeps anything for it: a named pipe opens when somebody reads it.
/// </remarks>
internal static class PgtarCommand
{
    private const long MemoryBytes = 64L << 20; // for reading a tree, if a page fails its checksum

    /// <summary>A write that hangs in a pipe keeps nobody longer who has interrupted it.</summary>
    private static readonly TimeSpan InterruptedWait = TimeSpan.FromSeconds(2);

    /// <summary>The whole command line of pgtar.</summary>
    public static RootCommand Create(CliContext cli)
    {
        var file = new Option<string?>("-f", "--file")
        {
            HelpName = "FILE|-",
            Description = "Where the tar goes (-, standard output).",
        };
        var datafiles = new Option<string[]>("--datafile")
        {
            HelpName = "NAME",
            Description = "This datafile only; may be given several times. Such a set restores nothing by itself.",
        };
        Option<long?> rate = CliContext.OptionOf<long?>(
            "--rate", "SIZE", "Bytes a second at most.", text => TextForms.SizePerSecond(text));
        var noWal = new Option<bool>("--no-wal") { Description = "Leave the WAL in the archive." };
        var root = new RootCommand(
            "The tar of a running engine's datafiles: a backup set that `pitr restore` takes, as it is or extracted.");
        root.Directives.Clear();
        foreach (Option option in cli.GlobalOptions.Where(static option => option.Name != "--json"))
            root.Options.Add(option);
        foreach (Option option in new Option[] { file, datafiles, rate, noWal })
            root.Options.Add(option);
        root.SetAction(async (parsed, cancellationToken) =>
        {
            string? path = parsed.GetValue(file) is { } named && named != "-" ? cli.Console.FullPath(named) : null;
            if (path is null && cli.Console.OutputIsTerminal)
                throw new UsageException("A tar is not written to a terminal.", "Name a file with -f FILE, or a pipe.");
            using var progress = new ProgressLine(cli.Console);
            var request = new TarBackupRequest
            {
                Datafiles = parsed.GetValue(datafiles) ?? [],
                WithoutWal = parsed.GetValue(noWal),
                BytesPerSecondMax = parsed.GetValue(rate),
                Progress = progress,
                Note = text => cli.Console.Error.WriteLine($"note: {text}"),
            };
            IDatabaseTarget target = await cli.OpenTargetAsync(parsed, cancellationToken).ConfigureAwait(false);
            await using (target.ConfigureAwait(false))
                await MakeAsync(cli.Console, target, request, path, cancellationToken).ConfigureAwait(false);
            return ExitCodes.Done;
        });
        return root;
    }

    private static async Task MakeAsync(
        CliConsole console, IDatabaseTarget target, TarBackupRequest request, string? path,
        CancellationToken cancellationToken)
    {
        long began = TimeProvider.System.GetTimestamp();
        var options = new PitrOptions { MemoryBudgetBytes = MemoryBytes };
        DatafileEnvironment environment = EngineFactory.EnvironmentFor(options);
        Stream destination = await OpenAsync(
            () => Destination(console, path, environment, options), cancellationToken).ConfigureAwait(false);
        TarBackupResult result;
        try
        {
            IKeptSet set = await target.KeepSetAsync($"pgtar {Environment.ProcessId}", cancellationToken)
                .ConfigureAwait(false);
            await using (set.ConfigureAwait(false))
            {
                result = await RunAsync(
                    new TarBackup(set, request, destination, environment, options), cancellationToken)
                    .ConfigureAwait(false);
                Finish(destination);
            }
        }
        finally
        {
            if (!ReferenceEquals(destination, console.Output))
                await destination.DisposeAsync().ConfigureAwait(false);
        }

        Tell(console, result, TimeProvider.System.GetElapsedTime(began));
        environment.Dispose();
    }

    /// <summary>On a thread of its own, which whoever interrupts it does not wait for: it may open never.</summary>
    private static async Task<Stream> OpenAsync(Func<Stream> open, CancellationToken cancellationToken)
    {
        Task<Stream> opening = Task.Factory.StartNew(
            open, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        try
        {
            return await opening.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            _ = opening.ContinueWith(
                static late => late.Result.Dispose(), CancellationToken.None,
                TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
            throw;
        }
    }

    private static Stream Destination(
        CliConsole console, string? path, DatafileEnvironment environment, PitrOptions options)
    {
        if (path is null)
            return console.Output;
        return PosixFileSystem.IsSpecial(path)
            ? new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0)
            : TarFileOutput.Create(environment.Files, path, EngineFactory.DrawOf(options), environment.Writer);
    }

    /// <summary>
    /// The tar, the interruption, or the end of the set: also while a write to a pipe that nobody reads hangs.
    /// </summary>
    private static async Task<TarBackupResult> RunAsync(TarBackup backup, CancellationToken cancellationToken)
    {
        Task<TarBackupResult> run = backup.RunAsync(cancellationToken);
        var interrupted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration signal = cancellationToken.Register(() => interrupted.TrySetResult());
        await Task.WhenAny(run, interrupted.Task, backup.Lost).ConfigureAwait(false);
        if (!run.IsCompleted)
            await Task.WhenAny(run, Task.Delay(InterruptedWait, CancellationToken.None)).ConfigureAwait(false);
        if (run.IsCompleted)
            return await run.ConfigureAwait(false);
        throw cancellationToken.IsCancellationRequested
            ? new OperationCanceledException(cancellationToken)
            : await backup.Lost.ConfigureAwait(false);
    }

    private static void Finish(Stream destination)
    {
        if (destination is TarFileOutput file)
            file.Publish();
        else if (destination is FileStream { CanSeek: true } redirected)
            redirected.Flush(flushToDisk: true); // standard output is a file
    }

    private static void Tell(CliConsole console, TarBackupResult result, TimeSpan took)
    {
        BackupLabel label = result.Label;
        console.Error.WriteLine(
            $"set {label.BackupId}: {label.Files.Count} datafiles, {TextShapes.Bytes(result.Bytes)} in "
            + $"{TextShapes.Seconds(took.TotalSeconds)}, from {label.StartLsn} to {label.StopLsn}"
            + (label.IncludesWal ? "" : ", its WAL is in the archive"));
        if (label.IsPartial)
            console.Error.WriteLine("note: The set is partial: without the other datafiles nothing is restored from it.");
    }
}
