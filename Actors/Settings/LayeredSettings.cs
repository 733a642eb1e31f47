using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// The settings of one engine, put together from their sources. The one precedence: what is said in code wins over the
/// environment, that over <c>pitr.json</c>, that over the defaults. Lists (stores, roots) add up.
/// </summary>
/// <remarks>
/// Each source is checked as it is laid over the one below it, so that a refusal names the source that is wrong.
/// </remarks>
internal sealed record LayeredSettings
{
    /// <summary>How the database is opened.</summary>
    public required PitrOptions Options { get; init; }

    /// <summary>
    /// Folders, in full, under which paths of remote callers must lie; empty: anywhere.
    /// </summary>
    public required IReadOnlyList<string> Roots { get; init; }

    /// <summary>HOST:PORT for administration; null: not said.</summary>
    public string? Listen { get; init; }

    /// <summary>HOST:PORT for data, health and metrics; null: not said.</summary>
    public string? Http { get; init; }

    /// <summary>PEM file, in full, of the certificate that is shown outside of loopback; null: not said.</summary>
    public string? TlsCertificate { get; init; }

    /// <summary>PEM file of its key.</summary>
    public string? TlsKey { get; init; }

    /// <summary>PEM file of the authority that signs clients' certificates.</summary>
    public string? TlsAuthority { get; init; }

    /// <summary>Files, in full, with tokens of operators.</summary>
    public IReadOnlyList<string> OperatorTokens { get; init; } = [];

    /// <summary>Files, in full, with tokens of viewers.</summary>
    public IReadOnlyList<string> ViewerTokens { get; init; } = [];

    /// <summary>Reads the sources.</summary>
    /// <param name="folder">The database's folder; it need not be there yet.</param>
    /// <param name="variables">The environment.</param>
    /// <param name="inCode">What the program says, over all else.</param>
    /// <param name="files">The disk; null: the real one.</param>
    /// <exception cref="RefusedException">SettingsInvalid, with the source.</exception>
    public static LayeredSettings Read(
        string folder, IEnumerable<KeyValuePair<string, string>> variables, Func<PitrOptions, PitrOptions>? inCode = null,
        IFileSystem? files = null)
    {
        string full = Path.GetFullPath(folder);
        DatabaseSettings file = DatabaseSettings.Read(files ?? new PosixFileSystem(), full);
        PitrOptions options = Checked(file.Over(new PitrOptions()), Path.Combine(full, DatabaseSettings.FileName));
        var stores = new List<string>();
        var roots = new List<string>(file.Roots ?? []);
        var operators = new List<string>(file.OperatorTokens ?? []);
        var viewers = new List<string>(file.ViewerTokens ?? []);
        (string? listen, string? http) = (file.Listen, file.Http);
        (string? certificate, string? key, string? authority) = (file.TlsCertificate, file.TlsKey, file.TlsAuthority);
        foreach ((string variable, DatabaseSettings says) in EnvironmentSettings.Read(variables))
        {
            options = Checked(says.Over(options), $"{variable} of the environment");
            stores.AddRange(says.Stores ?? []);
            roots.AddRange(says.Roots ?? []);
            operators.AddRange(says.OperatorTokens ?? []);
            viewers.AddRange(says.ViewerTokens ?? []);
            (listen, http) = (says.Listen ?? listen, says.Http ?? http);
            (certificate, key, authority) = (
                says.TlsCertificate ?? certificate, says.TlsKey ?? key, says.TlsAuthority ?? authority);
        }

        options = options with { ArchiveStores = stores };
        if (inCode is not null)
            options = Checked(inCode(options), "options in code");
        return new LayeredSettings
        {
            Options = options,
            Roots = [.. roots.Select(root => StoreAddress.HasScheme(root) ? root : Path.GetFullPath(root, full))],
            Listen = listen,
            Http = http,
            TlsCertificate = FullPath(certificate),
            TlsKey = FullPath(key),
            TlsAuthority = FullPath(authority),
            OperatorTokens = [.. operators.Select(path => Path.GetFullPath(path, full))],
            ViewerTokens = [.. viewers.Select(path => Path.GetFullPath(path, full))],
        };

        string? FullPath(string? path) => path is null ? null : Path.GetFullPath(path, full);
    }

    /// <summary>The environment of this process.</summary>
    public static IEnumerable<KeyValuePair<string, string>> OfProcess() =>
        from variable in Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>()
        select KeyValuePair.Create((string)variable.Key, (string?)variable.Value ?? "");

    private static PitrOptions Checked(PitrOptions options, string source) =>
        SettingRanges.WhatIsWrong(options) is { } wrong ? throw EngineErrors.SettingsInvalid(source, wrong) : options;
}
