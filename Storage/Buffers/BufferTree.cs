using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// The ordered index of a write buffer: a B+tree of fixed nodes from keys to the newest entry of each; one writer,
/// readers without locks.
/// </summary>
/// <remarks>
/// LAYOUT  nodes as in <see cref="BufferNode"/>; leaves are linked both ways; nothing is ever removed or merged.
///
/// WRITER  A slot of an existing key is replaced by one write. A key above all others of its leaf goes behind the last
/// slot, and then the count grows. Any other insert shifts the slots with the leaf's version odd. A split makes the
/// versions odd of every node that it changes, from the highest down, then works, then makes them even again.
///
/// INVARIANTS (besides N1–N3 of the node)
///   B1  A node is complete before the first reference to it is published, and an entry before a slot names it.
///   B2  A reader uses nothing that it read from a node, no reference above all, before the version proved to be the
///       even one that it had read first.
///   B3  A leaf's next leaf, as read with the leaf under one version, begins for ever at that leaf's upper fence.
///
/// WHY READERS ARE RIGHT
///   (1) One node. Begin() is: version odd, write barrier, changes; End() is: version even and greater, as a release. A
///       reader reads the version as an acquire, copies what it needs, passes a read barrier, and reads the version
///       again. If it saw any change of a writer that began after its first read, then, since the odd version was
///       written before the change and the second read comes after that of the change, the second read differs. If the
///       first read was even, it saw all that was written before that End(). So equal and even versions mean: the copy
///       is one state of the node. Barriers are Volatile.Write/WriteBarrier and Volatile.Read/ReadBarrier, which order
///       on arm64 too.
///   (2) The two changes without a version. Replacing a slot: 4 aligned bytes, written as a release, so a reader has
///       the old or the new entry, complete (B1), and the old one is behind the new one. Appending: slot first, then
///       the count as a release; a reader reads the count as an acquire before the slots and ignores what is above it.
///       The prefix that is just being written there is not less than those below it, so it can't disturb a search
///       among them (N1). Numbers of up to 8 bytes at their own alignment are read and written whole.
///   (3) Going down. The reader reads the child's version, and after that validates the parent. At that moment the
///       child had the range that the parent says, because a split changes parent and child under the parent's odd
///       version. If the child splits later its version changes, and the reader starts again. The reference of the root
///       is read again after the version of the root, because a split publishes the new root before it ends the change
///       of the old one. So by induction the leaf, at the version at which it validates, covered the key.
///   (4) Nothing is missed. An insert that ended before the read began is in the leaf that covers the key at every
///       later time: a split moves slots under the versions of both, and (3) finds the covering leaf.
///   (5) Scans. A cursor copies a leaf under one version. Forward, the next leaf begins at the upper fence of the copy
///       (B3: a split leaves the lower part in place). Backward it begins at the previous leaf and goes right until the
///       next leaf is the one that it came from: leaves between were split off the previous one. So the copies join
///       without overlap or gap, and hold each key whose insert ended before the scan began.
///   (6) It ends. A reader waits only for a version to become even, which takes the writer a bounded number of steps,
///       and starts again only if the writer got on.
///
/// THREADS  one writer; any number of readers, until the arena is returned. Versions have 64 bits and do not come
/// round.
/// </remarks>
internal sealed unsafe class BufferTree
{
    /// <summary>Enough for 2^32 granules of nodes of which each is at least half full.</summary>
    private const int HeightMax = 16;

    private readonly Arena _arena;
    private readonly BufferNode*[] _path = new BufferNode*[HeightMax];
    private readonly int[] _pathSlots = new int[HeightMax];
    private uint _root;
    private int _depth;
    private bool _pathIsKnown;

    // The place of the last insert: the next key of a sorted run goes there without a search.
    private BufferNode* _runLeaf;
    private int _runSlot = -1;

    public BufferTree(Arena arena)
    {
        _arena = arena;
        NewNode(level: 0, out _root);
    }

    // ---- writer ----------------------------------------------------------------------------------

