using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A datafile made anew with its live pages only, and what enters it (H42).</summary>
public sealed class CompactedFileTests : IDisposable
{
    private const string Beside = DatafileOnDisk.Path + ".compacting";
    private static readonly Incarnation Next = new(0xD4);

    private readonly DatafileOnDisk _it = DatafileOnDisk.Create();

    public void Dispose() => _it.Dispose();

    [Fact]
    public void A_compacted_file_has_every_row_in_full_pages_and_nothing_free()
    {
        MostlyDeleted(largeValues: true);
        long before = _it.File.LengthBytes;
        MetaPage origin = _it.File.Meta;
        Enter();
        _it.Check();
        Assert.Equal((0UL, 0U), (_it.File.Meta.FreePages, _it.File.Meta.FreeChainPages));
        Assert.InRange(_it.File.LengthBytes, 1, before / 3);
        Assert.Equal(_it.File.LengthBytes, _it.Disk.Stat(DatafileOnDisk.Path)!.LengthBytes);
        Assert.Equal(
            (origin.CheckpointLsn, origin.Lineage, origin.Root.Keys),
            (_it.File.CheckpointLsn, _it.File.Meta.Lineage, _it.File.Meta.Root.Keys));
    }

    [Fact]
    public void An_empty_file_can_be_compacted()
    {
        Enter();
        Assert.Equal(2 * PageLayout.PageBytes, _it.File.LengthBytes);
        _it.PutMany(0, 100);
        _it.Flush();
        _it.Check();
    }

    /// <summary>H42, H15: whoever knows the former incarnation takes nothing of this one for the same page.</summary>
    [Fact]
    public void It_is_another_incarnation_of_the_next_generation()
    {
        MostlyDeleted();
        MetaPage origin = _it.File.Meta;
        Enter();
        MetaPage meta = Datafile.Inspect(_it.Disk, DatafileOnDisk.Path);
        Assert.Equal(_it.File.Meta, meta);
        Assert.Equal((Next, origin.Generation + 1), (meta.Incarnation, meta.Generation));
        Assert.Equal(meta.Generation, meta.Root.Generation);
    }

    /// <summary>H42: a view of before reads on in the former file, whatever becomes of the new one.</summary>
    [Fact]
    public void Views_of_before_keep_the_former_file_and_its_cached_pages()
    {
        MostlyDeleted(largeValues: true);
        ReadView before = _it.File.View;
        Assert.True(before.TryPin());
        Lsn at = _it.Lsn;
        SortedDictionary<string, byte[]> rows = _it.Scan(before, at);
        Enter();
        Assert.NotSame(before.Pages, _it.File.View.Pages);
        for (int round = 0; round < 5; round++)
        {
            _it.PutMany(0, 3000, fill: (byte)(10 + round));
            _it.Flush();
            ForgetCached(before);
            DatafileOnDisk.RequireEqual(rows, _it.Scan(before, at));
        }

        Assert.Equal(2, OpenFiles());
        Assert.True(_it.File.PinnedBytes > rows.Count);
        before.Unpin();
        AwaitOpenFiles(1);
        _it.Check();
    }

    /// <summary>H41: whoever cuts the former file gets it when the last view of before has ended, and not earlier.</summary>
    [Fact]
    public async Task The_former_file_is_given_away_when_its_last_view_has_ended()
    {
        MostlyDeleted();
        ReadView before = Pinned();
        var taken = new TaskCompletionSource<NamelessFile>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enter(takesFormer: taken.SetResult);
        _it.PutMany(0, 3000, fill: 9);
        _it.Flush();
        _it.Epochs.Collect();
        Assert.False(taken.Task.IsCompleted);
        before.Unpin();
        NamelessFile former = await taken.Task.WaitAsync(TestDatabase.Patience); // the view's end has the pool collect
        Assert.Equal(2, OpenFiles());
        former.Dispose();
        Assert.Equal((1, 1), (OpenFiles(), _it.Disk.HeldLockCount));
        _it.Check();
    }

