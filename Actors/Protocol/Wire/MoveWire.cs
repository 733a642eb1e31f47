using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of moves and of compacting.</summary>
internal static class MoveWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<MoveDatafile, W.MoveDatafile>(
            "move-datafile.1",
            m =>
            {
                var wire = new W.MoveDatafile
                {
                    RequestId = m.RequestId,
                    Datafile = m.Datafile,
                    Path = m.Path,
                    WithoutLink = m.WithoutLink,
                };
                if (m.BytesPerSecondMax is { } rate)
                    wire.BytesPerSecondMax = rate;
                return wire;
            },
            w => new MoveDatafile(
                w.RequestId, w.Datafile, w.Path, w.WithoutLink,
                w.HasBytesPerSecondMax ? w.BytesPerSecondMax : null)),
        WireEntry.Of<DatafileMoved, W.DatafileMoved>(
            "datafile-moved.1",
            m => new W.DatafileMoved { RequestId = m.RequestId, Result = ToWire(m.Result) },
            w => new DatafileMoved(w.RequestId, FromWire(WireForms.Require(w.Result, "result")))),
        WireEntry.Of<DrainFolder, W.DrainFolder>(
            "drain-folder.1",
            m =>
            {
                var wire = new W.DrainFolder
                {
                    RequestId = m.RequestId,
                    Folder = m.Folder,
                    To = m.To,
                    InPages = m.InPages,
                };
                if (m.BytesPerSecondMax is { } rate)
                    wire.BytesPerSecondMax = rate;
                return wire;
            },
            w => new DrainFolder(
                w.RequestId, w.Folder, w.To, w.HasBytesPerSecondMax ? w.BytesPerSecondMax : null, w.InPages)),
        WireEntry.Of<FolderDrained, W.FolderDrained>(
            "folder-drained.1",
            m => new W.FolderDrained
            {
                RequestId = m.RequestId,
                Results = { m.Results.Select(ToWire) },
                More = m.More,
            },
            w => new FolderDrained(w.RequestId, [.. w.Results.Select(FromWire)], w.More)),
        WireEntry.Of<CompactDatafile, W.CompactDatafile>(
            "compact-datafile.1",
            m =>
            {
                var wire = new W.CompactDatafile { RequestId = m.RequestId, Datafile = m.Datafile };
                if (m.BytesPerSecondMax is { } rate)
                    wire.BytesPerSecondMax = rate;
                return wire;
            },
            w => new CompactDatafile(
                w.RequestId, w.Datafile, w.HasBytesPerSecondMax ? w.BytesPerSecondMax : null)),
        WireEntry.Of<DatafileCompacted, W.DatafileCompacted>(
            "datafile-compacted.1",
            m => new W.DatafileCompacted
            {
                RequestId = m.RequestId,
                Datafile = m.Result.Datafile,
                Path = m.Result.Path,
                BytesBefore = m.Result.BytesBefore,
                BytesAfter = m.Result.BytesAfter,
                Seconds = m.Result.Seconds,
                FencedSeconds = m.Result.FencedSeconds,
            },
            w => new DatafileCompacted(w.RequestId, new CompactResult(
                w.Datafile, w.Path, w.BytesBefore, w.BytesAfter, w.Seconds, w.FencedSeconds))),
    ];

    private static W.MoveResult ToWire(MoveResult result) => new()
    {
        Datafile = result.Datafile,
        From = result.From,
        To = result.To,
        Bytes = result.Bytes,
        Seconds = result.Seconds,
        FencedSeconds = result.FencedSeconds,
    };

    private static MoveResult FromWire(W.MoveResult result) => new(
        result.Datafile, result.From, result.To, result.Bytes, result.Seconds, result.FencedSeconds);
}