    /// <summary>The slot of a key, or the one where <see cref="Insert"/> is to put it. Writer only.</summary>
    public bool Find(ReadOnlySpan<byte> key, out Place place)
    {
        BufferNode* leaf = _runLeaf;
        if (leaf != null && TryRun(leaf, key, out place, out bool isSame))
            return isSame;
        leaf = Descend(key);
        bool found = FindInLeaf(leaf, leaf->Version, key, out int slot) > 0;
        place = new Place(leaf, slot);
        return found;
    }

    /// <summary>The entry that a slot names. Writer only.</summary>
    [SuppressMessage("Performance", "CA1822", Justification = "Belongs to the tree whose place it is.")]
    public uint EntryAt(Place place) => place.Leaf->Entries[place.Slot];

    /// <summary>Lets a slot name a newer version of its key. Writer only.</summary>
    [SuppressMessage("Performance", "CA1822", Justification = "Belongs to the tree whose place it is.")]
    public void Replace(Place place, uint entry) => Volatile.Write(ref place.Leaf->Entries[place.Slot], entry);

    /// <summary>Adds a key at the place where <see cref="Find"/> did not find it. Writer only.</summary>
    public void Insert(Place place, ReadOnlySpan<byte> key, uint entry)
    {
        BufferNode* leaf = place.Leaf;
        int slot = place.Slot;
        int count = leaf->Count;
        if (count == BufferNode.SlotsMax)
        {
            Split(leaf, slot, key, entry);
            return;
        }
        if (slot == count)
        {
            leaf->Prefixes[slot] = BufferNode.PrefixOf(key, leaf->Skip);
            leaf->Entries[slot] = entry;
            Volatile.Write(ref leaf->Count, count + 1);
        }
        else
        {
            Begin(leaf);
            InsertSlot(leaf, slot, key, entry);
            End(leaf);
        }
        _runLeaf = leaf;
        _runSlot = slot;
    }

    /// <summary>
    /// True if the key is the last one that was inserted or comes right behind it: then no search is needed.
    /// </summary>
    private bool TryRun(BufferNode* leaf, ReadOnlySpan<byte> key, out Place place, out bool isSame)
    {
        int slot = _runSlot;
        place = new Place(leaf, slot);
        int order = key.SequenceCompareTo(KeyOf(leaf->Entries[slot]));
        isSame = order == 0;
        if (order <= 0)
            return isSame;
        uint bound = slot + 1 < leaf->Count ? leaf->Entries[slot + 1] : leaf->UpperFence;
        if (bound != 0 && key.SequenceCompareTo(KeyOf(bound)) >= 0)
            return false;
        place = new Place(leaf, slot + 1);
        _pathIsKnown = false;
        return true;
    }

    private BufferNode* Descend(ReadOnlySpan<byte> key)
    {
        BufferNode* node = Node(_root);
        int depth = 0;
        while (node->Level != 0)
        {
            int slot = ChildSlot(node, node->Version, key);
            _path[depth] = node;
            _pathSlots[depth++] = slot;
            node = Node(node->Children[slot]);
        }
        _depth = depth;
        _pathIsKnown = true;
        return node;
    }

    private void Split(BufferNode* leaf, int slot, ReadOnlySpan<byte> key, uint entry)
    {
        if (!_pathIsKnown)
            Invariant.Require(Descend(key) == leaf, "N3", "A run went on in a leaf that does not cover its key.");

        int highest = _depth - 1;
        while (highest > 0 && _path[highest]->Count == BufferNode.SeparatorsMax)
            highest--;
        for (int depth = Math.Max(highest, 0); depth < _depth; depth++)
            Begin(_path[depth]);
        Begin(leaf);

        BufferNode* right = SplitLeaf(leaf, slot, key, entry, out uint rightReference);
        uint separator = right->Entries[0];
        AddToParents(separator, rightReference);

        if (right->Next != 0)
            Volatile.Write(ref Node(right->Next)->Previous, rightReference);
        End(leaf);
        for (int depth = _depth - 1; depth >= Math.Max(highest, 0); depth--)
            End(_path[depth]);
    }

