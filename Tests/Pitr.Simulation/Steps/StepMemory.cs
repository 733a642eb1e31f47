using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// Page cache and arenas that one engine after the other uses: to take memory from the system and give it back costs
/// more than all that is done with it in one state.
/// </summary>
internal sealed class StepMemory(StepSettings settings) : IDisposable
{
    private readonly DatafileEnvironment _environment = EnvironmentFor(settings);

    /// <summary>Where a group is cut into parts.</summary>
    public int PartBytesMax { get; } = settings.PartBytesMax;

    /// <summary>
    /// What datafiles hold whose every page was found sound: the check asks nothing but their bytes, and most openings
    /// leave most datafiles as they are.
    /// </summary>
    public HashSet<ulong> SoundDatafiles { get; } = [];

    /// <summary>The same for tars that were found to be whole sets.</summary>
    public HashSet<ulong> SoundTars { get; } = [];

    private static DatafileEnvironment EnvironmentFor(StepSettings settings)
    {
        DatafileEnvironment drawn = EngineFactory.EnvironmentFor(settings.OptionsFor(new SimulatedDisk(), seed: 0));
        if (!settings.HasTinyCache)
            return drawn;
        drawn.Cache.Dispose();
        return drawn with { Cache = new PageCache(PageCache.BudgetBytesMin, drawn.Epochs, slabsMax: 1) };
    }

    /// <summary>For an engine on the disk of these options; the one before is closed.</summary>
    public DatafileEnvironment For(PitrOptions options) => _environment with
    {
        Files = options.FileSystem!,
        Writer = EngineFactory.WriterFor(options, _environment.Arenas),
    };

    /// <summary>Nothing may be left of any engine.</summary>
    public void Dispose()
    {
        _environment.Epochs.Collect();
        if (_environment.Arenas.RentedBytes > 0 || _environment.Epochs.Waiting > 0)
        {
            throw new SimulationFailure(
                $"{_environment.Arenas.RentedBytes} bytes of write buffers were not given back, "
                + $"{_environment.Epochs.Waiting} releases wait for a reader that is gone.");
        }

        _environment.Cache.Dispose();
        _environment.Arenas.Dispose();
    }
}
