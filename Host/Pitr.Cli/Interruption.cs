using System.Runtime.InteropServices;

namespace Pitr.Cli;

/// <summary>SIGTERM, SIGINT, SIGHUP: the first asks for an orderly end, the second for a forced one.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _orderly = new();
    private readonly CancellationTokenSource _forced = new();
    private readonly PosixSignalRegistration[] _registrations;

    public Interruption() =>
        _registrations = [Register(PosixSignal.SIGTERM), Register(PosixSignal.SIGINT), Register(PosixSignal.SIGHUP)];

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Orderly => _orderly.Token;

    /// <summary>Cancelled by the second signal.</summary>
    public CancellationToken Forced => _forced.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _orderly.Dispose();
        _forced.Dispose();
    }

    /// <summary>As if a signal had come.</summary>
    public void Interrupt()
    {
        if (_orderly.IsCancellationRequested)
            _forced.Cancel();
        else
            _orderly.Cancel();
    }

    private PosixSignalRegistration Register(PosixSignal signal) => PosixSignalRegistration.Create(signal, context =>
    {
        context.Cancel = true;
        Interrupt();
    });
}
