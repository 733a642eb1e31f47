using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of a timeline that a start of another boot wants: the folder is the same one after a reboot, or the machine was
/// cloned with it, and only time tells (H26).
/// </summary>
internal static class StepBootStories
{
    private const string Machine = "machine";

    /// <summary>An owner that is silent, one that renews, and a reboot while one is watched.</summary>
    public static void Clones(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // what others take is none of the life's
        Commit(life, scene, 1);
        foreach (Action<Watched> story in (Action<Watched>[])[Silent, Renewed, BootedAgain])
        {
            story(new Watched(scene));
            scene.Explored++;
            scene.Hazards.Note(26);
        }
    }

    private static void Silent(Watched owner)
    {
        owner.MustNotTake("boot 2", "at once");
        owner.Pass(OwnerWatch.Wait / 2);
        owner.MustNotTake("boot 2", "before it was watched for long enough");
        owner.Pass(OwnerWatch.Wait);
        owner.Take("boot 2");
    }

    private static void Renewed(Watched owner)
    {
        owner.MustNotTake("boot 2", "at once");
        owner.Pass(OwnerWatch.Wait);
        owner.Renew();
        owner.MustNotTake("boot 2", "though its owner has renewed meanwhile");
    }

    private static void BootedAgain(Watched owner)
    {
        owner.MustNotTake("boot 2", "at once");
        owner.Pass(OwnerWatch.Wait);
        owner.MustNotTake("boot 3", "by what another boot has noted");
    }

    /// <summary>A timeline that a start of boot 1 has, and those of other boots that want it.</summary>
    private sealed class Watched
    {
        private readonly StepScene _scene;
        private readonly Clock _clock = new();
        private readonly TimelineEntry _branch;
        private readonly TimelineOwner _owner;
        private readonly string _folder;

        public Watched(StepScene scene)
        {
            _scene = scene;
            uint number = 100 + (uint)scene.Explored;
            _folder = $"/watched-{number}";
            scene.Disk.CreateFolders(_folder);
            _branch = scene.Engine.History.Last with { Timeline = new TimelineId(number), Lineage = new Lineage(scene.Draw()) };
            _owner = Take("boot 1");
        }

        public void Pass(TimeSpan time) => _clock.Now += time;

        public void Renew() => _owner.Renew(_clock.GetUtcNow());

        public void MustNotTake(string boot, string when) => MustFail(
            () => Take(boot), $"A start of {boot} has taken the timeline of one of another boot {when} (H26).");

        public TimelineOwner Take(string boot)
        {
            var start = new EngineStart(_scene.Draw(), Machine, boot, _folder, 8, 100);
            IArchiveStore store = _scene.Engine.Stores[0];
            var watch = new OwnerWatch(_clock, new OwnerNotes(_scene.Disk, _folder, boot), store.Place);
            return TimelineOwner.Take(
                store, _scene.Engine.History.System, _branch.Timeline, _branch.Lineage, start, _clock.GetUtcNow(), watch);
        }
    }

    /// <summary>Goes on when the story says so.</summary>
    private sealed class Clock : TimeProvider
    {
        public TimeSpan Now { get; set; } = TimeSpan.FromHours(1);

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override DateTimeOffset GetUtcNow() => new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) + Now;

        public override long GetTimestamp() => Now.Ticks;
    }
}
