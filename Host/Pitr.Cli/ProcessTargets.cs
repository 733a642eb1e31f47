using Pitr.Actors;

namespace Pitr.Cli;

/// <summary>The databases of this machine.</summary>
internal sealed class ProcessTargets(CliConsole console) : ITargets
{
    public Task<IDatabaseTarget> OpenLocalAsync(string folder, CancellationToken cancellationToken) => throw new NotImplementedException(console.CurrentFolder);
    public Task<IDatabaseTarget> OpenRemoteAsync(string address, string? tokenFile, CancellationToken cancellationToken) => throw new NotImplementedException();
    public Task<SystemIdentifier> InitAsync(string folder, int walSegmentBytes, IReadOnlyList<string> stores, CancellationToken cancellationToken) => throw new NotImplementedException();
    public Task ServeAsync(string folder, string listen, string http, string? tokenFile, CliConsole console, Interruption interruption) => throw new NotImplementedException();
}