    /// <summary>
    /// Moves the upper part of a full leaf into a new one and inserts the key. In the middle, but where a sorted run
    /// goes on, right there: so runs leave full leaves behind.
    /// </summary>
    private BufferNode* SplitLeaf(
        BufferNode* leaf, int slot, ReadOnlySpan<byte> key, uint entry, out uint rightReference)
    {
        bool isRun = leaf == _runLeaf && slot == _runSlot + 1;
        int from = isRun ? slot : BufferNode.SlotsMax / 2;
        int moved = BufferNode.SlotsMax - from;

        BufferNode* right = NewNode(level: 0, out rightReference);
        right->Skip = leaf->Skip;
        right->Next = leaf->Next;
        right->UpperFence = leaf->UpperFence;
        MoveSlots(leaf, from, right, 0, moved);
        right->Count = moved;
        leaf->Count = from;
        ClearPrefixes(leaf, from, BufferNode.SlotsMax);

        bool goesRight = slot > from || moved == 0;
        BufferNode* home = goesRight ? right : leaf;
        int homeSlot = goesRight ? slot - from : slot;
        InsertSlot(home, homeSlot, key, entry);
        _runLeaf = home;
        _runSlot = homeSlot;

        uint separator = right->Entries[0];
        right->LowerFence = separator;
        right->Previous = _depth == 0 ? _root : _path[_depth - 1]->Children[_pathSlots[_depth - 1]];
        leaf->UpperFence = separator;
        leaf->Next = rightReference;
        RenewSkip(leaf);
        RenewSkip(right);
        return right;
    }

    /// <summary>Puts the new node behind its left half in the parent, and splits parents that are full.</summary>
    private void AddToParents(uint separator, uint added)
    {
        for (int depth = _depth - 1; depth >= 0; depth--)
        {
            BufferNode* parent = _path[depth];
            int slot = _pathSlots[depth];
            if (parent->Count < BufferNode.SeparatorsMax)
            {
                InsertChild(parent, slot, separator, added);
                return;
            }
            SplitInner(parent, slot, ref separator, ref added);
        }
        BufferNode* root = NewNode(Node(_root)->Level + 1, out uint rootReference);
        root->Children[0] = _root;
        InsertChild(root, 0, separator, added);
        Volatile.Write(ref _root, rootReference);
    }

    private void SplitInner(BufferNode* node, int slot, ref uint separator, ref uint added)
    {
        const int Full = BufferNode.SeparatorsMax;
        // At the upper end a sorted run is likely: leave the left node nearly full.
        int middle = slot == Full ? Full - 1 : Full / 2;
        uint up = node->Entries[middle];

        BufferNode* right = NewNode(node->Level, out uint rightReference);
        right->Skip = node->Skip;
        right->LowerFence = up;
        right->UpperFence = node->UpperFence;
        int moved = Full - middle - 1;
        MoveSlots(node, middle + 1, right, 0, moved);
        Unsafe.CopyBlock(right->Children, node->Children + middle + 1, (uint)(moved + 1) * sizeof(uint));
        right->Count = moved;
        node->Count = middle;
        node->UpperFence = up;
        ClearPrefixes(node, middle, BufferNode.SlotsMax);

        if (slot > middle)
            InsertChild(right, slot - middle - 1, separator, added);
        else
            InsertChild(node, slot, separator, added);
        RenewSkip(node);
        RenewSkip(right);
        separator = up;
        added = rightReference;
    }

    private void InsertChild(BufferNode* parent, int slot, uint separator, uint child)
    {
        int moved = parent->Count - slot;
        uint* children = parent->Children + slot + 1;
        Buffer.MemoryCopy(children, children + 1, moved * sizeof(uint), moved * sizeof(uint));
        *children = child;
        InsertSlot(parent, slot, KeyOf(separator), separator);
    }

