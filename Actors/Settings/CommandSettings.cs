using System.Text.Json.Serialization;

namespace Pitr.Actors;

/// <summary>What <c>pitr.json</c> says of the commands of one store: see <see cref="ArchiveCommand"/>.</summary>
internal sealed record CommandSettings(IReadOnlyList<string> Archive, IReadOnlyList<string> Restore)
{
    /// <summary>As <see cref="ArchiveCommand.List"/>.</summary>
    public IReadOnlyList<string>? List { get; init; }

    /// <summary>As <see cref="ArchiveCommand.Delete"/>.</summary>
    public IReadOnlyList<string>? Delete { get; init; }

    /// <summary>As <see cref="ArchiveCommand.Unclaimed"/>.</summary>
    public bool Unclaimed { get; init; }

    /// <summary>As <see cref="ArchiveCommand.Timeout"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? Timeout { get; init; }

    public ArchiveCommand ToCommand()
    {
        var command = new ArchiveCommand
        {
            Archive = Archive,
            Restore = Restore,
            List = List,
            Delete = Delete,
            Unclaimed = Unclaimed,
        };
        return Timeout is { } timeout ? command with { Timeout = timeout } : command;
    }

    public static CommandSettings Of(ArchiveCommand command) => new(command.Archive, command.Restore)
    {
        List = command.List,
        Delete = command.Delete,
        Unclaimed = command.Unclaimed,
        Timeout = command.Timeout,
    };
}
