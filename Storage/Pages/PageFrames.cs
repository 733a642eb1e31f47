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

    /// <summary>
    /// 1 if the frame is a block of its own, beyond the budget, and goes back to the system when it is free.
    /// </summary>
    [FieldOffset(16)] public int IsExtra;

    /// <summary>
    /// Set by a hit, cleared by the clock's hand. The neighbour of the page's header, which every hit reads.
    /// </summary>
    [FieldOffset(63)] public byte Referenced;
}

/// <summary>
/// The native memory of cached pages: frames in slabs up to the budget, and single ones beyond it while readers hold
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
///
/// THREADS  any; every member takes the lock of the cache that owns it (passed as a scope: callers hold it).
/// </remarks>
internal sealed unsafe class PageFrames : IDisposable
{
    public const int Stride = FrameHead.Bytes + PageLayout.PageBytes + 64;
    public const int SlabBytes = 1 << 20;
    public const int FramesPerSlab = SlabBytes / Stride;
    private const int Alignment = 128;

    private readonly List<nint> _slabs = [];
    private readonly List<nint> _clock = [];
    private readonly Stack<nint> _free = new();
    private int _hand;

    /// <summary>Frames that exist.</summary>
    public int Count => _clock.Count;

    /// <summary>Frames that nobody uses.</summary>
    public int FreeCount => _free.Count;

    public static FrameHead* HeadOf(byte* page) => (FrameHead*)(page - FrameHead.Bytes);

    /// <summary>A frame in state Filling, or null if none is free.</summary>
    public byte* TryTake()
    {
        if (!_free.TryPop(out nint page))
            return null;
        HeadOf((byte*)page)->State = FrameState.Filling;
        return (byte*)page;
    }

    /// <summary>Makes a slab of free frames.</summary>
    public void AddSlab()
    {
        var slab = (byte*)NativeMemory.AlignedAlloc(SlabBytes, Alignment);
        _slabs.Add((nint)slab);
        for (int i = FramesPerSlab - 1; i >= 0; i--)
        {
            byte* page = slab + i * Stride + FrameHead.Bytes;
            Enrol(page, isExtra: false);
            _free.Push((nint)page);
        }
    }

    /// <summary>A frame of its own in state Filling, for when all others are in use.</summary>
    public byte* TakeExtra()
    {
        byte* page = (byte*)NativeMemory.AlignedAlloc(Stride, Alignment) + FrameHead.Bytes;
        Enrol(page, isExtra: true);
        HeadOf(page)->State = FrameState.Filling;
        return page;
    }

    /// <summary>Takes back a frame that nobody looks at.</summary>
    public void GiveBack(byte* page)
    {
        FrameHead* head = HeadOf(page);
        Invariant.Require(head->State is FrameState.Filling or FrameState.Retired, "C2", "a frame in use is given back.");
        head->State = FrameState.Free;
        if (head->IsExtra == 0)
        {
            _free.Push((nint)page);
            return;
        }
        nint last = _clock[^1];
        _clock[head->Place] = last;
        HeadOf((byte*)last)->Place = head->Place;
        _clock.RemoveAt(_clock.Count - 1);
        NativeMemory.AlignedFree(page - FrameHead.Bytes);
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

    /// <summary>The resident frames of one file.</summary>
    public List<nint> ResidentOf(int file) =>
        _clock.FindAll(page => HeadOf((byte*)page)->State == FrameState.Resident && HeadOf((byte*)page)->File == file);

    public void Dispose()
    {
        foreach (nint page in _clock)
        {
            if (HeadOf((byte*)page)->IsExtra != 0)
                NativeMemory.AlignedFree((byte*)page - FrameHead.Bytes);
        }
        foreach (nint slab in _slabs)
            NativeMemory.AlignedFree((void*)slab);
        _clock.Clear();
        _slabs.Clear();
        _free.Clear();
    }

    private void Enrol(byte* page, bool isExtra)
    {
        FrameHead* head = HeadOf(page);
        *head = new FrameHead { Place = _clock.Count, IsExtra = isExtra ? 1 : 0 };
        _clock.Add((nint)page);
    }
}
