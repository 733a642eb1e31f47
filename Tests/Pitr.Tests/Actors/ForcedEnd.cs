namespace Pitr.Tests;

/// <summary>Ends a database whatever fences a test left: an orderly end would wait for them.</summary>
internal sealed class ForcedEnd(PitrDatabase database) : IAsyncDisposable
{
    public async ValueTask DisposeAsync() => await database.ShutdownAsync(force: true).Within();
}

/// <summary>A sync that stands before a gate until the test lets it pass, at the latest when it ends.</summary>
internal sealed class HeldSync(Pitr.Simulation.FaultGate gate) : IDisposable
{
    public Task Reached => gate.Reached;

    public void Release() => gate.Release();

    public void Dispose() => gate.Release();
}
