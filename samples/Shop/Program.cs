using OpenTelemetry.Metrics;
using Pitr;
using Pitr.Hosting;
using Pitr.Samples.Shop;

// A small shop: takes orders, has its files copied and moved while it does, and goes back to a moment before a mistake.
// docs/guide/hosting.md tells it step by step.
WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
var place = new ShopPlace(Path.GetFullPath(builder.Configuration["data"] ?? "shop-data"));
Directory.CreateDirectory(place.Folder); // Pitr makes no folder of a store whose disk may not be mounted

// Open before anything starts, closed after everything has stopped. pitr.json and PITR__… are read first; this wins.
builder.Services.AddPitr(place.Database, options => options with
{
    ArchiveStores = [.. options.ArchiveStores, place.Archive],
});
builder.Services.AddSingleton(place);
builder.Services.AddSingleton<OrderBook>();
builder.Services.AddSingleton<BackOffice>();
builder.Services.AddHostedService<OpeningHours>();
builder.Services.AddOpenTelemetry().WithMetrics(
    metrics => metrics.AddMeter(PitrTelemetry.MeterName).AddPrometheusExporter());

WebApplication app = builder.Build();
app.UseMiddleware<PitrProblems>();
app.UseOpenTelemetryPrometheusScrapingEndpoint();
app.MapHealthChecks("/health"); // the three checks of AddPitr

app.MapGet("/stock", (OrderBook book) => book.Stock());
app.MapGet("/orders", (OrderBook book) => book.Orders());
app.MapGet("/orders/{number:long}", (OrderBook book, long number) =>
    book.Find(number) is { } order ? Results.Ok(order) : Results.NotFound());
app.MapPost("/orders", async (OrderBook book, OrderRequest request, CancellationToken gone) =>
    await book.TakeAsync(request, gone) is { } order
        ? Results.Created($"/orders/{order.Number}", order)
        : Results.Conflict(new { title = $"There is not so much '{request.Item}' in stock." }));
app.MapDelete("/orders", (OrderBook book, CancellationToken gone) => book.RemoveAllAsync(gone)); // the mistake

RouteGroupBuilder office = app.MapGroup("/office");
office.MapPost("/copy", (BackOffice back, CancellationToken gone) => back.CopyAsync(gone));
office.MapPost("/move", (BackOffice back, string to, CancellationToken gone) => back.MoveAsync(to, gone));
office.MapPost("/backup", (BackOffice back, CancellationToken gone) => back.BackupAsync(gone));
office.MapPost("/remember/{name}", (BackOffice back, string name, CancellationToken gone) => back.RememberAsync(name, gone));
office.MapGet("/orders-at/{name}", (BackOffice back, string name, CancellationToken gone) => back.OrdersAtAsync(name, gone));
office.MapPost("/bring-back/{name}", (BackOffice back, string name, CancellationToken gone) => back.BringBackAsync(name, gone));

await app.RunAsync();
