namespace Pitr.Wal;

/// <summary>What a store says of one object.</summary>
/// <param name="Name">Its name.</param>
/// <param name="LengthBytes">Bytes as stored.</param>
internal sealed record StoredObject(string Name, long LengthBytes);

/// <summary>
/// A place for archived WAL, timeline histories and backup sets: named objects that are there as a whole or not at all.
/// </summary>
/// <remarks>
/// NAMES  parts of <c>[A-Za-z0-9._-]</c> separated by <c>/</c>, none of which begins with a dot
/// (<see cref="ObjectName"/>).
///
/// INVARIANTS
///   S1  Under a name there is nothing, or the whole content of one write: never a part of one (H27, H39).
///   S2  When Put or TryPutIfAbsent returns, also with false, what the name stands for survives a power loss (H39).
///       False too: what is there may come from an attempt that was killed before its folder was synced.
///   S3  Of several TryPutIfAbsent of one name, also on several machines, exactly one returns true.
///   S4  When Delete returns, the name does not come back after a power loss.
///
/// THREADS  synchronous, called on worker threads, by several at a time; of one name by one at a time.
/// FAILURE  <see cref="StorageFailedException"/> with code StoreFailed for whatever the store says no to: it may be
///          tried again. <see cref="NotFoundException"/> from Get and OpenRead. Nothing else.
/// </remarks>
internal interface IArchiveStore
{
    /// <summary>The address, as the operator wrote it: for messages and status.</summary>
    string Name { get; }

    /// <summary>
    /// The address in the one form that tells two stores apart, however they were written
    /// (<see cref="StoreAddress.Place"/>).
    /// </summary>
    string Place { get; }

    /// <summary>What it can do; a store of fewer abilities says so here, and fails what it cannot.</summary>
    StoreAbilities Abilities => StoreAbilities.All;

    /// <summary>
    /// Only when a store is set up: makes the place where its objects go if only its last part is missing, and otherwise
    /// sees that it is there. Writes never make it: a folder whose file system is not mounted must not be filled.
    /// </summary>
    void CreateRoot();

    /// <summary>Writes an object, over whatever is there.</summary>
    void Put(string name, ReadOnlyMemory<byte> content);

    /// <summary>Writes an object from a stream's position to its end, over whatever is there.</summary>
    void Put(string name, Stream content);

    /// <summary>Writes an object if there is none of that name; false if there is (S3).</summary>
    bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content);

    /// <summary>
    /// Does as much as can be done of <see cref="TryPutIfAbsent"/> before the object has its name: so that several are
    /// written side by side, and appear one after the other. What is not published is nothing. The content's memory is the
    /// caller's again when it returns.
    /// </summary>
    IStagedObject Stage(string name, ReadOnlyMemory<byte> content) => new UnwrittenObject(this, name, content.ToArray());

    /// <summary>The content.</summary>
    /// <exception cref="NotFoundException">ArchiveObjectUnknown.</exception>
    ReadOnlyMemory<byte> Get(string name);

    /// <summary>The content, in the caller's memory if the store can read into that and it fits.</summary>
    /// <exception cref="NotFoundException">ArchiveObjectUnknown.</exception>
    ReadOnlyMemory<byte> Get(string name, Memory<byte> into) => Get(name);

    /// <summary>The content; null if there is no such object.</summary>
    ReadOnlyMemory<byte>? TryGet(string name);

    /// <summary>
    /// The content as a stream that the caller disposes of; for objects that need not fit into memory.
    /// </summary>
    /// <exception cref="NotFoundException">ArchiveObjectUnknown.</exception>
    Stream OpenRead(string name);

    /// <summary>Every name that begins with the prefix, at any depth, in ordinal order.</summary>
    IReadOnlyList<string> List(string prefix);

    /// <summary>Removes an object; nothing happens if there is none.</summary>
    void Delete(string name);

    /// <summary>What is under the name; null if nothing.</summary>
    StoredObject? Stat(string name);

    /// <summary>Removes what writes that died have left behind and nobody can see; returns how many.</summary>
    int RemoveStrays();
}
