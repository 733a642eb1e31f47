namespace Pitr.Actors;

/// <summary>
/// The transactions that share one write and one sync of the WAL, until all of their datafiles have applied them.
/// Used again and again; it holds no caller's data beyond its round.
/// </summary>
internal sealed class CommitGroup
{
    private Expectation[] _expected = new Expectation[4];
    private int _expectedCount;
    private int _outstanding;

    public PendingCommit[] Members { get; private set; } = new PendingCommit[64];

    public int Count { get; private set; }

    /// <summary>Bytes of its members.</summary>
    public long Bytes { get; private set; }

    /// <summary>The group's last LSN: visible LSN once all of it is applied and the group before is visible.</summary>
    public Lsn Lsn { get; set; }

    /// <summary>Link of the visibility queue.</summary>
    public CommitGroup? Next;

    public void Add(PendingCommit commit)
    {
        if (Count == Members.Length)
        {
            PendingCommit[] larger = new PendingCommit[Count * 2];
            Members.CopyTo(larger, 0);
            Members = larger;
        }

        Members[Count++] = commit;
        Bytes += commit.IntakeBytes;
    }

    /// <summary>The group waits for this datafile's <see cref="Applied"/>. Only before it is published.</summary>
    public void Expect(FileId file)
    {
        if (_expectedCount == _expected.Length)
            Array.Resize(ref _expected, _expectedCount * 2);
        _expected[_expectedCount++] = new Expectation { File = file };
        _outstanding++;
    }

    /// <summary>
    /// A datafile has applied it, or counts as having done so. True if it was the last one. May be said twice.
    /// </summary>
    public bool Applied(FileId file)
    {
        for (int i = 0; i < _expectedCount; i++)
        {
            if (_expected[i].File == file && Interlocked.Exchange(ref _expected[i].Done, 1) == 0)
                return Interlocked.Decrement(ref _outstanding) == 0;
        }

        return false;
    }

    public bool IsApplied => Volatile.Read(ref _outstanding) == 0;

    public void Clear()
    {
        Array.Clear(Members, 0, Count);
        Count = 0;
        Bytes = 0;
        _expectedCount = 0;
        _outstanding = 0;
        Next = null;
        Lsn = default;
    }

    private struct Expectation
    {
        public FileId File;
        public int Done;
    }
}
