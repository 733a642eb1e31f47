using System.Buffers.Binary;
using System.Text;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A datafile on a simulated disk, with what it should contain: applies changes to both, compares them, and can be
/// opened again on a copy of the disk after a crash.
/// </summary>
internal sealed class DatafileOnDisk : IDisposable
{
    public const string Folder = "/db";
    public const string Path = "/db/main.pitr";
    public static readonly SystemIdentifier SystemId = new(0xA1);
    public static readonly Lineage Lineage = new(0xB2);
    public static readonly Incarnation Incarnation = new(0xC3);

    private readonly SortedDictionary<string, byte[]> _model;
    private readonly ArenaPool _arenas = new(64 << 20);
    private bool _closed;

    private DatafileOnDisk(SimulatedDisk disk, SortedDictionary<string, byte[]> model)
    {
        Disk = disk;
        _model = model;
        var cache = new PageCache(PageCache.BudgetBytesMin, new EpochTable());
        Environment = new DatafileEnvironment(
            disk, cache, cache.Epochs, new PacedWriter(TimeProvider.System, _ => { }), _arenas);
    }

    public SimulatedDisk Disk { get; }
    public DatafileEnvironment Environment { get; }
    public Datafile File { get; private set; } = null!;
    public EpochTable Epochs => Environment.Epochs;
    public Lsn Lsn { get; set; } = new(1000);

    /// <summary>What the file should contain, by checkpoint LSN: noted at each seal.</summary>
    public Dictionary<Lsn, SortedDictionary<string, byte[]>> AtSeal { get; private init; } = [];

    public static DatafileOnDisk Create(long seed = 1)
    {
        var disk = new SimulatedDisk(seed);
        disk.CreateFolders(Folder);
        disk.SyncAll();
        var made = new DatafileOnDisk(disk, new SortedDictionary<string, byte[]>(StringComparer.Ordinal));
        made.File =
            Datafile.Create(made.Environment, Path, "main", SystemId, FileId.Main, Incarnation, Lineage, made.Lsn);
        made.AtSeal[made.Lsn] = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        return made;
    }

    /// <summary>Opens the file on another disk, a copy, and knows what may be in it.</summary>
    public DatafileOnDisk OpenOn(SimulatedDisk disk, ulong controlFileGeneration = 0)
    {
        var opened =
            new DatafileOnDisk(disk, new SortedDictionary<string, byte[]>(StringComparer.Ordinal)) { AtSeal = AtSeal };
        try
        {
            opened.File = Datafile.Open(opened.Environment, Path, "main", Expected(controlFileGeneration));
        }
        catch
        {
            opened.Environment.Cache.Dispose();
            opened._arenas.Dispose();
            throw;
        }
        opened.Lsn = opened.File.CheckpointLsn;
        foreach ((string key, byte[] value) in AtSeal[opened.Lsn])
            opened._model[key] = value;
        return opened;
    }

    public static DatafileExpectation Expected(ulong controlFileGeneration = 0, Lsn? checkpointLsn = null) =>
        new(SystemId, FileId.Main, DatafileKind.Datafile, controlFileGeneration, Incarnation, checkpointLsn);

    public static byte[] KeyOf(string key, uint table = 1)
    {
        byte[] ikey = new byte[4 + key.Length];
        BinaryPrimitives.WriteUInt32BigEndian(ikey, table);
        Encoding.ASCII.GetBytes(key, ikey.AsSpan(4));
        return ikey;
    }

    public void Put(string key, byte[] value)
    {
        Lsn += 8;
        File.Apply(OperationKind.Put, KeyOf(key), value, Lsn);
        _model[key] = value;
    }

    public void Put(string key, string value) => Put(key, Encoding.ASCII.GetBytes(value));

    /// <summary>Puts keys "k00000" … with values of a length.</summary>
    public void PutMany(int from, int count, int valueBytes = 100, byte fill = 1)
    {
        for (int i = from; i < from + count; i++)
        {
            byte[] value = new byte[valueBytes];
            value.AsSpan().Fill(fill);
            Put($"k{i:D5}", value);
        }
    }

    public void Delete(string key)
    {
        Lsn += 8;
        File.Apply(OperationKind.Delete, KeyOf(key), default, Lsn);
        _model.Remove(key);
    }

    public void DeleteMany(int from, int count)
    {
        for (int i = from; i < from + count; i++)
            Delete($"k{i:D5}");
    }

    public void Seal()
    {
        File.Seal(Lsn);
        AtSeal[Lsn] = new SortedDictionary<string, byte[]>(_model, StringComparer.Ordinal);
    }

    /// <summary>Seals some way on, as a checkpoint does to an idle file.</summary>
    public void SealLater(long bytes)
    {
        Lsn += bytes;
        Seal();
    }

    public FlushJob Prepare()
    {
        Seal();
        return File.PrepareFlush(Lineage)!;
    }

    /// <summary>Seals and flushes all.</summary>
    public void Flush()
    {
        FlushJob job = Prepare();
        job.WritePages();
        job.WriteMeta();
        File.CompleteFlush(job);
    }

    public byte[]? Get(string key) => Get(File.View, key, Lsn);

    public byte[]? Get(ReadView view, string key, Lsn at)
    {
        using EpochGuard guard = Epochs.Enter();
        return view.TryGet(KeyOf(key), at, out ValueRef value) ? value.ToArray() : null;
    }

    /// <summary>
    /// Everything readable is what was put, and the file on disk is sound and as of its checkpoint LSN (I3).
    /// </summary>
    public void Check()
    {
        RequireEqual(_model, Scan(File.View));
        DatafileReport report = DatafileCheck.Run(Environment, Path);
        Assert.True(report.IsSound, string.Join('\n', report.Problems));
        Assert.Equal(AtSeal[report.Meta.CheckpointLsn].Count, (int)report.Meta.Root.Keys);
        Assert.Equal(report.Meta.FreePages, (ulong)((File.FreeBytes + File.PinnedBytes) / PageLayout.PageBytes));
    }

    public static void RequireEqual(SortedDictionary<string, byte[]> expected, SortedDictionary<string, byte[]> found)
    {
        Assert.Equal(expected.Keys, found.Keys);
        foreach ((string key, byte[] value) in expected)
            Assert.True(value.AsSpan().SequenceEqual(found[key]), $"The value of {key} differs.");
    }

    public SortedDictionary<string, byte[]> Scan(ReadView view, Lsn? at = null)
    {
        var found = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        using EpochGuard guard = Epochs.Enter();
        var cursor = new MergedCursor(view, at ?? Lsn);
        for (bool has = cursor.SeekFirst(); has; has = cursor.Next())
            found.Add(Encoding.ASCII.GetString(cursor.Key[4..]), cursor.Value.ToArray());
        return found;
    }

    public void CloseFile()
    {
        if (_closed)
            return;
        _closed = true;
        File.Dispose();
    }

    public void Dispose()
    {
        CloseFile();
        Environment.Cache.Dispose();
        _arenas.Dispose();
        if (!Disk.IsOff)
        {
            Assert.Equal(0, Disk.OpenHandleCount); // I12
            Assert.Equal(0, Disk.HeldLockCount);
        }
    }
}
