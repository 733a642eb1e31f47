using Pitr.Hosting;

namespace Pitr.Samples.Guides;

/// <summary>The C# of <c>docs/guide/remote.md</c>, line by line, so that it compiles.</summary>
internal static class Remote
{
    public static async Task<FenceGrant> FenceFromAfarAsync()
    {
        await using PitrAdmin admin = await PitrAdmin.ConnectAsync("10.0.0.5:4053", new PitrAdminOptions
        {
            TokenFile = "operator.token",
            Tls = new TlsFiles("laptop.pem", "laptop.key", "authority.pem"),
        });
        FenceGrant fence = await admin.FenceAsync(
            "main", TimeSpan.FromMinutes(10), "a copy", FenceBond.Session, CancellationToken.None);
        return fence;
    }
}
