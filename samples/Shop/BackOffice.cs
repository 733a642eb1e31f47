using System.Diagnostics;
using Pitr.Recovery;

namespace Pitr.Samples.Shop;

/// <summary>What the owner of the shop does while it is open. Orders are taken meanwhile, all the time.</summary>
internal sealed class BackOffice(PitrDatabase database, OrderBook book, ShopPlace place) : IDisposable
{
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(10);
    private readonly SemaphoreSlim _past = new(1, 1); // one look at the past at a time: they share its folder

    /// <summary>
    /// Holds the datafile of orders still while <c>cp</c> copies it. The copy is good if this returns; the one before it stays
    /// until then, and whatever goes wrong.
    /// </summary>
    public async Task<object> CopyAsync(CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(place.Copies);
        FenceGrant fence = await database.FenceAsync(OrderBook.OrdersDatafile, Lease, "a copy for the owner", cancellationToken);
        string copy = Path.Combine(place.Copies, Path.GetFileName(fence.Path));
        string part = $"{copy}.{fence.FenceId:n}.part"; // its own, if several owners want a copy at once
        try
        {
            using Process cp = Process.Start("cp", [fence.Path, part]);
            await cp.WaitForExitAsync(cancellationToken);
            if (cp.ExitCode != 0)
                throw new IOException($"cp ended with {cp.ExitCode}.");
            using (FileStream written = File.Open(part, FileMode.Open))
                written.Flush(flushToDisk: true); // before it replaces a good one
            await database.UnfenceAsync(fence.FenceId, CancellationToken.None); // throws if the fence broke: the copy is void
            File.Move(part, copy, overwrite: true);
        }
        catch
        {
            await LetGoAsync(fence);
            throw;
        }
        finally
        {
            File.Delete(part);
        }

        return new { copy, holds = fence.CheckpointLsn.ToString() };
    }

    /// <summary>Else it holds until its lease ends. What went wrong before is told, and not that it is no more.</summary>
    private async Task LetGoAsync(FenceGrant fence)
    {
        try
        {
            await database.UnfenceAsync(fence.FenceId, CancellationToken.None);
        }
        catch (PitrException)
        {
            // It broke, or has ended: there is nothing to let go.
        }
    }

    /// <summary>Puts the datafile of orders onto another disk, a faster one perhaps.</summary>
    public async Task<object> MoveAsync(string disk, CancellationToken cancellationToken)
    {
        // What comes over HTTP is a name, never a path: it could lead anywhere.
        if (disk.Length == 0 || !disk.All(char.IsAsciiLetterOrDigit))
            throw new ArgumentException("Name the disk with letters and digits: ?to=fast");
        string to = Path.Combine(place.Disks, disk);
        Directory.CreateDirectory(to);
        MoveResult moved = await database.MoveAsync(
            new MoveRequest { Datafile = OrderBook.OrdersDatafile, Path = Path.Combine(to, "orders.pitr") }, cancellationToken);
        return new { moved.From, moved.To, moved.Bytes, moved.FencedSeconds };
    }

    /// <summary>A backup set; each night, say.</summary>
    public async Task<object> BackupAsync(CancellationToken cancellationToken)
    {
        BackupResult backup = await database.BackupAsync(new BackupRequest { Store = place.Archive }, cancellationToken);
        return new { backup.BackupId, backup.Files, backup.Bytes };
    }

    /// <summary>Gives this moment a name, before something risky.</summary>
    public async Task<object> RememberAsync(string name, CancellationToken cancellationToken)
    {
        RestorePoint point = await database.CreateRestorePointAsync(name, cancellationToken);
        return new { point.Name, lsn = point.Lsn.ToString(), point.Time };
    }

    /// <summary>The orders of a moment that has a name.</summary>
    public async Task<IReadOnlyList<Order>> OrdersAtAsync(string name, CancellationToken cancellationToken)
    {
        await UntilArchivedAsync(cancellationToken);
        await _past.WaitAsync(cancellationToken);
        try
        {
            // Beside the shop's own database, and detached: it must not archive into the same place.
            await PitrRecovery.RestoreAsync(
                new RestoreRequest
                {
                    Store = place.Archive,
                    Into = place.Past,
                    Target = RecoveryTarget.IncludingRestorePoint(name),
                    Detached = true,
                },
                cancellationToken: cancellationToken);
            await using PitrDatabase past = await PitrDatabase.OpenAsync(
                place.Past, new PitrOptions(), cancellationToken);
            return OrderBook.OrdersOf(past);
        }
        finally
        {
            if (Directory.Exists(place.Past))
                Directory.Delete(place.Past, recursive: true);
            _past.Release();
        }
    }

    /// <summary>Takes the orders of that moment that are missing now into the shop, which is open all the time.</summary>
    public async Task<object> BringBackAsync(string name, CancellationToken cancellationToken) => new
    {
        broughtBack = await book.PutMissingAsync(await OrdersAtAsync(name, cancellationToken), cancellationToken),
    };

    public void Dispose() => _past.Dispose();

    /// <summary>The archive is at most about a second behind.</summary>
    private async Task UntilArchivedAsync(CancellationToken cancellationToken)
    {
        Lsn now = (await database.GetStatusAsync(cancellationToken)).CurrentLsn;
        while (true)
        {
            EngineStatus status = await database.GetStatusAsync(cancellationToken);
            if (status.Archive.All(store => status.FlushedLsn - now >= store.LagBytes))
                return;
            await Task.Delay(100, cancellationToken);
        }
    }
}
