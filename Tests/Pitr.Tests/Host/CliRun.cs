using System.Text;
using Pitr.Actors;
using Pitr.Cli;
using Pitr.Hosting;
using Pitr.Recovery;

namespace Pitr.Tests;

/// <summary>Runs command lines in this process against a given target.</summary>
internal sealed class CliRun(IDatabaseTarget target) : ITargets
{
    public Dictionary<string, string> Variables { get; } = [];

    public byte[] Input { get; set; } = [];

    public string? OpenedFolder { get; private set; }

    public string? OpenedAddress { get; private set; }

    public string CurrentFolder { get; set; } = Path.GetTempPath();

    public async Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] args)
    {
        using var output = new MemoryStream();
        using var error = new StringWriter { NewLine = "\n" };
        using var interruption = new Interruption();
        var console = new CliConsole(
            output, error, () => new MemoryStream(Input), Variables.GetValueOrDefault, CurrentFolder, false, false);
        int exitCode = await CommandLine.RunAsync(args, console, this, interruption);
        return (exitCode, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }

    public Task<IDatabaseTarget> OpenLocalAsync(string folder, CancellationToken cancellationToken)
    {
        OpenedFolder = folder;
        return Task.FromResult(target);
    }

    public Task<RestoreResult> RestoreAsync(
        RestoreRequest request, PitrOptions stores, CancellationToken cancellationToken) =>
        throw new NotSupportedException("Restores are tested with the process.");

    public Task<RestoreResult> RecoverAsync(
        string folder, RecoveryTarget? target, bool promote, CancellationToken cancellationToken) =>
        throw new NotSupportedException("Recoveries are tested with the process.");

    public Task<RestoreResult> RecoverInPlaceAsync(
        InPlaceRecoveryRequest request, CancellationToken cancellationToken) =>
        throw new NotSupportedException("Recoveries are tested with the process.");

    public PitrOptions OptionsFor(string folder) => StoreKinds.Options;

    public PitrAdminOptions? OpenedWith { get; private set; }

    public Task<IDatabaseTarget> OpenRemoteAsync(
        string address, PitrAdminOptions options, CancellationToken cancellationToken)
    {
        OpenedAddress = address;
        OpenedWith = options;
        return Task.FromResult(target);
    }

    public Task<SystemIdentifier> InitAsync(
        string folder, int walSegmentBytes, IReadOnlyList<string> stores, CancellationToken cancellationToken) =>
        Task.FromResult(new SystemIdentifier(1));

    public ServeRequest? Served { get; private set; }

    public Task ServeAsync(ServeRequest request, CliConsole console, Interruption interruption)
    {
        Served = request;
        return Task.CompletedTask;
    }
}
