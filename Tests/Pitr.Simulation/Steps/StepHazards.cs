namespace Pitr.Simulation;

/// <summary>
/// How often the schedule of each hazard of <c>docs/hazards.md</c> came about, and the operations around it: a
/// simulation that never meets a schedule shows nothing of its rule.
/// </summary>
internal sealed class StepHazards
{
    /// <summary>The numbers of hazards go to here.</summary>
    public const int Last = 48;

    /// <summary>
    /// Those whose schedules the steps can bring about. H40 belongs to actors alone.
    /// </summary>
    public static readonly int[] Reachable =
    [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        31, 32, 33, 34, 35, 36, 37, 38, 39, 41, 42, 43, 44, 45, 46, 47, 48,
    ];

    /// <summary>What each count means, in words: for the table.</summary>
    public static readonly IReadOnlyDictionary<int, string> Words = new Dictionary<int, string>
    {
        [1] = "a seal waits in a mailbox behind parts of a group",
        [2] = "a group was lost in a crash, and another one takes its place",
        [3] = "a process was killed with WAL that is not synced",
        [4] = "a group over several segments, or no room for one",
        [5] = "power loss while the name of a segment is not durable",
        [6] = "a segment ends with a filler, or a torn tail keeps later sectors, or WAL can't be read",
        [7] = "a log that is shorter than others know",
        [8] = "the clock stepped back between two groups",
        [9] = "a flush was dropped, or its meta page failed",
        [10] = "a process was killed with a meta page that is not synced",
        [11] = "a write-back failed",
        [12] = "a snapshot is read after flushes",
        [13] = "an engine ended with a flush in the making",
        [14] = "a datafile of another branch was put back",
        [15] = "datafiles were restored",
        [16] = "a datafile is ahead of the control file, or an older copy was put back",
        [17] = "a move has made a copy, unfinished as yet, or a hand gave such a file a datafile's name",
        [18] = "a move changes the name",
        [19] = "a move was noted",
        [20] = "a move was switched, and its fence ends after it",
        [21] = "a replay flushes on its way",
        [22] = "a fence meets a meta page that lags behind",
        [23] = "a crash while a table or datafile is made or dropped",
        [24] = "a checkpoint skips a fenced or offline file",
        [25] = "the tail was shipped as a part",
        [26] = "a copy of the database was started beside it",
        [27] = "a crash while a timeline's number is claimed",
        [28] = "a recovery was planned with several branches",
        [29] = "files came or went while a backup ran",
        [30] = "a restore beside the source",
        [31] = "a parent's WAL is needed and shipped on another timeline",
        [32] = "a crash while a restore is finished and promoted",
        [33] = "two databases were restored from one set",
        [34] = "a target by time, transaction or name, inclusive or exclusive",
        [35] = "a crash or failure while a backup runs",
        [36] = "parts were joined, or replaced by their segment",
        [37] = "a transaction registers while a durable group is not visible",
        [38] = "an incremental copy has a chain of free pages that is newer than its base",
        [39] = "a process was killed with objects of a store that are not durable",
        [41] = "a datafile was dropped that a snapshot pins",
        [42] = "a datafile was compacted that a snapshot or flush pins",
        [43] = "a table was dropped that an open transaction read",
        [44] = "an opening removed what a torn group had reached, and crashed on its way",
        [45] = "a fenced file spills",
        [46] = "an indexed record goes over the end of its segment",
        [47] = "a segment is written while the one before it is on its way",
        [48] = "an expire while a restore is carried out",
    };

    private readonly long[] _counts = new long[Last + 1];

    public long this[int hazard] => _counts[hazard];

    public void Note(int hazard) => _counts[hazard]++;

    public void Add(StepHazards other)
    {
        for (int i = 0; i <= Last; i++)
            _counts[i] += other._counts[i];
    }

    /// <summary>The reachable ones that never came about.</summary>
    public IEnumerable<int> Missing => Reachable.Where(hazard => _counts[hazard] == 0);

    /// <summary>One line a hazard.</summary>
    public string Table() => string.Join(
        '\n', Reachable.Select(hazard => $"H{hazard,-3} {_counts[hazard],10}  {Words[hazard]}"));
}
