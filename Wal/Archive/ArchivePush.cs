using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>How a push went.</summary>
internal enum PushOutcome
{
    /// <summary>Written, read back and compared.</summary>
    Pushed,
    /// <summary>It was there, with equal plain content; read and compared.</summary>
    AlreadyThere,
}

/// <summary>Puts segments and parts into a store so that the local bytes may go.</summary>
/// <remarks>
/// ORDER  of one push
///   1. conditional create of the whole object: durable when it returns, whoever created it (IArchiveStore S2)
///   2. read back, decompressed, SHA-256 compared: equal is good, other content is a conflict
/// Only after 2 may the local segment be recycled (the caller's rule), and the segment's parts be deleted (H36).
///
/// A crash between 1 and 2, or before the deletes, leaves what a second push finds and accepts.
///
/// PARTS  hold bytes below the durable LSN only (H25, P1). Joining writes the longer part, reads it back, and then
/// deletes the shorter ones; in between, parts overlap and agree.
/// </remarks>
internal static class ArchivePush
{
    /// <summary>Parts of one segment at which joining begins.</summary>
    public const int PartsBeforeJoin = 16;

    /// <summary>Pushes a whole segment or a part.</summary>
    /// <exception cref="RefusedException">ArchiveConflict: other content is there under the name.</exception>
    /// <exception cref="DamageException">ArchiveDamaged: what is there, or was just written, cannot be
    /// read.</exception>
    public static PushOutcome Push(IArchiveStore store, ArchivedSegment segment)
    {
        using IStagedObject written = Write(store, segment);
        bool created = written.TryPublish();
        Check(store, segment);
        return created ? PushOutcome.Pushed : PushOutcome.AlreadyThere;
    }

    /// <summary>The first half of 1: as much as can be done before the object has its name.</summary>
    public static IStagedObject Write(IArchiveStore store, ArchivedSegment segment) =>
        store.Stage(segment.Name, segment.Encode());

    /// <summary>The same, in memory that is used again.</summary>
    /// <param name="store">Where to.</param>
    /// <param name="segment">The stretch.</param>
    /// <param name="buffers">Of the segments on their way.</param>
    /// <param name="isFast">Others wait: less is compressed.</param>
    public static IStagedObject Write(
        IArchiveStore store, ArchivedSegment segment, SegmentBuffers buffers, bool isFast)
    {
        byte[] buffer = buffers.Rent();
        int length = isFast
            ? segment.EncodeInto(buffer, ArchivedSegment.FastCompressionLevel)
            : segment.EncodeInto(buffer);
        IStagedObject written = store.Stage(segment.Name, buffer.AsMemory(0, length));
        buffers.Return(buffer);
        return written;
    }

    /// <summary>2: what the store has under the name is the segment, as it is read from there.</summary>
    /// <exception cref="RefusedException">ArchiveConflict: other content is there under the name.</exception>
    /// <exception cref="DamageException">ArchiveDamaged: it cannot be read.</exception>
    public static void Check(IArchiveStore store, ArchivedSegment segment) => RequireSame(store, segment.Name, segment);

    /// <summary>The same, in memory that is used again.</summary>
    public static void Check(IArchiveStore store, ArchivedSegment segment, SegmentBuffers buffers)
    {
        byte[] stored = buffers.Rent();
        byte[] plain = buffers.Rent();
        RequireSame(store, segment.Name, segment, stored, plain);
        buffers.Return(stored);
        buffers.Return(plain);
    }

    /// <summary>Pushes a part of the tail.</summary>
    /// <param name="store">Where to.</param>
    /// <param name="part">The stretch.</param>
    /// <param name="durable">The durable LSN: nothing above it leaves the database (H25).</param>
    public static PushOutcome PushPart(IArchiveStore store, ArchivedSegment part, Lsn durable)
    {
        Invariant.Require(part.IsPart && part.To <= durable, "P1",
            $"The part '{part.Name}' ends at {part.To}, above the durable LSN {durable}.");
        return Push(store, part);
    }

