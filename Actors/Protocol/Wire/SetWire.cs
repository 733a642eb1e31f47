using Google.Protobuf;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of backup sets that a client makes by itself.</summary>
internal static class SetWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<BeginSet, W.BeginSet>(
            "begin-set.1",
            m => new W.BeginSet { RequestId = m.RequestId, Reason = m.Reason },
            w => new BeginSet(w.RequestId, w.Reason)),
        WireEntry.Of<SetBegun, W.SetBegun>(
            "set-begun.1",
            m => new W.SetBegun
            {
                RequestId = m.RequestId,
                Set = m.Set,
                BackupId = m.BackupId,
                CatalogueLsn = m.CatalogueLsn.Value,
                BeganAt = WireForms.Of(m.BeganAt),
                ControlBytes = m.ControlBytes,
                Machine = m.Place.Machine,
                FolderInode = m.Place.Inode,
                BootId = m.Place.BootId,
                FolderDevice = m.Place.Device,
                HasArchive = m.HasArchive,
            },
            w => new SetBegun(
                w.RequestId, w.Set, w.BackupId, new Lsn(w.CatalogueLsn), WireForms.ToTime(w.BeganAt), w.ControlBytes,
                new FolderPlace(w.Machine, w.BootId, w.FolderDevice, w.FolderInode), w.HasArchive)),
        WireEntry.Of<ReadSetControl, W.ReadSetControl>(
            "read-set-control.1",
            m => new W.ReadSetControl { RequestId = m.RequestId, Set = m.Set, From = m.From },
            w => new ReadSetControl(w.RequestId, w.Set, w.From)),
        WireEntry.Of<SetControlRead, W.SetControlRead>(
            "set-control-read.1",
            m => new W.SetControlRead { RequestId = m.RequestId, Content = ByteString.CopyFrom(m.Content.Span) },
            w => new SetControlRead(w.RequestId, w.Content.Memory)),
        WireEntry.Of<RenewSet, W.RenewSet>(
            "renew-set.1",
            m => new W.RenewSet { RequestId = m.RequestId, Set = m.Set },
            w => new RenewSet(w.RequestId, w.Set)),
        WireEntry.Of<FenceForSet, W.FenceForSet>(
            "fence-for-set.1",
            m => new W.FenceForSet { RequestId = m.RequestId, Set = m.Set, File = m.File.Value },
            w => new FenceForSet(w.RequestId, w.Set, new FileId(w.File))),
        WireEntry.Of<SetFileFenced, W.SetFileFenced>(
            "set-file-fenced.1",
            m => new W.SetFileFenced { RequestId = m.RequestId, File = m.File is { } file ? Of(file) : null },
            w => new SetFileFenced(w.RequestId, w.File is { } file ? ToFile(file) : null)),
        WireEntry.Of<UnfenceForSet, W.UnfenceForSet>(
            "unfence-for-set.1",
            m => new W.UnfenceForSet { RequestId = m.RequestId, Set = m.Set },
            w => new UnfenceForSet(w.RequestId, w.Set)),
        WireEntry.Of<EndSet, W.EndSet>(
            "end-set.1",
            m => new W.EndSet { RequestId = m.RequestId, Set = m.Set },
            w => new EndSet(w.RequestId, w.Set)),
        WireEntry.Of<SetEnded, W.SetEnded>(
            "set-ended.1",
            m =>
            {
                var wire = new W.SetEnded
                {
                    RequestId = m.RequestId,
                    StartLsn = m.StartLsn.Value,
                    StopLsn = m.StopLsn.Value,
                    StopTime = WireForms.Of(m.StopTime),
                    LastTransaction = m.LastTransaction.Value,
                };
                wire.Dropped.AddRange(m.Dropped.Select(file => file.Value));
                return wire;
            },
            w => new SetEnded(
                w.RequestId, new Lsn(w.StartLsn), new Lsn(w.StopLsn), WireForms.ToTime(w.StopTime),
                new TransactionId(w.LastTransaction), [.. w.Dropped.Select(file => new FileId(file))])),
        WireEntry.Of<ConfirmSet, W.ConfirmSet>(
            "confirm-set.1",
            m => new W.ConfirmSet { RequestId = m.RequestId, Set = m.Set, NeedsArchive = m.NeedsArchive },
            w => new ConfirmSet(w.RequestId, w.Set, w.NeedsArchive)),
        WireEntry.Of<SetConfirmed, W.SetConfirmed>(
            "set-confirmed.1",
            m => new W.SetConfirmed { RequestId = m.RequestId, IsArchived = m.IsArchived },
            w => new SetConfirmed(w.RequestId, w.IsArchived)),
        WireEntry.Of<ReleaseSet, W.ReleaseSet>(
            "release-set.1",
            m => new W.ReleaseSet { RequestId = m.RequestId, Set = m.Set },
            w => new ReleaseSet(w.RequestId, w.Set)),
    ];

    private static W.FencedFile Of(FencedFile file)
    {
        var wire = new W.FencedFile
        {
            Id = file.Id.Value,
            Name = file.Name,
            Path = file.Path,
            LengthBytes = file.LengthBytes,
            CheckpointLsn = file.CheckpointLsn.Value,
            Incarnation = file.Incarnation.Value,
            Generation = file.Generation,
            Lineage = file.Lineage.Value,
        };
        if (file.OutsidePath is { } outside)
            wire.OutsidePath = outside;
        return wire;
    }

    private static FencedFile ToFile(W.FencedFile file) => new(
        new FileId(file.Id), Limits.IsName(file.Name) ? file.Name : throw new ArgumentException("It is no name."),
        file.Path, file.LengthBytes, new Lsn(file.CheckpointLsn), new Incarnation(file.Incarnation), file.Generation,
        new Lineage(file.Lineage), file.HasOutsidePath ? file.OutsidePath : null);
}
