using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>Values that are too large for a leaf: written, read and listed.</summary>
/// <remarks>
/// LAYOUT  (after the header; count = page numbers listed, FieldA = next listing page, FieldB = value bytes here)
/// <code>
///   listing page:  u32 number[count] · value bytes
///   data page:     value bytes (count 0)
/// </code>
/// A value is the bytes of its first listing page, then those of the pages listed there in order, then the same from
/// the next listing page on. The length of what remains fixes each listing page: a page lists no more than it needs,
/// and has a successor only if 2040 pages do not hold the rest (then it lists 2040 and carries no bytes itself). So a
/// value of 16 MiB is freed by reading one page, and its pages can be read ahead all at once.
/// INVARIANTS
///   V1  A page of a value carries exactly the bytes that the value's length gives it.
/// </remarks>
internal static unsafe class OverflowPage
{
    /// <summary>Page numbers that fit one page.</summary>
    public const int ListedMax = PageLayout.ContentBytes / sizeof(uint);

    /// <summary>What a listing page holds of the <paramref name="remainingBytes"/> of a value.</summary>
    /// <returns>Pages listed, bytes carried in the listing page itself, whether another one follows.</returns>
    public static (int Listed, int OwnBytes, bool HasNext) Plan(int remainingBytes)
    {
        if (remainingBytes <= PageLayout.ContentBytes)
            return (0, remainingBytes, false);
        const int BytesPerListed = PageLayout.ContentBytes - sizeof(uint);
        int listed = (remainingBytes - PageLayout.ContentBytes + BytesPerListed - 1) / BytesPerListed;
        if (listed < ListedMax)
            return (listed, PageLayout.ContentBytes - listed * sizeof(uint), false);
        return (ListedMax, 0, remainingBytes > ListedMax * PageLayout.ContentBytes);
    }

    /// <summary>Writes a value and returns its first page.</summary>
    /// <param name="sink">Where the pages go.</param>
    /// <param name="value">The value.</param>
    /// <param name="scratch">One page of memory.</param>
    public static uint Write(IPageSink sink, ReadOnlySpan<byte> value, Span<byte> scratch)
    {
        uint first = sink.Allocate();
        uint listing = first;
        while (true)
        {
            (int listed, int ownBytes, bool hasNext) = Plan(value.Length);
            ReadOnlySpan<byte> own = value[..ownBytes];
            value = value[ownBytes..];
            var numbers = new uint[listed];
            for (int i = 0; i < listed; i++)
            {
                numbers[i] = sink.Allocate();
                int bytes = Math.Min(value.Length, PageLayout.ContentBytes);
                WritePage(sink, numbers[i], [], 0, value[..bytes], scratch);
                value = value[bytes..];
            }
            uint next = hasNext ? sink.Allocate() : 0;
            WritePage(sink, listing, numbers, next, own, scratch);
            if (!hasNext)
                return first;
            listing = next;
        }
    }

    private static void WritePage(
        IPageSink sink, uint number, ReadOnlySpan<uint> numbers, uint next, ReadOnlySpan<byte> own, Span<byte> scratch)
    {
        Span<byte> page = scratch[..PageLayout.PageBytes];
        PageLayout.Describe(page, PageKind.Overflow, flags: 0, numbers.Length, next, (uint)own.Length);
        Span<byte> content = page[PageLayout.HeaderBytes..];
        MemoryMarshal.AsBytes(numbers).CopyTo(content);
        own.CopyTo(content[(numbers.Length * sizeof(uint))..]);
        content[(numbers.Length * sizeof(uint) + own.Length)..].Clear();
        sink.Write(number, page);
    }

