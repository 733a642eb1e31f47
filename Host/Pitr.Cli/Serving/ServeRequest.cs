using Serilog.Events;

namespace Pitr.Cli;

/// <summary>What <c>pitr serve</c> was asked.</summary>
/// <param name="Folder">The database.</param>
/// <param name="Listen">HOST:PORT of the administration; null: by the settings.</param>
/// <param name="Http">HOST:PORT of data, health and metrics; null: by the settings.</param>
/// <param name="TokenFile">Where the token is written; null: in the user's runtime folder.</param>
/// <param name="LogLevel">The least that is logged.</param>
/// <param name="LogsJson">One JSON document a line, else text for people.</param>
internal sealed record ServeRequest(
    string Folder, string? Listen, string? Http, string? TokenFile, LogEventLevel LogLevel, bool LogsJson);
