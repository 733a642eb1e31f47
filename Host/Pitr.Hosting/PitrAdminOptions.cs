namespace Pitr.Hosting;

/// <summary>How a client of a running engine proves who it is.</summary>
public sealed record PitrAdminOptions
{
    /// <summary>A token of the engine; null: that of <see cref="TokenFile"/>.</summary>
    public string? Token { get; init; }

    /// <summary>
    /// The file with the token; null: the one that the engine wrote for clients of its user on its machine.
    /// </summary>
    public string? TokenFile { get; init; }

    /// <summary>Certificates, needed for an address that is not on loopback and used for those only.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>Environment variables, in which the user's runtime folder is looked up.</summary>
    internal Func<string, string?> Variable { get; init; } = Environment.GetEnvironmentVariable;
}
