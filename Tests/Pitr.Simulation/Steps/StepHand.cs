using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// What hands and bad sectors do to a database that is not running: damage, reads that fail, older or foreign datafiles
/// put back, WAL that is gone. Whatever was touched is told by a typed error, or did not matter: never is other content
/// shown than the oracle's, and never less than what others know (H6, H7, H14, H16).
/// </summary>
internal sealed class StepHand(
    SimulatedDisk disk, SimulatedDisk past, StepDatabase database, List<StepDatabase> databases, StepSettings settings,
    StepMemory memory, StepHazards hazards, long seed)
{
    private SeededRandom _random = SeededRandom.For(seed, 2);

    /// <summary>Does one thing to the disk and opens it.</summary>
    public void Touch()
    {
        if (_random.Chance(60) && new StepMoveHand(disk, database, settings, memory, hazards, seed).Touch(Open, Fresh))
            return;
        switch (_random.Next(17))
        {
            case 0:
                DamageDatafile();
                break;
            case 1:
                DamageControlFile();
                break;
            case 2:
                PutBackOther();
                break;
            case 3 or 4:
                PutBackOlder();
                break;
            case 5:
                FailRead();
                break;
            case 6 or 7:
                ForgeMeta();
                break;
            case 8 or 9:
                new StepControlHand(disk, database, settings, memory, hazards, seed).Touch();
                break;
            case 10 or 11:
                new StepInPlaceHand(disk, database, settings, memory, hazards, seed).Touch();
                break;
            default:
                new StepWalHand(disk, database, settings, memory, hazards, seed).Touch(Open, Fresh);
                break;
        }
    }

    /// <summary>
    /// Also those that were moved, out of the folder too, and what a crash left of moving them; links are no files.
    /// </summary>
    private string[] Datafiles(string folder) =>
        [.. disk.List(folder).Select(name => $"{folder}/{name}")
            .Concat(disk.List(StepSettings.Outside)
                .Where(name => name.StartsWith(MoveCheck.OwnPrefix(folder), StringComparison.Ordinal))
                .Select(static name => $"{StepSettings.Outside}/{name}"))
            .Where(path => (path.EndsWith(".pitr", StringComparison.Ordinal)
                    || path.EndsWith(MoveCheck.Ending, StringComparison.Ordinal))
                && disk.Stat(path) is { IsSymlink: false })];

    private void DamageDatafile()
    {
        string[] files = Datafiles(database.Folder);
        string path = files[_random.Next(files.Length)];
        int length = (int)disk.Stat(path)!.LengthBytes;
        if (length == 0)
            return;
        disk.Damage(path, _random.Next(length), 1 + _random.Next(2000));
        Open();
    }

    private void DamageControlFile()
    {
        string path = $"{database.Folder}/{ControlFileStore.FileName}";
        if (disk.Stat(path) is not { } entry)
            throw new SimulationFailure($"{path} is not there.");
        disk.Damage(path, _random.Next((int)entry.LengthBytes), 1 + _random.Next(20));
        Open();
    }

    /// <summary>A read that fails once: whoever opens is told, and the next opening finds all.</summary>
    private void FailRead()
    {
        string of = ((string[])[".pitr", "/wal/", "control"])[_random.Next(3)];
        disk.Faults.On(FileOp.Read).Of(of).Nth(1 + _random.Next(12)).Fail(Errno.EIO);
        if (of == "/wal/")
            hazards.Note(6);
        Open();
        disk.Faults.Clear();
        using StepEngine engine = Fresh();
        StepCheck.Run(engine, database.Model);
    }

    /// <summary>Somebody had copied a datafile with `cp` while it was in use, and puts it back (H16).</summary>
    private void PutBackOlder()
    {
        if (past.Stat(database.Folder) is null)
            return;
        string[] names = [.. Datafiles(database.Folder).Where(path => past.Stat(path) is not null
            && !past.ReadAll(path).AsSpan().SequenceEqual(disk.ReadAll(path)))];
        if (names.Length == 0)
            return;
        string path = names[_random.Next(names.Length)];
        hazards.Note(16);
        Put(past.ReadAll(path), path);
        Open();
    }

    /// <summary>A datafile of another database of the family lies in a file's place (H14, H15).</summary>
    private void PutBackOther()
    {
        StepDatabase other = databases[_random.Next(databases.Count)];
        string[] theirs = disk.Stat(other.Folder) is null ? [] : Datafiles(other.Folder);
        string[] ours = Datafiles(database.Folder);
        if (theirs.Length == 0)
            return;
        string from = theirs[_random.Next(theirs.Length)];
        string to = ours.FirstOrDefault(path => Path.GetFileName(path) == Path.GetFileName(from)) ?? ours[0];
        if (from == to)
            return;
        if (other != database)
            hazards.Note(14);
        Put(disk.ReadAll(from), to);
        Open();
    }

    /// <summary>Something else has the name of a datafile, and is no use for it, however much it looks like it.</summary>
    private void ForgeMeta()
    {
        if (_random.Chance(25))
        {
            ForgetFile();
            return;
        }

        if (new StepMetaHand(disk, database, hazards, seed).Touch() is not { } forged)
            return;
        try
        {
            using StepEngine engine = Fresh();
            if (engine.File(forged) is { } taken)
                throw new SimulationFailure($"Something else was opened as datafile {taken.Name} (H14, H16, H17).");
        }
        catch (PitrException told) when (told is not BugException)
        {
            // As it should be.
        }
    }

    /// <summary>Replay meets changes of a datafile that nobody knows: damage, and nothing to pass over (H23).</summary>
    private void ForgetFile()
    {
        if (!new StepMetaHand(disk, database, hazards, seed).ForgetFile())
            return;
        try
        {
            using StepEngine engine = Fresh();
        }
        catch (PitrException told) when (told is not BugException)
        {
            return;
        }

        throw new SimulationFailure("Changes of a datafile that the control file has lost were passed over (H23).");
    }

    private void Put(byte[] bytes, string path)
    {
        disk.Delete(path);
        using IFileHandle handle = disk.Open(path, FileOpen.CreateNew);
        handle.Write(0, bytes);
    }

    /// <summary>Opens what has to open.</summary>
    private StepEngine Fresh() =>
        StepEngine.Open(database.Folder, settings.OptionsFor(disk, seed + 1), memory);

    private bool Open() => Open(mustReach: null);

    /// <summary>
    /// A typed error, or what the oracle says at the end that is found: one that is right, or, if WAL was taken away,
    /// any that others know of. False if it was refused.
    /// </summary>
    private bool Open(Lsn? mustReach)
    {
        StepEngine engine;
        try
        {
            engine = StepEngine.Open(database.Folder, settings.OptionsFor(disk, seed), memory);
        }
        catch (PitrException told) when (told is not BugException)
        {
            return false;
        }

        using (engine)
        {
            if (engine.DurableLsn < mustReach)
            {
                throw new SimulationFailure(
                    $"The log ends at {engine.DurableLsn}, below {mustReach}, which others know (H7).");
            }

            try
            {
                if (mustReach is null)
                    StepCheck.Run(engine, database.Model);
                else
                    StepCheck.Compare(engine, database.Model.At(engine.DurableLsn), engine.DurableLsn);
            }
            catch (Exception told) when (told is DamageException or StorageFailedException)
            {
                // Told when it was read.
            }
            catch (SimulationFailure pages) when (pages.Message.StartsWith("Datafile ", StringComparison.Ordinal))
            {
                // A check of the file tells it, which is what a check is for.
            }
        }

        return true;
    }
}