    /// <summary>H42: what a flush had freed in the former file is no free page of the new one.</summary>
    [Fact]
    public void Pages_that_wait_in_the_former_file_never_become_free_in_the_new_one()
    {
        _it.PutMany(0, 3000);
        _it.Flush();
        ReadView before = _it.File.View;
        Assert.True(before.TryPin());
        _it.PutMany(0, 3000, fill: 2); // frees every page of before, which wait
        _it.Flush();
        Assert.True(_it.File.PinnedBytes > 0);
        Enter();
        before.Unpin();
        AwaitOpenFiles(1);
        for (int round = 0; round < 4; round++)
        {
            _it.PutMany(round * 500, 700, fill: (byte)(3 + round));
            _it.Flush();
            _it.Check();
        }
    }

    /// <summary>H42, H12: a reader without a pin, descheduled over the switch and what follows.</summary>
    [Fact]
    public void A_descheduled_reader_reads_the_former_file_to_its_end()
    {
        _it.PutMany(0, 2000);
        _it.Flush();
        Lsn at = _it.Lsn;
        using (EpochHold epoch = _it.Epochs.Hold())
        {
            ReadView before = _it.File.View;
            Enter();
            _it.PutMany(0, 2000, fill: 9);
            _it.Flush();
            Assert.Equal(2, OpenFiles());
            Assert.Equal(1, _it.Get(before, "k01000", at)![0]);
        }

        AwaitOpenFiles(1);
        Assert.Equal(9, _it.Get("k01000")![0]);
    }

    [Fact]
    public void Buffers_above_it_stay_as_they_are()
    {
        _it.PutMany(0, 500);
        _it.Flush();
        _it.PutMany(400, 300, fill: 5); // in the active buffer
        _it.DeleteMany(0, 50);
        Enter();
        _it.PutMany(600, 10, fill: 6);
        _it.Flush();
        _it.Check();
        Assert.Equal((650, 6), (_it.Scan(_it.File.View).Count, _it.Get("k00605")![0]));
    }

    [Fact]
    public void A_datafile_can_be_compacted_again_while_the_file_before_the_former_is_still_read()
    {
        _it.PutMany(0, 1000);
        _it.Flush();
        ReadView first = Pinned();
        Enter(new Incarnation(1));
        _it.DeleteMany(500, 500);
        _it.Flush();
        ReadView second = Pinned();
        Enter(new Incarnation(2));
        Assert.Equal(3, OpenFiles());
        Assert.Equal((1000, 500), (_it.Scan(first, new Lsn(9000)).Count, _it.Scan(second).Count));
        first.Unpin();
        AwaitOpenFiles(2);
        second.Unpin();
        AwaitOpenFiles(1);
        _it.Check();
    }

    /// <summary>H41: closing the datafile ends whoever still reads a former file, and closes it.</summary>
    [Fact]
    public void Closing_the_datafile_closes_the_former_files_too()
    {
        MostlyDeleted();
        ReadView before = Pinned();
        Enter();
        _it.CloseFile();
        Assert.Equal(0, OpenFiles());
        ForgetCached(before);
        Assert.Throws<RefusedException>(() => _it.Get(before, "k00000", _it.Lsn));
        before.Unpin();
    }

    /// <summary>Damage in the former file is told to whoever reads there, and is none of the new one.</summary>
    [Fact]
    public void Damage_of_the_former_file_is_not_told_of_the_datafile()
    {
        DamageException? told = null;
        _it.File.WhenDamaged = damage => told = damage;
        _it.PutMany(0, 500);
        _it.Flush();
        ReadView before = Pinned();
        Lsn at = _it.Lsn;
        IFileHandle former = _it.File.Handle;
        Enter();
        former.Write(2 * PageLayout.PageBytes, new byte[40 * PageLayout.PageBytes]);
        ForgetCached(before);
        Assert.Throws<DamageException>(() => _it.Get(before, "k00100", at));
        Assert.Null(told);
        before.Unpin();
        AwaitOpenFiles(1);
        _it.Check();
    }

