using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>The read views of all datafiles that together show one LSN.</summary>
/// <remarks>
/// A view shows LSN v if its root is not above v, and what v needs was not written into a younger buffer than its
/// active one: the active buffer is open, or was sealed at or above v. Taking all of them at one v is a loop that
/// rarely runs twice: a view changes only with a seal or a flush.
/// </remarks>
internal sealed class PinnedViews
{
    private readonly ReadView?[] _views;

    private PinnedViews(Lsn lsn, ReadView?[] views) => (Lsn, _views) = (lsn, views);

    /// <summary>What they show.</summary>
    public Lsn Lsn { get; }

    public ReadView? Of(FileId file) => file.Value < _views.Length ? _views[file.Value] : null;

    public static PinnedViews Take(EngineContext engine)
    {
        while (true)
        {
            Lsn lsn = engine.Visibility.Visible;
            if (TryTake(engine, lsn) is { } views)
                return views;
        }
    }

    /// <summary>One file's view and the LSN to read it at, for a single read.</summary>
    public static PinnedViews TakeOne(EngineContext engine, FileSlot slot)
    {
        while (true)
        {
            Lsn lsn = engine.Visibility.Visible;
            var views = new ReadView?[slot.Id.Value + 1];
            using EpochGuard guard = engine.Epochs.Enter();
            ReadView view = slot.Readable.View;
            if (!Shows(view, lsn) || !view.TryPin())
                continue;
            views[slot.Id.Value] = view;
            return new PinnedViews(lsn, views);
        }
    }

    public void Unpin()
    {
        foreach (ReadView? view in _views)
            view?.Unpin();
    }

    /// <summary>
    /// True if a reader of the view at the LSN, which was visible before the view was read, misses nothing.
    /// </summary>
    public static bool Shows(ReadView view, Lsn lsn) =>
        view.ReadableFrom <= lsn && (!view.Active.IsSealed || view.Active.SealedAt >= lsn);

    private static PinnedViews? TryTake(EngineContext engine, Lsn lsn)
    {
        using EpochGuard guard = engine.Epochs.Enter();
        FileSlot[] slots = [.. engine.Slots.All];
        var views = new ReadView?[slots.Length == 0 ? 0 : slots.Max(slot => slot.Id.Value) + 1];
        var taken = new PinnedViews(lsn, views);
        foreach (FileSlot slot in slots)
        {
            if (slot.File is not { } file)
                continue; // it can't be read; a snapshot of the others can
            ReadView view = file.View;
            if (!Shows(view, lsn) || !view.TryPin())
            {
                taken.Unpin();
                return null;
            }

            views[slot.Id.Value] = view;
        }

        return taken;
    }
}