    private static void InsertSlot(BufferNode* node, int slot, ReadOnlySpan<byte> key, uint entry)
    {
        long prefix = BufferNode.PrefixOf(key, node->Skip);
        int moved = node->Count - slot;
        long* prefixes = node->Prefixes + slot;
        uint* entries = node->Entries + slot;
        Buffer.MemoryCopy(prefixes, prefixes + 1, moved * sizeof(long), moved * sizeof(long));
        Buffer.MemoryCopy(entries, entries + 1, moved * sizeof(uint), moved * sizeof(uint));
        *prefixes = prefix;
        *entries = entry;
        node->Count++;
    }

    private static void MoveSlots(BufferNode* from, int fromSlot, BufferNode* to, int toSlot, int count)
    {
        Unsafe.CopyBlock(to->Prefixes + toSlot, from->Prefixes + fromSlot, (uint)count * sizeof(long));
        Unsafe.CopyBlock(to->Entries + toSlot, from->Entries + fromSlot, (uint)count * sizeof(uint));
    }

    /// <summary>
    /// After a fence came closer: skip what both fences share, and take the prefixes anew if that is more (N2).
    /// </summary>
    private void RenewSkip(BufferNode* node)
    {
        if (node->LowerFence == 0 || node->UpperFence == 0)
            return;
        int skip = KeyOf(node->LowerFence).CommonPrefixLength(KeyOf(node->UpperFence));
        if (skip == node->Skip)
            return;
        node->Skip = skip;
        for (int slot = 0; slot < node->Count; slot++)
            node->Prefixes[slot] = BufferNode.PrefixOf(KeyOf(node->Entries[slot]), skip);
    }

    private BufferNode* NewNode(int level, out uint reference)
    {
        int lengthBytes = level == 0 ? BufferNode.LeafBytes : BufferNode.InnerBytes;
        var node = (BufferNode*)_arena.TakeNode(lengthBytes, out reference);
        Unsafe.InitBlock(node, 0, 64);
        node->Level = level;
        ClearPrefixes(node, 0, BufferNode.SlotsMax);
        return node;
    }

    private static void ClearPrefixes(BufferNode* node, int from, int to) =>
        new Span<long>(node->Prefixes + from, to - from).Fill(BufferNode.NoPrefix);

    private static void Begin(BufferNode* node)
    {
        Volatile.Write(ref node->Version, node->Version + 1);
        Volatile.WriteBarrier();
    }

    private static void End(BufferNode* node) => Volatile.Write(ref node->Version, node->Version + 1);

    // ---- readers ---------------------------------------------------------------------------------

    /// <summary>The newest entry of a key, or none. Any thread.</summary>
    public BufferEntry* Lookup(ReadOnlySpan<byte> key)
    {
        while (true)
        {
            BufferNode* leaf = LeafOf(key, out ulong version);
            int found = FindInLeaf(leaf, version, key, out int slot);
            if (found < 0)
                continue;
            uint reference = found == 0 ? 0 : Volatile.Read(ref leaf->Entries[slot]);
            if (IsStill(leaf, version))
                return found == 0 ? null : Entry(reference);
        }
    }

    /// <summary>The leaf that covers a key, and the version at which it does. Any thread.</summary>
    public BufferNode* LeafOf(ReadOnlySpan<byte> key, out ulong version)
    {
        while (true)
        {
            BufferNode* node = Root(out version);
            while (node->Level != 0)
            {
                int slot = ChildSlot(node, version, key);
                if (slot < 0)
                    break;
                uint child = node->Children[slot];
                if (!TryStep(ref node, ref version, child))
                    break;
            }
            if (node->Level == 0)
                return node;
        }
    }

    /// <summary>The first or the last leaf. Any thread.</summary>
    public BufferNode* EdgeLeaf(bool last, out ulong version)
    {
        while (true)
        {
            BufferNode* node = Root(out version);
            while (node->Level != 0)
            {
                uint child = node->Children[last ? Volatile.Read(ref node->Count) : 0];
                if (!TryStep(ref node, ref version, child))
                    break;
            }
            if (node->Level == 0)
                return node;
        }
    }

