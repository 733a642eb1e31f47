namespace Pitr;

/// <summary>What a client may do: it comes from the token that it showed, and is bound to its reference.</summary>
public enum AdminRole
{
    /// <summary>Nothing: the token is none of the engine's.</summary>
    None = 0,

    /// <summary>Looks: status, lists, data. Changes nothing and holds nothing up.</summary>
    Viewer = 1,

    /// <summary>Everything.</summary>
    Operator = 2,
}