    /// <summary>
    /// Deletes the parts of a segment that was pushed whole: reads the whole one back first, so that a part never goes
    /// before what stands for it is proven (H36). Returns how many went.
    /// </summary>
    /// <exception cref="RefusedException">ArchiveConflict: a part has other bytes of these LSNs; it stays.</exception>
    public static int DeleteParts(IArchiveStore store, ArchivedSegment whole)
    {
        IReadOnlyList<string> parts = store.List(ObjectName.PartPrefix(whole.Identity.Timeline, whole.Identity.Number));
        if (parts.Count == 0)
            return 0;
        RequireSame(store, whole.Name, whole);
        foreach (string part in parts)
            Delete(store, part, whole);
        return parts.Count;
    }

    /// <summary>
    /// Joins the newest parts of a segment into one when there are many. Parts that are much longer than all behind
    /// them stay as they are, so that a byte is rewritten a logarithmic number of times. Returns the parts that were
    /// joined.
    /// </summary>
    public static int JoinParts(IArchiveStore store, IReadOnlyList<ArchivedPart> parts)
    {
        if (parts.Count < PartsBeforeJoin)
            return 0;
        List<ArchivedPart> chain = ArchivedPart.Chain(parts, parts.Min(part => part.From));
        int first = chain.Count - 1;
        for (long bytes = chain[first].LengthBytes;
             first > 0 && chain[first - 1].LengthBytes <= 2 * bytes;
             bytes += chain[first].LengthBytes)
            first--;
        if (chain.Count - first < 2)
            return chain.Sum(longer => DeleteCovered(store, parts, longer)); // left over from a join that died

        var joined = new byte[chain[^1].To - chain[first].From];
        SegmentTimes times = SegmentTimes.Empty;
        SegmentIdentity? identity = null;
        foreach (ArchivedPart part in chain.Skip(first))
        {
            ArchivedSegment content = ArchivedSegment.Decode(store.Name, part.Name, store.Get(part.Name).Span);
            content.Stream.CopyTo(joined.AsMemory((int)(part.From - chain[first].From)));
            times = SegmentTimes.Join(times, content.Times);
            identity = content.Identity;
        }
        ArchivedSegment whole = ArchivedSegment.Part(identity!, chain[first].From, joined, times);
        Push(store, whole);
        foreach (ArchivedPart part in parts)
        {
            if (part.Name != whole.Name && whole.From <= part.From && part.To <= whole.To)
                store.Delete(part.Name);
        }
        return chain.Count - first;
    }

    /// <summary>Deletes the parts that lie within a longer one, which is read first; returns how many went.</summary>
    public static int DeleteCovered(IArchiveStore store, IReadOnlyList<ArchivedPart> parts, ArchivedPart longer)
    {
        List<ArchivedPart> covered =
            [.. parts.Where(part => part != longer && longer.From <= part.From && part.To <= longer.To)];
        if (covered.Count == 0)
            return 0;
        ArchivedSegment there = ArchivedSegment.Decode(store.Name, longer.Name, store.Get(longer.Name).Span);
        foreach (ArchivedPart part in covered)
            Delete(store, part.Name, there);
        return covered.Count;
    }

    /// <summary>
    /// What lies within a longer stretch goes only if it says the same: it may be all that is left of commits which
    /// the database that writes the longer one has lost. What can't be read says nothing that would be missed.
    /// </summary>
    private static void Delete(IArchiveStore store, string name, ArchivedSegment longer)
    {
        ArchivedSegment part;
        try
        {
            part = ArchivedSegment.Decode(store.Name, name, store.Get(name).Span);
        }
        catch (DamageException)
        {
            store.Delete(name);
            return;
        }

        bool isWithin = part.From >= longer.From && part.To <= longer.To;
        if (!isWithin || !longer.Stream.Span.Slice((int)(part.From - longer.From), part.Stream.Length)
                .SequenceEqual(part.Stream.Span))
            throw ArchiveErrors.Conflict(store.Name, name, longer.Describe(), "other bytes of the same LSNs");
        store.Delete(name);
    }

    private static void RequireSame(
        IArchiveStore store, string name, ArchivedSegment segment, Memory<byte> stored = default, Memory<byte> plain = default)
    {
        ArchivedSegment there = ArchivedSegment.Decode(store.Name, name, store.Get(name, stored).Span, segment, plain);
        if (!there.HasSameContent(segment))
            throw ArchiveErrors.Conflict(store.Name, name, segment.Describe(), there.Describe());
    }
}
