using System.Text.Json.Serialization;
using Pitr.Recovery;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>JSON of the HTTP endpoint's small documents.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    Converters = new[] { typeof(LsnJson), typeof(TransactionIdJson) })]
[JsonSerializable(typeof(AdminProblem))]
[JsonSerializable(typeof(CommitResult))]
internal sealed partial class AdminJson : JsonSerializerContext;
