using Pitr.Actors;

namespace Pitr.Simulation;

/// <summary>A tar that passes for whole.</summary>
/// <param name="Stop">The moment that it restores to by itself.</param>
/// <param name="Bytes">All of it.</param>
internal sealed record MadeTar(Lsn Stop, byte[] Bytes);

/// <content>The client that makes tars of the datafiles, as pgtar does.</content>
internal sealed partial class EngineLife
{
    /// <summary>Tars that were made.</summary>
    public List<MadeTar> Tars { get; } = [];

    /// <summary>Two seeds in five: the others are the runs that they were without it.</summary>
    private bool MakesTars => new ClientRandom(_seed * 31).Chance(40);

    /// <summary>Copiers that end, that are interrupted, and that are never heard of again.</summary>
    private async Task MakeTarsAsync(ClientRandom random)
    {
        while (!IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(2000));
            if (IsOver)
                return;
            int howItEnds = random.Next(10);
            TimeSpan interrupted = random.Time(500);
            (bool isDone, MadeTar? made) = await TryAsync("tar", () => MakeTarAsync(howItEnds, interrupted));
            if (isDone && made is not null)
                Tars.Add(made);
        }
    }

    private async Task<MadeTar?> MakeTarAsync(int howItEnds, TimeSpan interrupted)
    {
        IKeptSet set = await _database.KeepSetAsync("tar", CancellationToken.None).ConfigureAwait(false);
        if (howItEnds == 0)
        {
            await set.FenceAsync(FileId.Main, CancellationToken.None).ConfigureAwait(false);
            return null; // it dies: its lease lets everything go
        }

        await using (set.ConfigureAwait(false))
        {
            using var cancel = new CancellationTokenSource(
                howItEnds == 1 ? interrupted : Timeout.InfiniteTimeSpan, _world.Clock);
            var output = new MemoryStream();
            TarBackupResult made = await new TarBackup(
                set, new TarBackupRequest(), output, _stage.EnvironmentOn(_disk), _database.Engine.Options)
                .RunAsync(cancel.Token).ConfigureAwait(false);
            return new MadeTar(made.Label.StopLsn, output.ToArray());
        }
    }
}