    /// <summary>H20: what lies in the place is not what the fence named: then it is not made anew.</summary>
    [Fact]
    public void A_file_that_is_not_the_one_that_was_fenced_is_not_made_anew()
    {
        MostlyDeleted();
        MetaPage meta = _it.File.Meta;
        var plan = new CompactPlan
        {
            FileId = FileId.Main,
            Datafile = "main",
            Name = DatafileOnDisk.Path,
            Origin = DatafileOnDisk.Path,
            Incarnation = Next,
        };
        CompactCopy.Of(_it.Environment, plan, meta.Incarnation, meta.Generation, meta.CheckpointLsn).Dispose();
        foreach ((Incarnation incarnation, ulong generation, Lsn checkpoint) in new[]
        {
            (Next, meta.Generation, meta.CheckpointLsn),
            (meta.Incarnation, meta.Generation + 1, meta.CheckpointLsn),
            (meta.Incarnation, meta.Generation, meta.CheckpointLsn + 8),
        })
            Assert.Throws<DamageException>(
                () => CompactCopy.Of(_it.Environment, plan, incarnation, generation, checkpoint));

        _it.Disk.Rename(DatafileOnDisk.Path, "/db/moved.pitr"); // a move was faster: that is no damage
        _it.Disk.Symlink("/db/moved.pitr", DatafileOnDisk.Path);
        Assert.Equal(ErrorCode.CompactRefused, Assert.Throws<RefusedException>(() => CompactCopy.Of(
            _it.Environment, plan, meta.Incarnation, meta.Generation, meta.CheckpointLsn)).Code);
    }

    /// <summary>H17: whatever a crash leaves of one, it does not open as the datafile.</summary>
    [Fact]
    public void Until_it_is_stamped_it_is_no_datafile()
    {
        MostlyDeleted();
        using CompactedFile file = Made();
        Assert.Equal(DatafileKind.UnfinishedCopy, Datafile.Inspect(_it.Disk, Beside).Kind);
        Fill(file);
        Assert.Equal(DatafileKind.UnfinishedCopy, Datafile.Inspect(_it.Disk, Beside).Kind);
        Assert.Throws<BugException>(file.Stamp); // CP3
        file.Prove(static _ => { }, CancellationToken.None);
        file.Stamp();
        MetaPage meta = Datafile.Inspect(_it.Disk, Beside);
        Assert.Equal((DatafileKind.Datafile, _it.File.CheckpointLsn), (meta.Kind, meta.CheckpointLsn));
    }

    /// <summary>Each row is read again: neither a page that reads otherwise nor a row that is missing passes.</summary>
    [Fact]
    public void A_file_that_is_not_what_was_written_is_not_proven()
    {
        MostlyDeleted();
        using CompactedFile file = Made();
        Fill(file);
        _it.Disk.Faults.On(FileOp.Read).Of(".compacting").Nth(2).Garble();
        Assert.Equal(ErrorCode.PageChecksum, Assert.Throws<DamageException>(
            () => file.Prove(static _ => { }, CancellationToken.None)).Code);
        Assert.Throws<BugException>(file.Stamp);
    }

    /// <summary>
    /// A page that passes every check, and has the same keys, but other values: that of another file, whose history was the
    /// same.
    /// </summary>
    [Fact]
    public void A_page_of_another_file_in_the_place_of_one_is_not_proven()
    {
        MostlyDeleted();
        using CompactedFile file = Made();
        Fill(file);
        using DatafileOnDisk other = DatafileOnDisk.Create();
        MostlyDeleted(other, fill: 2);
        using var stranger = new CompactedFile(other.Environment, "main", other.File.Meta, Next, Beside);
        stranger.Create();
        Fill(stranger);
        Assert.Equal(file.Meta, stranger.Meta);
        const int page = 2 * PageLayout.PageBytes; // the first one with rows
        using (IFileHandle handle = _it.Disk.Open(Beside, FileOpen.ReadWrite))
            handle.Write(page, other.Disk.ReadAll(Beside).AsSpan(page, PageLayout.PageBytes));
        DamageException told = Assert.Throws<DamageException>(() => file.Prove(static _ => { }, CancellationToken.None));
        Assert.Contains("rows", told.Message, StringComparison.Ordinal);
        Assert.Throws<BugException>(file.Stamp);
    }

