using System.Globalization;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>What a file with meta pages is. Only a <see cref="Datafile"/> ever opens as one (H17).</summary>
internal enum DatafileKind : byte
{
    /// <summary>A datafile of a database.</summary>
    Datafile = 1,

    /// <summary>Scratch beside a fenced file.</summary>
    Spill = 2,

    /// <summary>A copy that is being written.</summary>
    UnfinishedCopy = 3,
}

/// <summary>
/// Page 0 or 1 of a datafile: the root of one generation, and what the file on disk is the state of.
/// </summary>
/// <remarks>
/// LAYOUT  (little endian; bytes; the page's header as in <see cref="PageLayout"/>, kind Meta, generation as below)
/// <code>
///    0      page header: checksum, number 0 or 1, kind, generation
///   32 u64  magic "PITRDATA"             96 u32  root page (0: empty tree)
///   40 u32  format version               100 u32 height of the tree
///   44 u32  page size (8192)             104 u64 generation of the root: its pages have at most this one
///   48 u64  system identifier            112 u64 keys in the tree
///   56 u32  file id                      120 u32 first page of the free chain (0: none)
///   60 u8   kind (DatafileKind)          124 u32 page count: pages from here on were never used
///   61 u8×3 zero                         128 u64 generation of the free chain (H38)
///   64 u64  incarnation                  136 u32 pages of the free chain
///   72 u64  generation                   140 u32 zero
///   80 u64  checkpoint LSN               144 u64 free pages that the chain lists
///   88 u64  lineage of that LSN          152 16 bytes: restore stamp (zero: none)
///                                        168 zero to the end
/// </code>
/// A meta page is valid if and only if (1) its checksum matches and its number is its place, (2) magic, version and
/// page size are known, (3) its generation is that of its header and generation mod 2 is its place, (4) nothing that it
/// names lies outside of its page count, no height, count or generation in it is more than there can be.
///
/// DURABILITY  the meta page of generation g+1 is written into slot (g+1) mod 2 after all its pages were synced, then
/// synced itself. Every change is a generation of its own (H22); only opening writes one in place, the same bytes
/// (H10).
/// </remarks>
internal sealed record MetaPage
{
    public const uint FormatVersionNewest = 1;

    /// <summary>The two places of meta pages; other pages begin here.</summary>
    public const uint Slots = 2;

    private const ulong Magic = 0x4154_4144_5254_4950; // "PITRDATA"

    public uint FormatVersion { get; init; } = FormatVersionNewest;
    public required SystemIdentifier SystemId { get; init; }
    public required FileId FileId { get; init; }
    public DatafileKind Kind { get; init; } = DatafileKind.Datafile;
    public required Incarnation Incarnation { get; init; }

    /// <summary>Grows by one with each change of the meta page.</summary>
    public required ulong Generation { get; init; }

    /// <summary>Every change at or below it is in the file, none above.</summary>
    public required Lsn CheckpointLsn { get; init; }

    /// <summary>The lineage of <see cref="CheckpointLsn"/> (H14).</summary>
    public required Lineage Lineage { get; init; }

    public TreeRoot Root { get; init; }

    /// <summary>First page of the chain of free pages; 0 if there is none.</summary>
    public uint FreeChain { get; init; }

    /// <summary>The generation that wrote every page of the chain; any other is damage (H38).</summary>
    public ulong FreeChainGeneration { get; init; }

    /// <summary>Pages that the chain itself takes.</summary>
    public uint FreeChainPages { get; init; }

    /// <summary>Pages that the chain lists as free.</summary>
    public ulong FreePages { get; init; }

    /// <summary>All pages lie below it.</summary>
    public uint PageCount { get; init; } = Slots;

    /// <summary>The unfinished recovery that restored this file; empty if there is none.</summary>
    public Guid RestoreStamp { get; init; }

    /// <summary>Where a meta page of this generation lies.</summary>
    public uint Slot => (uint)(Generation % Slots);

    /// <summary>Writes all 8,192 bytes, checksum included.</summary>
    public void Write(Span<byte> page)
    {
        page[..PageLayout.PageBytes].Clear();
        PageLayout.Describe(page, PageKind.Meta, flags: 0, count: 0, fieldA: 0, fieldB: 0);
        MemoryMarshal.Write(page, new Fields
        {
            Magic = Magic,
            FormatVersion = FormatVersion,
            PageBytes = PageLayout.PageBytes,
            SystemId = SystemId.Value,
            FileId = FileId.Value,
            Kind = (byte)Kind,
            Incarnation = Incarnation.Value,
            Generation = Generation,
            CheckpointLsn = CheckpointLsn.Value,
            Lineage = Lineage.Value,
            RootPage = Root.Page,
            RootHeight = (uint)Root.Height,
            RootGeneration = Root.Generation,
            Keys = Root.Keys,
            FreeChain = FreeChain,
            PageCount = PageCount,
            FreeChainGeneration = FreeChainGeneration,
            FreeChainPages = FreeChainPages,
            FreePages = FreePages,
            RestoreStamp = RestoreStamp,
            HeaderKind = (byte)PageKind.Meta,
        });
        PageChecksum.Stamp(page, Slot, Generation);
    }

