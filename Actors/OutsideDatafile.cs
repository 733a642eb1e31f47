namespace Pitr;

/// <summary>A datafile that lies outside of its database's folder.</summary>
/// <param name="Datafile">Its name.</param>
/// <param name="Path">Where it lies; links followed.</param>
/// <param name="IsThere">False: nothing lies there, and it will need recovery.</param>
public sealed record OutsideDatafile(string Datafile, string Path, bool IsThere);