    [Fact]
    public void A_page_of_the_origin_that_is_damaged_is_not_carried_on()
    {
        MostlyDeleted();
        for (long page = 2; page < _it.File.Meta.PageCount; page++)
            _it.Disk.Damage(DatafileOnDisk.Path, page * PageLayout.PageBytes + 5000);
        using CompactedFile file = Made();
        Assert.Throws<DamageException>(() => Fill(file));
    }

    [Fact]
    public void It_is_filled_at_the_rate_that_is_asked_for_and_tells_how_far_it_is()
    {
        MostlyDeleted(largeValues: true);
        using CompactedFile file = Made();
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(
            () => file.Fill(DatafileOnDisk.Path, static _ => { }, static _ => { }, cancelled.Token));
        var filled = new List<long>();
        var proven = new List<long>();
        long waited = 0;
        file.Fill(DatafileOnDisk.Path, bytes => waited += bytes, filled.Add, CancellationToken.None);
        file.Prove(proven.Add, CancellationToken.None);
        Assert.Equal(file.LengthBytes, waited + (2 * PageLayout.PageBytes));
        Assert.Equal(filled.Order(), filled);
        Assert.Equal(proven.Order(), proven);
        Assert.Equal(file.LengthBytes, proven[^1]);
        Assert.InRange(filled[^1], 1, file.LengthBytes);
    }

    /// <summary>Some of the keys, all over the file, stay; the file keeps its length by a page at its end.</summary>
    private void MostlyDeleted(bool largeValues = false) => MostlyDeleted(_it, largeValues);

    private static void MostlyDeleted(DatafileOnDisk it, bool largeValues = false, byte fill = 1)
    {
        it.PutMany(0, 4000, fill: fill);
        if (largeValues)
        {
            for (int i = 0; i < 20; i++)
                it.Put($"l{i}", [.. Enumerable.Repeat((byte)i, 50_000 + i)]);
        }

        it.Flush();
        for (int i = 0; i < 4000; i++)
        {
            if (i % 10 != 0)
                it.Delete($"k{i:D5}");
        }

        for (int i = 0; i < 20 && largeValues; i++)
        {
            if (i % 5 != 0)
                it.Delete($"l{i}");
        }

        it.Flush();
    }

    private CompactedFile Made(Incarnation? incarnation = null)
    {
        var file = new CompactedFile(_it.Environment, "main", _it.File.Meta, incarnation ?? Next, Beside);
        file.Create();
        return file;
    }

    private static void Fill(CompactedFile file) =>
        file.Fill(DatafileOnDisk.Path, static _ => { }, static _ => { }, CancellationToken.None);

    /// <summary>All steps, as the mover and the datafile's actor take them.</summary>
    private void Enter(Incarnation? incarnation = null, Action<NamelessFile>? takesFormer = null)
    {
        _it.File.IsStill = true;
        using CompactedFile file = Made(incarnation);
        Fill(file);
        file.Prove(static _ => { }, CancellationToken.None);
        file.Stamp();
        _it.Disk.Rename(Beside, DatafileOnDisk.Path);
        _it.Disk.SyncFolder(DatafileOnDisk.Folder);
        _it.File.Enter(file.Open(DatafileOnDisk.Path), file.Meta, takesFormer);
        _it.File.IsStill = false;
    }

    private ReadView Pinned()
    {
        ReadView view = _it.File.View;
        Assert.True(view.TryPin());
        return view;
    }

    private static void ForgetCached(ReadView view) =>
        ((PagedFile)view.Pages).Forget([.. Enumerable.Range(2, 2000).Select(n => (uint)n)]);

    private int OpenFiles() => _it.Disk.OpenHandlePaths.Count;

    /// <summary>What the pool collects and closes after a flush or the end of a view: until so many files are open.</summary>
    private void AwaitOpenFiles(int count)
    {
        long began = TimeProvider.System.GetTimestamp();
        while (OpenFiles() != count && TimeProvider.System.GetElapsedTime(began) < TestDatabase.Patience)
        {
            _it.Epochs.Collect();
            Thread.Yield();
        }

        Assert.Equal(count, OpenFiles());
    }
}
