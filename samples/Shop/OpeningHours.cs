namespace Pitr.Samples.Shop;

/// <summary>Makes tables and stock before the first customer comes. The database is open by then: AddPitr sees to that.</summary>
internal sealed class OpeningHours(OrderBook book) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken) => book.PrepareAsync(cancellationToken);

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