    /// <summary>
    /// Reads a meta page. Null if it is not valid; then <paramref name="why"/> ends the sentence "page n …".
    /// </summary>
    public static MetaPage? TryRead(ReadOnlySpan<byte> page, uint slot, out string why)
    {
        why = "";
        if (page.Length < PageLayout.PageBytes)
            why = "is cut off";
        else if (!PageChecksum.Matches(page))
            why = string.Create(CultureInfo.InvariantCulture,
                $"has checksum {PageLayout.Checksum(page):X16}, its content gives {PageChecksum.Compute(page):X16}");
        else if (PageLayout.Number(page) != slot)
            why = string.Create(CultureInfo.InvariantCulture, $"says that it is page {PageLayout.Number(page)}");
        else if (PageLayout.Kind(page) != PageKind.Meta)
            why = $"is of the kind {PageLayout.Kind(page)}";
        if (why.Length > 0)
            return null;

        Fields fields = MemoryMarshal.Read<Fields>(page);
        if (fields.Magic != Magic)
            why = "does not begin as a datafile does";
        else if (fields.FormatVersion is 0 or > FormatVersionNewest)
            return new MetaPage
            {
                FormatVersion = fields.FormatVersion,
                SystemId = new SystemIdentifier(fields.SystemId),
                FileId = new FileId(fields.FileId),
                Incarnation = default,
                Generation = PageLayout.Generation(page),
                CheckpointLsn = default,
                Lineage = default,
            };
        else if (fields.PageBytes != PageLayout.PageBytes)
            why = string.Create(CultureInfo.InvariantCulture, $"has a page size of {fields.PageBytes}");
        else if (fields.Generation != PageLayout.Generation(page) || fields.Generation % Slots != slot)
            why = string.Create(CultureInfo.InvariantCulture, $"has generation {fields.Generation} in the wrong place");
        else if (fields.PageCount < Slots || fields.RootPage >= fields.PageCount || fields.FreeChain >= fields.PageCount
            || fields.RootPage == 1 || fields.FreeChain == 1)
            why = "names a page outside of the file";
        else if (fields.RootHeight > PageLayout.LevelMax + 1 || (fields.RootHeight == 0) != (fields.RootPage == 0)
            || fields.RootGeneration > fields.Generation)
            why = string.Create(CultureInfo.InvariantCulture,
                $"names a root of height {fields.RootHeight} and generation {fields.RootGeneration}");
        else if (fields.FreeChainPages >= fields.PageCount || fields.FreePages >= fields.PageCount
            || (fields.FreeChain == 0) != (fields.FreeChainPages == 0)
            || fields.FreeChainGeneration > fields.Generation)
            why = string.Create(CultureInfo.InvariantCulture,
                $"names a free chain of {fields.FreeChainPages} pages, generation {fields.FreeChainGeneration}, and "
                + $"{fields.FreePages} free pages");
        else if (fields.Kind is < (byte)DatafileKind.Datafile or > (byte)DatafileKind.UnfinishedCopy)
            why = string.Create(CultureInfo.InvariantCulture, $"is of the unknown kind {fields.Kind}");
        if (why.Length > 0)
            return null;

        return new MetaPage
        {
            FormatVersion = fields.FormatVersion,
            SystemId = new SystemIdentifier(fields.SystemId),
            FileId = new FileId(fields.FileId),
            Kind = (DatafileKind)fields.Kind,
            Incarnation = new Incarnation(fields.Incarnation),
            Generation = fields.Generation,
            CheckpointLsn = new Lsn(fields.CheckpointLsn),
            Lineage = new Lineage(fields.Lineage),
            Root = new TreeRoot(fields.RootPage, (int)fields.RootHeight, fields.RootGeneration, fields.Keys),
            FreeChain = fields.FreeChain,
            FreeChainGeneration = fields.FreeChainGeneration,
            FreeChainPages = fields.FreeChainPages,
            FreePages = fields.FreePages,
            PageCount = fields.PageCount,
            RestoreStamp = fields.RestoreStamp,
        };
    }

    /// <summary>The bytes up to the zeros, header included.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 168)]
    private struct Fields
    {
        [FieldOffset(PageLayout.KindAt)] public byte HeaderKind;
        [FieldOffset(32)] public ulong Magic;
        [FieldOffset(40)] public uint FormatVersion;
        [FieldOffset(44)] public uint PageBytes;
        [FieldOffset(48)] public ulong SystemId;
        [FieldOffset(56)] public uint FileId;
        [FieldOffset(60)] public byte Kind;
        [FieldOffset(64)] public ulong Incarnation;
        [FieldOffset(72)] public ulong Generation;
        [FieldOffset(80)] public ulong CheckpointLsn;
        [FieldOffset(88)] public ulong Lineage;
        [FieldOffset(96)] public uint RootPage;
        [FieldOffset(100)] public uint RootHeight;
        [FieldOffset(104)] public ulong RootGeneration;
        [FieldOffset(112)] public ulong Keys;
        [FieldOffset(120)] public uint FreeChain;
        [FieldOffset(124)] public uint PageCount;
        [FieldOffset(128)] public ulong FreeChainGeneration;
        [FieldOffset(136)] public uint FreeChainPages;
        [FieldOffset(144)] public ulong FreePages;
        [FieldOffset(152)] public Guid RestoreStamp;
    }
}
