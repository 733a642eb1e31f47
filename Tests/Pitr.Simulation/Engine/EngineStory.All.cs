using Pitr.Actors;

namespace Pitr.Simulation;

/// <content>Which stories there are.</content>
internal sealed partial record EngineStory
{
    /// <summary>In the order in which they are told.</summary>
    public static readonly IReadOnlyList<EngineStory> All =
    [
        new("lastout", Alone, static (life, random) => life.TellLastOutAsync(random)),
        new("formerowner", Alone, static (life, random) => life.TellFormerOwnerAsync(random)),
        new("leaving", Alone, static (life, random) => life.TellLeavingAsync(random)),
        new("oldercopy", WithArchive, static (life, random) => life.TellOlderCopyAsync(random)),
        new("branches", WithArchive, static (life, random) => life.TellBranchesAsync(random)) { Lives = 2 },
        new("commitunderway", Alone, static (life, random) => life.TellCommitUnderWayAsync(random)),
        new("overtaken", GivingUp, static (life, random) => life.TellOvertakenAsync(random)),
        new("heldwal", Alone, static (life, random) => life.TellHeldWalAsync(random)),
        new("formerreader", ManyKeys, static (life, random) => life.TellFormerReaderAsync(random)),
        new("dropped", Alone, static (life, random) => life.TellDroppedMeanwhileAsync(random)),
        new("tableofset", WithArchive, static (life, random) => life.TellTableOfSetAsync(random)),
        new("movefull", Alone, static (life, random) => life.TellMoveWithoutRoomAsync(random)),
        new("hungstore", Bounded, static (life, random) => life.TellHungStoreAsync(random)),
        new("offlinelong", Bounded, static (life, random) => life.TellOfflineForLongAsync(random)),
        new("setstands", BoundedWithArchive, static (life, random) => life.TellSetStandsStillAsync(random)),
        new("tarwal", Alone, static (life, random) => life.TellTarKeepsWalAsync(random)),
        new("slowtar", ManyKeys, static (life, random) => life.TellSlowReaderOfTarAsync(random)),
        new("endunderway", WithArchive, static (life, random) => life.TellEndUnderWayAsync(random)),
        new("gap", WithGaps, static (life, random) => life.TellGapAsync(random)) { Lives = 2 },
        new("newstore", WithArchive, static (life, random) => life.TellNewStoreAsync(random)),
        new("putback", Alone, static (life, random) => life.TellPutBackAsync(random)) { Lives = 2 },
        new("sessions", WithArchive, static (life, random) => life.TellSessionsAsync(random)),
        new("waits", Waiting, static (life, random) => life.TellWaitForStoresAsync(random)),
        new("planned", WithArchive, static (life, random) => life.TellSetOfPlanGoneAsync(random)),
    ];

    /// <summary>Two datafiles, no store, and nothing that comes by itself.</summary>
    private static EngineSettings Alone(EngineSettings drawn) => drawn with
    {
        Sizes = drawn.Sizes with { MoreFiles = 1, HugeValueBytes = 0, WalSegmentBytes = 8 << 10, WriteBufferBytesMax = 2 << 20 },
        Disk = drawn.Disk with { SlowPercent = 0 },
        CheckpointWalBytes = 16 << 20,
        Archives = false,
        FencedWalBytesMax = 16L << 30,
        ArchiveCommitWait = null,
        ArchiveLagBytesMax = null,
    };

    private static EngineSettings ManyKeys(EngineSettings drawn)
    {
        EngineSettings alone = Alone(drawn);
        return alone with { Sizes = alone.Sizes with { Keys = 100, WalSegmentBytes = 64 << 10 } };
    }

    private static EngineSettings WithArchive(EngineSettings drawn) => Alone(drawn) with { Archives = true };

    private static EngineSettings WithGaps(EngineSettings drawn) =>
        WithArchive(drawn) with { ArchiveLagBytesMax = 24 << 10, GivesArchiveUp = true };

    private static EngineSettings Waiting(EngineSettings drawn) =>
        WithArchive(drawn) with { ArchiveCommitWait = TimeSpan.FromSeconds(45) };

    private static EngineSettings Bounded(EngineSettings drawn) => Alone(drawn) with { FencedWalBytesMax = 24 << 10 };

    private static EngineSettings BoundedWithArchive(EngineSettings drawn) => Bounded(drawn) with { Archives = true };

    private static EngineSettings GivingUp(EngineSettings drawn) =>
        BoundedWithArchive(drawn) with { KeptWalChoice = KeptWalChoice.GiveFileUp };
}
