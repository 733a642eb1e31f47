using System.Buffers;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>The bytes of one datafile out of a backup set: steps 1 to 3 of <see cref="RecoveredFile"/>.</summary>
/// <remarks>
/// The two meta pages of the set's copy are held back until all else is durable: until <see cref="Stamp"/> none of the
/// file's meta pages is of the kind datafile (H17). THREADS  one.
/// </remarks>
internal sealed class SetCopy(PlannedFileRecovery planned, FileBase.OfSet of, IFileHandle to, Action<int> copied)
{
    private const int MetaBytes = (int)MetaPage.Slots * PageLayout.PageBytes;

    private readonly PacedWriter _writer = planned.Request.Environment.Writer;
    private readonly byte[] _metas = new byte[MetaBytes];

    /// <summary>From here on what a crash leaves of it is known to be ours.</summary>
    public void Begin(Incarnation incarnation)
    {
        ulong generation = of.File.Generation;
        for (ulong g = generation < 1 ? 0 : generation - 1; g <= generation; g++)
        {
            Write(new MetaPage
            {
                SystemId = planned.Request.Control.SystemId,
                FileId = planned.File.Id,
                Kind = DatafileKind.UnfinishedCopy,
                Incarnation = incarnation,
                Generation = g,
                CheckpointLsn = of.File.CheckpointLsn,
                Lineage = of.File.Lineage,
                Root = TreeRoot.Empty(g),
            });
        }

        _writer.Sync(to);
    }

    /// <summary>Every page but the meta pages; durable when it returns.</summary>
    /// <exception cref="DamageException">BackupDamaged.</exception>
    public void CopyPages(int chunkBytes, CancellationToken cancellation)
    {
        using Stream from = of.Set.OpenFile(of.File);
        from.ReadAtLeast(_metas, MetaBytes, throwOnEndOfStream: false);
        byte[] chunk = ArrayPool<byte>.Shared.Rent(chunkBytes);
        try
        {
            long at = MetaBytes;
            Memory<byte> room = chunk.AsMemory(0, chunkBytes);
            while (from.ReadAtLeast(room.Span, chunkBytes, throwOnEndOfStream: false) is var read and > 0)
            {
                cancellation.ThrowIfCancellationRequested();
                _writer.Write(to, at, room.Span[..read]);
                at += read;
                copied(read);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }

        _writer.Sync(to);
    }

    /// <summary>From here on it passes for the datafile, of this incarnation.</summary>
    public void Stamp(Incarnation incarnation)
    {
        MetaPage? believed = null;
        for (uint slot = 0; slot < MetaPage.Slots; slot++)
        {
            ReadOnlySpan<byte> page = _metas.AsSpan((int)slot * PageLayout.PageBytes, PageLayout.PageBytes);
            if (MetaPage.TryRead(page, slot, out _) is { } found && found.Generation >= (believed?.Generation ?? 0))
                believed = found;
        }

        if (believed is null || believed.SystemId != planned.Request.Control.SystemId
            || believed.FileId != planned.File.Id || believed.Generation != of.File.Generation
            || believed.Incarnation != of.File.Incarnation || believed.CheckpointLsn != of.File.CheckpointLsn)
            throw RecoveryErrors.BackupDamaged(of.Set.Id, of.File.ObjectName, "its meta page is not the one of the label");
        Write(believed with { Kind = DatafileKind.Datafile, Incarnation = incarnation, RestoreStamp = Guid.Empty });
        _writer.Sync(to);
    }

    private void Write(MetaPage meta)
    {
        byte[] page = new byte[PageLayout.PageBytes];
        meta.Write(page);
        _writer.Write(to, meta.Slot * (long)PageLayout.PageBytes, page);
    }
}
