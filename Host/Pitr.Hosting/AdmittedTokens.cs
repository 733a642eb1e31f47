using System.Security.Cryptography;
using System.Text;

namespace Pitr.Hosting;

/// <summary>The tokens that open a running engine, and what each allows.</summary>
/// <remarks>
/// A token is compared with all of them, by its digest and in constant time: how long it takes tells nothing of them.
/// </remarks>
internal sealed class AdmittedTokens(IEnumerable<(string Token, AdminRole Role)> tokens)
{
    private readonly (byte[] Digest, AdminRole Role)[] _tokens =
        [.. tokens.Select(token => (Digest(token.Token), token.Role))];

    /// <summary>The role of a token; None if it is not one of these.</summary>
    public AdminRole RoleOf(string token)
    {
        byte[] shown = Digest(token);
        AdminRole role = AdminRole.None;
        foreach ((byte[] digest, AdminRole given) in _tokens)
        {
            if (CryptographicOperations.FixedTimeEquals(shown, digest) && given > role)
                role = given;
        }
        return role;
    }

    private static byte[] Digest(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));
}
