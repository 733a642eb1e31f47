using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>What of a frame is in use.</summary>
internal enum FrameState
{
    /// <summary>Nobody uses it.</summary>
    Free = 0,

    /// <summary>Its owner fills it; nobody else has its address.</summary>
    Filling = 1,

    /// <summary>A page table names it: readers may come.</summary>
    Resident = 2,

    /// <summary>No page table names it any more; readers may still be inside until their epochs end.</summary>
    Retired = 3,
}

/// <summary>The head of a frame: the 64 bytes before the page's bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = Bytes)]
internal struct FrameHead
{
    public const int Bytes = 64;

    [FieldOffset(0)] public int File;
    [FieldOffset(4)] public uint Number;
    [FieldOffset(8)] public FrameState State;

    /// <summary>Place in the clock.</summary>
    [FieldOffset(12)] public int Place;

    /// <summary>Number of the slab it lies in.</summary>
    [FieldOffset(16)] public int Slab;

    /// <summary>
    /// Set by a hit, cleared by the clock's hand. The neighbour of the page's header, which every hit reads.
    /// </summary>
    [FieldOffset(63)] public byte Referenced;
}

/// <summary>
/// The native memory of cached pages: frames in slabs up to the budget, and in extra slabs beyond it while readers hold
/// on.
/// </summary>
/// <remarks>
/// LAYOUT  a frame is 8,320 bytes: 64 of head, 8,192 of page, 64 unused. The odd stride spreads the headers of pages
/// over the sets of the processor's caches; head and page header lie in one aligned pair of cache lines.
/// <code>
///   frame ─▶ +0 FrameHead · +64 page (the address that readers get) · +8256 unused
///   slab   =  126 frames in 1 MiB
/// </code>
/// INVARIANTS
///   C1  A frame's bytes change only in state Filling.
///   C2  Retired → Free only after the epochs of its retirement have ended (E1).
///   C4  An extra slab goes back to the system when none of its frames is in use.
///
/// THREADS  any; every member takes the lock of the cache that owns it (passed as a scope: callers hold it).
/// </remarks>
internal sealed unsafe class PageFrames : IDisposable
{
    public const int Stride = FrameHead.Bytes + PageLayout.PageBytes + 64;
    public const int SlabBytes = 1 << 20;
    public const int FramesPerSlab = SlabBytes / Stride;

    private readonly List<Slab?> _slabs = [];
    private readonly List<nint> _clock = [];
    private readonly Stack<nint> _free = new();
    private readonly List<Slab> _extra = [];
    private int _hand;

    /// <summary>Frames that exist.</summary>
    public int Count => _clock.Count;

    /// <summary>Frames within the budget that nobody uses.</summary>
    public int FreeCount => _free.Count;

    public static FrameHead* HeadOf(byte* page) => (FrameHead*)(page - FrameHead.Bytes);

    /// <summary>A frame in state Filling, or null if none is free.</summary>
    public byte* TryTake() => _free.TryPop(out nint page) ? Fill(page) : null;

    /// <summary>Makes a slab of free frames.</summary>
    public void AddSlab() => AddSlab(_free, isExtra: false);

    /// <summary>A frame of an extra slab in state Filling, for when all others are in use.</summary>
    public byte* TakeExtra()
    {
        Slab? slab = _extra.Find(slab => slab.Free.Count != 0);
        if (slab is null)
            _extra.Add(slab = AddSlab(new Stack<nint>(FramesPerSlab), isExtra: true));
        return Fill(slab.Free.Pop());
    }

    /// <summary>Takes back a frame that nobody looks at.</summary>
    public void GiveBack(byte* page)
    {
        FrameHead* head = HeadOf(page);
        Invariant.Require(
            head->State is FrameState.Filling or FrameState.Retired, "C2", "a frame in use is given back.");
        head->State = FrameState.Free;
        Slab slab = _slabs[head->Slab]!;
        slab.Free.Push((nint)page);
        if (slab.IsExtra && slab.Free.Count == FramesPerSlab)
            Remove(slab);
    }

    /// <summary>
    /// The next resident frame that was not used since the hand last passed, or null after two rounds without one.
    /// </summary>
    public byte* NextVictim()
    {
        for (int looked = 0; looked < 2 * _clock.Count; looked++)
        {
            if (_hand >= _clock.Count)
                _hand = 0;
            var page = (byte*)_clock[_hand++];
            FrameHead* head = HeadOf(page);
            if (head->State != FrameState.Resident)
                continue;
            if (head->Referenced == 0)
                return page;
            head->Referenced = 0;
        }
        return null;
    }

    /// <summary>The resident frames of all extra slabs.</summary>
    public List<nint> ResidentExtra()
    {
        List<nint> pages = [];
        foreach (Slab slab in _extra)
        {
            for (int i = 0; i < FramesPerSlab; i++)
            {
                if (HeadOf(slab.PageAt(i))->State == FrameState.Resident)
                    pages.Add((nint)slab.PageAt(i));
            }
        }
        return pages;
    }

    /// <summary>The resident frames of one file.</summary>
    public List<nint> ResidentOf(int file) =>
        _clock.FindAll(page => HeadOf((byte*)page)->State == FrameState.Resident && HeadOf((byte*)page)->File == file);

    public void Dispose()
    {
        foreach (Slab? slab in _slabs)
        {
            if (slab is not null)
                NativeBlocks.Free(slab.Memory, SlabBytes);
        }
        _clock.Clear();
        _slabs.Clear();
        _extra.Clear();
        _free.Clear();
    }

    private static byte* Fill(nint page)
    {
        HeadOf((byte*)page)->State = FrameState.Filling;
        return (byte*)page;
    }

    private Slab AddSlab(Stack<nint> free, bool isExtra)
    {
        var slab = new Slab(NativeBlocks.Take(SlabBytes), free, isExtra);
        int number = _slabs.IndexOf(null);
        if (number < 0 || !isExtra)
        {
            number = _slabs.Count;
            _slabs.Add(null);
        }
        _slabs[number] = slab;
        for (int i = FramesPerSlab - 1; i >= 0; i--)
        {
            byte* page = slab.PageAt(i);
            *HeadOf(page) = new FrameHead { Place = _clock.Count, Slab = number };
            _clock.Add((nint)page);
            free.Push((nint)page);
        }
        return slab;
    }

    private void Remove(Slab slab)
    {
        _slabs[HeadOf(slab.PageAt(0))->Slab] = null;
        _extra.Remove(slab);
        for (int i = 0; i < FramesPerSlab; i++)
        {
            int place = HeadOf(slab.PageAt(i))->Place;
            nint last = _clock[^1];
            _clock[place] = last;
            HeadOf((byte*)last)->Place = place;
            _clock.RemoveAt(_clock.Count - 1);
        }
        NativeBlocks.Free(slab.Memory, SlabBytes);
    }

    private sealed class Slab(byte* memory, Stack<nint> free, bool isExtra)
    {
        /// <summary>
        /// Frames that nobody uses: its own if it is extra, else those of all slabs within the budget.
        /// </summary>
        public readonly Stack<nint> Free = free;
        public readonly bool IsExtra = isExtra;
        public readonly byte* Memory = memory;

        public byte* PageAt(int index) => Memory + index * Stride + FrameHead.Bytes;
    }
}