    /// <summary>The number of slots, read before them (2).</summary>
    public static int CountOf(BufferNode* node) => Volatile.Read(ref node->Count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public BufferNode* Node(uint reference) => (BufferNode*)_arena.Pointer(reference);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public BufferEntry* Entry(uint reference) => (BufferEntry*)_arena.Pointer(reference);

    /// <summary>The even version of a node, waited for while it changes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong VersionOf(BufferNode* node)
    {
        ulong version = Volatile.Read(ref node->Version);
        return (version & 1) == 0 ? version : AwaitVersion(node);
    }

    /// <summary>True if all that was read from the node since its version was read is one state of it (B2).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsStill(BufferNode* node, ulong version)
    {
        Volatile.ReadBarrier();
        return Volatile.Read(ref node->Version) == version;
    }

    private static ulong AwaitVersion(BufferNode* node)
    {
        var spin = new SpinWait();
        while (true)
        {
            ulong version = Volatile.Read(ref node->Version);
            if ((version & 1) == 0)
                return version;
            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    private BufferNode* Root(out ulong version)
    {
        while (true)
        {
            uint root = Volatile.Read(ref _root);
            BufferNode* node = Node(root);
            version = VersionOf(node);
            if (Volatile.Read(ref _root) == root)
                return node;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryStep(ref BufferNode* node, ref ulong version, uint childReference)
    {
        if (!IsStill(node, version))
            return false;
        BufferNode* child = Node(childReference);
        ulong childVersion = VersionOf(child);
        if (!IsStill(node, version))
            return false;
        node = child;
        version = childVersion;
        return true;
    }

    /// <summary>
    /// Which child covers the key: as many as there are separators ≤ the key. −1 if the node changed meanwhile.
    /// </summary>
    private int ChildSlot(BufferNode* node, ulong version, ReadOnlySpan<byte> key)
    {
        int count = Volatile.Read(ref node->Count);
        long prefix = BufferNode.PrefixOf(key, node->Skip);
        int slot = Math.Min(BufferNode.CountLess(node->Prefixes, count, prefix), count);
        if (slot == count || node->Prefixes[slot] != prefix)
            return slot;
        int end = EndOfEqual(node, slot, count, prefix);
        while (slot < end)
        {
            int middle = (slot + end) >>> 1;
            uint separator = node->Entries[middle];
            if (!IsStill(node, version))
                return -1;
            if (key.SequenceCompareTo(KeyOf(separator)) >= 0)
                slot = middle + 1;
            else
                end = middle;
        }
        return slot;
    }

    /// <summary>
    /// The first slot whose key is not less. 1 if it is the key, 0 if not, −1 if the leaf changed meanwhile; for 0 and
    /// 1 the caller still validates.
    /// </summary>
    public int FindInLeaf(BufferNode* leaf, ulong version, ReadOnlySpan<byte> key, out int slot)
    {
        int count = Volatile.Read(ref leaf->Count);
        long prefix = BufferNode.PrefixOf(key, leaf->Skip);
        slot = Math.Min(BufferNode.CountLess(leaf->Prefixes, count, prefix), count);
        if (slot == count || leaf->Prefixes[slot] != prefix)
            return 0;
        int end = EndOfEqual(leaf, slot, count, prefix);
        while (slot < end)
        {
            int middle = (slot + end) >>> 1;
            uint entry = Volatile.Read(ref leaf->Entries[middle]);
            if (!IsStill(leaf, version))
                return -1;
            int order = key.SequenceCompareTo(KeyOf(entry));
            if (order == 0)
            {
                slot = middle;
                return 1;
            }
            if (order > 0)
                slot = middle + 1;
            else
                end = middle;
        }
        return 0;
    }

    private static int EndOfEqual(BufferNode* node, int slot, int count, long prefix)
    {
        int end = slot + 1;
        while (end < count && node->Prefixes[end] == prefix)
            end++;
        return end;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ReadOnlySpan<byte> KeyOf(uint entry) => BufferEntry.KeyOf(Entry(entry));

    /// <summary>A slot of a leaf, found or free.</summary>
    internal readonly struct Place(BufferNode* leaf, int slot)
    {
        public readonly BufferNode* Leaf = leaf;
        public readonly int Slot = slot;
    }
}
