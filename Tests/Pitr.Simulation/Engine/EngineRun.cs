using System.Text;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>What a run of a seed explored.</summary>
/// <param name="States">Crashes, each with its opening, replay and comparison with the oracle.</param>
/// <param name="Steps">Steps taken: messages, pieces of work, timers, steps of clients.</param>
internal readonly record struct EngineResult(long States, long Steps);

/// <summary>One seed on the level of the engine: the real actors in one world.</summary>
internal sealed class EngineRun
{
    private readonly long _seed;
    private readonly EngineHouse _house;

    public EngineRun(long seed, EngineHouse? house = null)
    {
        _seed = seed;
        _house = house ?? new EngineHouse();
    }

    public Transcript Transcript => _house.World.Transcript;

    public EngineResult Run(bool keepsTranscript = false)
    {
        World world = _house.Begin(_seed);
        if (keepsTranscript)
            world.Transcript.KeepAll();
        world.Run(LiveAsync);
        return new EngineResult(0, world.Steps);
    }

    private async Task LiveAsync()
    {
        World world = _house.World;
        var random = new SeededRandom(_seed);
        EngineSettings settings = EngineSettings.Drawn(ref random);
        var disk = new SimulatedDisk(_seed);
        disk.CreateFolders("/");
        var threads = new WorldThreads(world);
        var worldDisk = new WorldDisk(world, disk, settings.Disk);
        PitrOptions options = settings.OptionsFor(_house, threads, worldDisk, _seed);
        PitrDatabase database = await world.On(PitrDatabase.CreateAsync("/db", options));
        Table table = await world.On(database.CreateTableAsync("t"));
        await world.On(Task.WhenAll(Enumerable.Range(0, 3).Select(n => world.Start($"client {n}", async () =>
        {
            for (int i = 0; i < 20; i++)
            {
                await world.On(database.PutAsync(
                    table, Encoding.ASCII.GetBytes($"k{n}-{i}"), new byte[world.Draw(2000)]).AsTask());
                if (i % 7 == 3)
                    await world.On(database.CheckpointAsync());
            }
        }))));
        await world.On(database.ShutdownAsync());
        await world.SettleAsync();
    }
}
