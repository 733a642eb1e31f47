namespace Pitr;

/// <summary>A store whose contents were read and are what the database expects.</summary>
/// <param name="Store">Its address.</param>
/// <param name="From">Its WAL on the database's path begins here, but for that of older sets which an expire kept.</param>
/// <param name="To">And has no gap up to here.</param>
/// <param name="Segments">Whole segments that were read.</param>
/// <param name="Parts">Parts that were read.</param>
/// <param name="Bytes">Of WAL, before compression.</param>
public sealed record StoreCheck(string Store, Lsn From, Lsn To, int Segments, int Parts, long Bytes);
