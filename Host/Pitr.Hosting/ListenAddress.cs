using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Pitr.Hosting;

/// <summary>HOST:PORT of an engine: the name that clients use, and whether it leaves the machine.</summary>
/// <remarks>
/// HOST is an address or a name of this machine, never a wildcard: clients of the administration must use exactly this
/// host, which its certificate names.
/// </remarks>
internal sealed record ListenAddress(string Host, int Port)
{
    /// <summary>True if only this machine reaches it: no TLS is needed, and none is spoken.</summary>
    public bool IsLoopback =>
        Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(Host, out IPAddress? address) && IPAddress.IsLoopback(address));

    /// <summary>
    /// The same with <c>localhost</c> as 127.0.0.1: an engine there hears only what is sent to its address by its number.
    /// </summary>
    public ListenAddress Numeric =>
        Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? this with { Host = "127.0.0.1" } : this;

    /// <summary>As in an address of a URL.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"{(Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]" : Host)}:{Port}");

    /// <exception cref="ArgumentException">It is not HOST:PORT, or a wildcard.</exception>
    public static ListenAddress Parse(string text)
    {
        int colon = text.LastIndexOf(':');
        string host = colon < 0 ? "" : text[..colon].Trim('[', ']');
        if (host.Length == 0
            || Uri.CheckHostName(host) == UriHostNameType.Unknown
            || !ushort.TryParse(
                text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port))
            throw new ArgumentException($"The address '{text}' is not HOST:PORT, such as 127.0.0.1:4053.");
        if (IPAddress.TryParse(host, out IPAddress? address)
            && (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any)))
            throw new ArgumentException(
                $"The address '{text}' stands for every network of this machine; name the one that clients use.");
        return new ListenAddress(host, port);
    }

    /// <summary>Where to listen.</summary>
    /// <exception cref="ArgumentException">The host is no name of anything.</exception>
    public IPEndPoint ToEndPoint()
    {
        if (IPAddress.TryParse(Host, out IPAddress? address))
            return new IPEndPoint(address, Port);
        try
        {
            IPAddress[] found = Dns.GetHostAddresses(Host);
            return new IPEndPoint(
                found.FirstOrDefault(one => one.AddressFamily == AddressFamily.InterNetwork) ?? found[0], Port);
        }
        catch (SocketException unknown)
        {
            throw new ArgumentException($"The host '{Host}' is not known: {unknown.Message}.");
        }
    }
}
