using Microsoft.AspNetCore.Builder;

namespace Pitr.Hosting;

/// <summary>
/// What a program answers at the engine's HTTP address besides data: those who embed the engine need not carry its packages.
/// </summary>
/// <param name="Services">Adds services.</param>
/// <param name="Endpoints">Adds what is looked at before the data.</param>
internal sealed record HttpExtras(Action<WebApplicationBuilder> Services, Action<WebApplication> Endpoints);
