using System.Globalization;

namespace Pitr.Cli;

/// <summary>How far a long job is, on one line of standard error; silent where nobody looks.</summary>
internal sealed class ProgressLine(CliConsole console) : IProgress<JobProgress>, IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private readonly Lock _gate = new(); // protects the line: reports come from any thread
    private long _lastShown;
    private string? _step;
    private long _began;
    private long _doneBytes;
    private int _shownCharacters;

    /// <inheritdoc/>
    public void Report(JobProgress value) => Show(value.TotalBytes > 0
        ? string.Create(
            CultureInfo.InvariantCulture,
            $"{value.Step}  {100.0 * value.DoneBytes / value.TotalBytes:0} %  "
            + $"{TextShapes.Bytes(value.DoneBytes)} of {TextShapes.Bytes(value.TotalBytes)}{Left(value)}")
        : $"{value.Step}  {TextShapes.Bytes(value.DoneBytes)}");

    /// <summary>What is left of a step at its pace so far; nothing in its first second.</summary>
    private string Left(JobProgress value)
    {
        lock (_gate)
        {
            long now = console.Clock.GetTimestamp();
            if (value.Step != _step || value.DoneBytes < _doneBytes)
                (_step, _began) = (value.Step, now);
            _doneBytes = value.DoneBytes;
            TimeSpan took = console.Clock.GetElapsedTime(_began, now);
            if (took < TimeSpan.FromSeconds(1) || value.DoneBytes == 0)
                return "";
            double seconds = took.TotalSeconds * (value.TotalBytes - value.DoneBytes) / value.DoneBytes;
            return string.Create(CultureInfo.InvariantCulture, $", about {seconds:0} s left");
        }
    }

    /// <summary>Shows a line in place of the one before, ten times a second at most.</summary>
    public void Show(string line)
    {
        if (!console.ErrorIsTerminal)
            return;
        lock (_gate)
        {
            if (_lastShown != 0 && console.Clock.GetElapsedTime(_lastShown) < Interval)
                return;
            _lastShown = console.Clock.GetTimestamp();
            console.Error.Write('\r' + line.PadRight(_shownCharacters));
            _shownCharacters = line.Length;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_shownCharacters > 0)
                console.Error.Write('\r' + new string(' ', _shownCharacters) + '\r');
            _shownCharacters = 0;
        }
    }
}
