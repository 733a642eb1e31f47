using System.Globalization;
using System.Text;

namespace Pitr.Simulation;

/// <summary>
/// What happened in a world, in order: each message that an actor took, each operation on the disk, each timer, each
/// piece of work and each step of a client. The last lines are always there, all of them when it is written out.
/// </summary>
internal sealed class Transcript
{
    private const int LastMax = 400;

    private readonly Line[] _last = new Line[LastMax];
    private StringBuilder? _all;

    /// <summary>Lines so far.</summary>
    public long Count { get; private set; }

    /// <summary>From now on every line is kept.</summary>
    public void KeepAll() => _all ??= new StringBuilder();

    /// <summary>All lines since <see cref="KeepAll"/>.</summary>
    public string Text => _all?.ToString() ?? "";

    public void Add(TimeSpan time, string who, string what, string? of = null, long a = -1, long b = -1)
    {
        var line = new Line(time, who, what, of, a, b);
        _last[Count++ % LastMax] = line;
        if (_all is not null)
            _all.Append(line.Text).Append('\n');
    }

    /// <summary>The last lines, oldest first.</summary>
    public IEnumerable<string> Last(int count)
    {
        for (long i = Math.Max(0, Count - Math.Min(count, LastMax)); i < Count; i++)
            yield return _last[i % LastMax].Text;
    }

    private readonly record struct Line(TimeSpan Time, string Who, string What, string? Of, long A, long B)
    {
        public string Text => string.Create(
            CultureInfo.InvariantCulture,
            $"{Time.TotalSeconds:F6} {Who}: {What}{(Of is null ? "" : " " + Of)}{Number(A)}{Number(B)}");

        private static string Number(long number) =>
            number < 0 ? "" : " " + number.ToString(CultureInfo.InvariantCulture);
    }
}
