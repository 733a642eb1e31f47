namespace Pitr.Wal;

/// <summary>
/// A store whose objects are encrypted: segments, parts, histories, owners and backup sets alike, whatever the store
/// below it is.
/// </summary>
/// <remarks>
/// Names stay as they are, so claims, owner objects and conditional creates are the inner store's (S3): what a claim
/// says is sealed, that it was made is not. Two pushes of one segment differ in every byte; they are equal by the SHA-256
/// of their plain bytes, which is what is compared (H25).
///
/// INVARIANTS
///   E1  A key has 256 bits and comes from a file that nobody else may read.
///   E2  Nothing is written in the clear, and nothing that is in the clear is taken for an object: who can write into
///       the store cannot make one.
///   E3  What is read is what was written under that name: each frame is bound to it (SealedObject).
/// That an old object is put back in the place of a newer one is not seen here: objects that are written more than once
/// (an owner's renewal, a backup set's pin) carry no promise that it would break.
///
/// THREADS, FAILURE  those of the inner store; and RefusedException StoreKeyWrong, StoreNotSealed.
/// </remarks>
internal sealed class EncryptedStore(IArchiveStore inner, ArchiveKey key, Func<ulong> random) : IArchiveStore
{
    /// <inheritdoc/>
    public string Name => inner.Name;

    /// <inheritdoc/>
    public string Place => inner.Place;

    /// <inheritdoc/>
    public StoreAbilities Abilities => inner.Abilities;

    /// <inheritdoc/>
    public void CreateRoot() => inner.CreateRoot();

    /// <inheritdoc/>
    public void Put(string name, ReadOnlyMemory<byte> content) => inner.Put(name, Sealed(name, content));

    /// <inheritdoc/>
    public void Put(string name, Stream content)
    {
        using var sealing = new SealingStream(content, SealedObject.New(inner.Name, name, key, random));
        inner.Put(name, sealing);
    }

    /// <inheritdoc/>
    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) =>
        inner.TryPutIfAbsent(name, Sealed(name, content));

    /// <inheritdoc/>
    public IStagedObject Stage(string name, ReadOnlyMemory<byte> content) => inner.Stage(name, Sealed(name, content));

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> Get(string name) => Unsealed(name, inner.Get(name));

    /// <inheritdoc/>
    public ReadOnlyMemory<byte>? TryGet(string name) =>
        inner.TryGet(name) is { } there ? (ReadOnlyMemory<byte>?)Unsealed(name, there) : null;

    /// <inheritdoc/>
    public Stream OpenRead(string name)
    {
        Stream there = inner.OpenRead(name);
        try
        {
            byte[] header = new byte[SealedObject.HeaderBytes];
            int read = there.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
            SealedObject opened = SealedObject.Open(inner.Name, name, header.AsSpan(0, read), key);
            return new UnsealingStream(there, opened, SealedObject.PlainLength(there.Length));
        }
        catch
        {
            there.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> List(string prefix) => inner.List(prefix);

    /// <inheritdoc/>
    public void Delete(string name) => inner.Delete(name);

    /// <summary>With the length of what is within.</summary>
    public StoredObject? Stat(string name) => inner.Stat(name) is { } there
        ? there with { LengthBytes = SealedObject.PlainLength(there.LengthBytes) }
        : null;

    /// <inheritdoc/>
    public int RemoveStrays() => inner.RemoveStrays();

    private byte[] Sealed(string name, ReadOnlyMemory<byte> plain)
    {
        SealedObject made = SealedObject.New(inner.Name, name, key, random);
        byte[] bytes = new byte[SealedObject.SealedLength(plain.Length)];
        made.Header.CopyTo(bytes);
        int from = 0, to = SealedObject.HeaderBytes;
        for (long number = 0; ; number++)
        {
            int length = Math.Min(SealedObject.FrameBytes, plain.Length - from);
            bool isLast = from + length == plain.Length;
            made.Seal(
                number, isLast, plain.Span.Slice(from, length), bytes.AsSpan(to, length + SealedObject.TagBytes));
            from += length;
            to += length + SealedObject.TagBytes;
            if (isLast)
                return bytes;
        }
    }

    private byte[] Unsealed(string name, ReadOnlyMemory<byte> bytes)
    {
        SealedObject opened = SealedObject.Open(inner.Name, name, bytes.Span, key);
        const int sealedFrame = SealedObject.FrameBytes + SealedObject.TagBytes;
        byte[] plain = new byte[SealedObject.PlainLength(bytes.Length)];
        int from = SealedObject.HeaderBytes, to = 0;
        for (long number = 0; ; number++)
        {
            int length = Math.Min(sealedFrame, bytes.Length - from);
            bool isLast = from + length == bytes.Length;
            int plainLength = Math.Max(0, length - SealedObject.TagBytes);
            opened.Unseal(number, isLast, bytes.Span.Slice(from, length), plain.AsSpan(to, plainLength));
            from += length;
            to += plainLength;
            if (isLast)
                return plain;
        }
    }

    private sealed class SealingStream(Stream plain, SealedObject made)
        : FrameStream(plain, SealedObject.FrameBytes, LengthOf(plain), ownsInner: false)
    {
        protected override ReadOnlyMemory<byte> First => made.Header;

        protected override byte[] Turn(ReadOnlySpan<byte> frame, bool isLast)
        {
            byte[] bytes = new byte[frame.Length + SealedObject.TagBytes];
            made.Seal(Number, isLast, frame, bytes);
            return bytes;
        }

        private static long? LengthOf(Stream plain)
        {
            try
            {
                return SealedObject.SealedLength(plain.Length);
            }
            catch (NotSupportedException)
            {
                return null;
            }
        }
    }

    private sealed class UnsealingStream(Stream bytes, SealedObject opened, long lengthBytes)
        : FrameStream(bytes, SealedObject.FrameBytes + SealedObject.TagBytes, lengthBytes, ownsInner: true)
    {
        protected override byte[] Turn(ReadOnlySpan<byte> frame, bool isLast)
        {
            byte[] plain = new byte[Math.Max(0, frame.Length - SealedObject.TagBytes)];
            opened.Unseal(Number, isLast, frame, plain);
            return plain;
        }
    }
}
