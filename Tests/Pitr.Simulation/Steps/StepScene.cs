using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>One turn of an activity ends: anything else may come in between.</summary>
internal readonly record struct Turn;

/// <summary>One database of a run: where it lies and what has to be in it.</summary>
/// <param name="Folder">Its folder.</param>
/// <param name="Model">Its oracle.</param>
internal sealed record StepDatabase(string Folder, StepModel Model)
{
    /// <summary>A restore wrote it, or is about to: it may not be there, and is whole when it opens.</summary>
    public bool IsUnfinished { get; set; }

    /// <summary>
    /// Its target lies beyond what the stores had acknowledged when it was planned: power loss may take that WAL, and
    /// then the restore is refused, and has to be planned again.
    /// </summary>
    public bool IsOfUnshippedWal { get; init; }

    /// <summary>The store knows of its restore: an expire may come in between (H48).</summary>
    public bool IsHeld { get; set; }

    public StepDatabase Copy() => this with { Model = Model.Copy() };
}

/// <summary>What the activities of one life share.</summary>
internal sealed class StepScene
{
    private int _names;
    private long _values;
    private SeededRandom _random;

    public StepScene(
        SimulatedDisk disk, StepEngine engine, StepDatabase database, List<StepDatabase> databases,
        StepSettings settings, StepMemory memory, StepHazards hazards, long seed)
    {
        (Disk, Engine, Database, Databases) = (disk, engine, database, databases);
        (Settings, Memory, Hazards, Seed) = (settings, memory, hazards, seed);
        _random = SeededRandom.For(seed, 1);
        Catalogue catalogue = engine.Control.Catalogue;
        _names = (int)(catalogue.NextTableId.Value + catalogue.NextFileId.Value) * 100;
        _values = seed * 1000;
        foreach (CatalogueTable table in catalogue.Tables)
            Tables.Add(new Table(table.Name, table.Id, table.FileId));
    }

    public SimulatedDisk Disk { get; }
    public StepEngine Engine { get; }
    public StepDatabase Database { get; }
    public List<StepDatabase> Databases { get; }
    public StepModel Model => Database.Model;
    public StepSettings Settings { get; }
    public StepMemory Memory { get; }
    public StepHazards Hazards { get; }
    public long Seed { get; }

    /// <summary>Those that commits may go to.</summary>
    public List<Table> Tables { get; } = [];

    /// <summary>Tables that open transactions have read, for H43.</summary>
    public List<TableId> ReadTables { get; } = [];

    public bool IsCheckpointing { get; set; }

    /// <summary>The owner of the control file has a request in hand.</summary>
    public bool IsOwnerBusy { get; set; }

    public bool IsBackingUp { get; set; }

    public bool IsRestoring { get; set; }

    /// <summary>Crashes that a story has opened by itself.</summary>
    public long Explored { get; set; }

    /// <summary>An expire has removed something in this life.</summary>
    public bool HasExpired { get; set; }

    /// <summary>Few operations, of which each might be the last one.</summary>
    public bool IsCritical { get; set; }

    /// <summary>Readers inside an epoch.</summary>
    public int Readers { get; set; }

    /// <summary>Somebody is about to close a datafile, and waits for them.</summary>
    public bool WantsNoReaders { get; set; }

    /// <summary>A flush is in the making.</summary>
    public int Flushes { get; set; }

    /// <summary>Flushes that were in the making when the life ended: their workers come too late (H13).</summary>
    public List<FlushJob> Late { get; } = [];

    public int Next(int below) => _random.Next(below);

    public bool Chance(int percent) => _random.Chance(percent);

    public ulong Draw() => _random.NextBits();

    public string NewName(char kind) => $"{kind}{_names++}";

    public StepFile AnyFile()
    {
        StepFile[] files = [.. Engine.Files];
        return files[Next(files.Length)];
    }

    /// <summary>One of those that are held still; null if there is none.</summary>
    public StepFile? FencedFile()
    {
        StepFile[] files = [.. Engine.Files.Where(static file => file.Fenced is not null)];
        return files.Length == 0 ? null : files[Next(files.Length)];
    }

    public Table? AnyTable() => Tables.Count == 0 ? null : Tables[Next(Tables.Count)];

    public byte[] AnyKey()
    {
        int number = Next(Settings.Keys);
        byte[] key = new byte[number % 17 == 3 ? 700 : 3 + number % 9];
        for (int i = 0; i < key.Length - 2; i++)
            key[i] = (byte)(number % 3);
        key[^2] = (byte)(number >> 8);
        key[^1] = (byte)number;
        return key;
    }

    public byte[] NewValue()
    {
        int length = Chance(Settings.LargePercent) ? Next(40_000) : Next(400) switch
        {
            < 384 => Next(Settings.ValueBytes),
            < 397 => Next(5000),
            < 399 => Next(40_000),
            _ => Settings.HugeValueBytes > 0 ? Settings.HugeValueBytes : Next(40_000),
        };
        return NewValue(length);
    }

    /// <summary>One of a length that no other one equals.</summary>
    public byte[] NewValue(int length)
    {
        byte[] value = new byte[length];
        long number = ++_values;
        for (int i = 0; i < length; i++)
            value[i] = (byte)(number >> (i % 4 * 8));
        return value;
    }

    /// <summary>Adds some changes to a batch, and what they mean to the oracle.</summary>
    public void AddChanges(WriteBatch batch, List<ModelStep> steps, int count)
    {
        for (; count > 0; count--)
        {
            Table table = Tables[Next(Tables.Count)];
            byte[] key = AnyKey();
            byte[]? value = Chance(25) ? null : NewValue();
            if (value is null)
                batch.Delete(table, key);
            else
                batch.Put(table, key, value);
            steps.Add(new ModelStep.Change(table.Id, key, value));
        }
    }

    /// <summary>Delivers the next message of some datafile; false if no mailbox has one.</summary>
    public bool Deliver()
    {
        StepFile[] files = [.. Engine.Files.Where(static file => file.HasMail)];
        if (files.Length == 0)
            return false;
        files[Next(files.Length)].TakeMail();
        return true;
    }

    /// <summary>Everything that waits anywhere.</summary>
    public void DeliverAll()
    {
        foreach (StepFile file in Engine.Files)
            file.TakeAllMail();
    }

    /// <summary>Waits for the readers, so that a datafile can be closed in the next turn.</summary>
    public IEnumerable<Turn> AwaitReaders()
    {
        while (Readers > 0)
        {
            WantsNoReaders = true;
            yield return default;
        }

        WantsNoReaders = false;
    }

    /// <summary>A write or sync; false if the disk said no: the file is offline then, or the flush is dropped.</summary>
    public static bool Try(Action write)
    {
        try
        {
            write();
            return true;
        }
        catch (StorageFailedException)
        {
            return false;
        }
    }
}

/// <summary>
/// Something that a database does in several turns, between which anything else may come; one class each.
/// </summary>
internal abstract class StepActivity(StepScene scene)
{
    protected StepScene Scene => scene;
    protected StepEngine Engine => scene.Engine;
    protected StepModel Model => scene.Model;

    /// <summary>The turns; the activity is over with the last one.</summary>
    public abstract IEnumerable<Turn> Run();

    /// <summary>The life is over, in whatever turn this was: pins end, what was read is looked at no more.</summary>
    public virtual void LetGo() { }
}
