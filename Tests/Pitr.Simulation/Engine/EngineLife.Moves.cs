using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <content>
/// The client that moves datafiles, and what comes in its way: other holders, a bound that breaks the fence, a full disk when
/// the control file is to name the winner (H19, H20).
/// </content>
internal sealed partial class EngineLife
{
    private string? _moving;

    /// <summary>A datafile goes elsewhere, comes back, or gets another path in the control file; some change their mind.</summary>
    private async Task MoveAsync(ClientRandom random)
    {
        int number = 0;
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(4000));
            if (IsOver)
                return;
            string file = random.Of(_database.Datafiles).Name;
            string name = $"{_database.Engine.Folder}/{file}.pitr";
            bool isBack = random.Chance(30) && _disk.Inner.Stat(name) is { IsSymlink: true };
            string to = isBack
                ? name : $"{_database.Engine.Folder}/{file}-{_seed & 0xFFFF:x}-{number++}{MoveCheck.Ending}";
            using var changed = new CancellationTokenSource();
            bool isFull = FillForControlFile(random.Chance(15), nth: 1 + random.Next(4));
            Task<MoveResult> move = _database.MoveAsync(
                new MoveRequest { Datafile = file, Path = to, WithoutLink = random.Chance(25) }, changed.Token);
            _moving = file;
            if (random.Chance(15))
            {
                await _world.Delay(random.Time(20));
                changed.Cancel(); // at once: its async form goes on outside of the world
            }
            else if (random.Chance(25))
            {
                await BreakFencesAsync(file, random);
            }

            (bool isMoved, MoveResult? moved) = await TryAsync($"move {file} to {to}", () => move);
            _moving = null;
            if (isFull)
                EndFullControlFile();
            if (isMoved && _disk.Inner.Stat(moved!.To) is null && _database.Datafiles.Any(one => one.Name == file)
                && !IsOver && _crashes.Lost != file
                && (await TryAsync("status", () => _database.GetStatusAsync())).Answer is { } status
                && status.Datafiles.Any(one => one.Name == file && one.Path == moved.To))
                throw new SimulationFailure($"Datafile {file} was moved to {moved.To}, and nothing is there.");
        }
    }

    /// <summary>One of the control file's replacements finds no room: perhaps that which names the winner (H19).</summary>
    private bool FillForControlFile(bool isWanted, int nth)
    {
        if (!isWanted || !_disk.Inner.Faults.IsEmpty)
            return false;
        _mayFail = true;
        _crashes.IsCritical = true;
        _disk.Inner.Faults.On(FileOp.Create).Of("control").Nth(nth).Full();
        return true;
    }

    private void EndFullControlFile()
    {
        _disk.Inner.Faults.Clear();
        _crashes.IsCritical = false;
    }

    /// <summary>The file's fences are to break, as they do when too much WAL is kept for it, at any moment of the move.</summary>
    private async Task BreakFencesAsync(string file, ClientRandom random)
    {
        for (int i = 1 + random.Next(8); i > 0; i--)
        {
            await _world.Delay(TimeSpan.FromMicroseconds(random.Next(1500)));
            if (IsOver || !_database.Engine.Catalogue.TryFile(file, out FileId id))
                return;
            if (_database.Engine.Slots.TryOf(id)?.State == DatafileState.Switching || random.Chance(10))
            {
                _database.Actors.Supervisor.Tell(
                    new BreakFencesOf(id, Problem.From(EngineErrors.FenceWal(file, 1))), Akka.Actor.ActorRefs.NoSender);
            }
        }
    }
}