    /// <summary>Reads a whole value.</summary>
    /// <exception cref="DamageException">A page is not what the value's length asks for.</exception>
    public static void Read(IPageSource source, ulong rootGeneration, uint firstPage, int lengthBytes, Span<byte> to)
    {
        Span<byte> left = to[..lengthBytes];
        uint listing = firstPage;
        while (true)
        {
            byte* page = RequireListing(source, rootGeneration, listing, left.Length, out var plan, out uint next);
            source.Prefetch(Numbers(page), rootGeneration);
            ReadOnlySpan<uint> listed = Numbers(page);
            byte* own = page + PageLayout.HeaderBytes + listed.Length * sizeof(uint);
            new ReadOnlySpan<byte>(own, plan.OwnBytes).CopyTo(left);
            left = left[plan.OwnBytes..];
            foreach (uint number in listed)
            {
                int bytes = Math.Min(left.Length, PageLayout.ContentBytes);
                byte* data = RequireData(source, rootGeneration, number, bytes);
                new ReadOnlySpan<byte>(data + PageLayout.HeaderBytes, bytes).CopyTo(left);
                left = left[bytes..];
            }
            if (next == 0)
                return;
            listing = next;
        }
    }

    /// <summary>Adds all page numbers of a value to a list; reads only its listing pages.</summary>
    /// <exception cref="DamageException">A listing page is not what the value's length asks for.</exception>
    public static void List(IPageSource source, ulong rootGeneration, uint firstPage, int lengthBytes, List<uint> to)
    {
        int left = lengthBytes;
        for (uint listing = firstPage; listing != 0;)
        {
            byte* page = RequireListing(source, rootGeneration, listing, left, out var plan, out uint next);
            to.Add(listing);
            to.AddRange(Numbers(page));
            left -= plan.OwnBytes + (int)Math.Min((long)plan.Listed * PageLayout.ContentBytes, left - plan.OwnBytes);
            listing = next;
        }
    }

    /// <summary>Requires that nothing in the page points out of it.</summary>
    /// <exception cref="DamageException">Something does.</exception>
    public static void RequireStructure(string path, byte* page, uint number)
    {
        long used = (long)PageLayout.Count(page) * sizeof(uint) + PageLayout.FieldB(page);
        if (used > PageLayout.ContentBytes)
            throw PageErrors.TreeInvalid(path, number,
                $"is an overflow page with {PageLayout.Count(page)} pages listed and {PageLayout.FieldB(page)} bytes, "
                + $"more than fit");
        foreach (uint listed in Numbers(page))
        {
            if (listed < PageLayout.FirstPage)
                throw PageErrors.TreeInvalid(path, number, $"lists page {listed} as a part of its value");
        }
    }

    /// <summary>The page numbers that a listing page lists.</summary>
    public static ReadOnlySpan<uint> Numbers(byte* page) =>
        new(page + PageLayout.HeaderBytes, PageLayout.Count(page));

    private static byte* RequireListing(
        IPageSource source, ulong rootGeneration, uint number, int remainingBytes,
        out (int Listed, int OwnBytes, bool HasNext) plan, out uint next)
    {
        plan = Plan(remainingBytes);
        byte* page = RequireOverflow(source, rootGeneration, number, plan.Listed, plan.OwnBytes);
        next = PageLayout.FieldA(page);
        if (next != 0 != plan.HasNext)
            throw PageErrors.TreeInvalid(source.Path, number,
                $"names page {next} as the next part of a value of which {remainingBytes} bytes remain");
        return page;
    }

    private static byte* RequireData(IPageSource source, ulong rootGeneration, uint number, int bytes) =>
        RequireOverflow(source, rootGeneration, number, listed: 0, bytes);

    private static byte* RequireOverflow(
        IPageSource source, ulong rootGeneration, uint number, int listed, int ownBytes)
    {
        byte* page = source.Page(number, rootGeneration);
        if (PageLayout.Kind(page) != PageKind.Overflow)
            throw PageErrors.TreeInvalid(source.Path, number,
                $"is a {PageLayout.Kind(page)} page; an Overflow was expected");
        if (PageLayout.Count(page) != listed || PageLayout.FieldB(page) != (uint)ownBytes)
            throw PageErrors.TreeInvalid(source.Path, number,
                $"lists {PageLayout.Count(page)} pages and carries {PageLayout.FieldB(page)} bytes; {listed} and "
                + $"{ownBytes} were expected");
        return page;
    }
}
