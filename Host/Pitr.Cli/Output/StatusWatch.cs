using System.Text;
using Pitr.Actors;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr status --watch</c>: on a terminal the screen of <see cref="StatusScreen"/>, drawn again in place; elsewhere one
/// document a look, text or a line of JSON, for whoever reads on.
/// </summary>
/// <remarks>
/// The terminal's other screen is used, so that what was there before comes back at the end, whatever ends it; the last look
/// is then printed below.
/// </remarks>
internal sealed class StatusWatch(CliConsole console, IDatabaseTarget target, TimeSpan interval, long? looks)
{
    private const string EnterScreen = "\u001b[?1049h\u001b[?25l"; // the other screen, no cursor
    private const string LeaveScreen = "\u001b[?25h\u001b[?1049l";
    private const string Home = "\u001b[H";
    private const string ClearLine = "\u001b[K";
    private const string ClearBelow = "\u001b[J";

    private readonly List<double> _rates = [];
    private (Lsn Lsn, long At)? _before;

    /// <summary>Looks until it is cancelled, or has looked as often as asked.</summary>
    public async Task RunAsync(bool asJson, CancellationToken cancellationToken)
    {
        bool isScreen = console.IsScreen && !asJson;
        string last = "";
        if (isScreen)
            await WriteAsync(EnterScreen).ConfigureAwait(false);
        try
        {
            for (long look = 1; ; look++)
            {
                EngineStatus status = await target.GetStatusAsync(cancellationToken).ConfigureAwait(false);
                if (isScreen)
                {
                    last = Screen(status);
                    await WriteAsync(Home + last.Replace("\n", ClearLine + "\n", StringComparison.Ordinal)
                        + $"every {SettingForms.Text(interval)}; Ctrl-C ends{ClearLine}{ClearBelow}").ConfigureAwait(false);
                }
                else
                {
                    new Answer(json => JsonShapes.Status(json, status), ansi => TextShapes.Status(ansi, status))
                        .WriteTo(console, asJson);
                }

                if (look >= looks)
                    return;
                await Task.Delay(interval, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Ctrl-C is how it ends.
        }
        finally
        {
            if (isScreen)
                await WriteAsync(LeaveScreen + last).ConfigureAwait(false);
        }
    }

    private string Screen(EngineStatus status)
    {
        long now = TimeProvider.System.GetTimestamp();
        if (_before is { } before)
        {
            double seconds = Math.Max(0.001, TimeProvider.System.GetElapsedTime(before.At, now).TotalSeconds);
            _rates.Add(Math.Max(0, status.CurrentLsn - before.Lsn) / seconds);
        }

        _before = (status.CurrentLsn, now);
        using var text = new StringWriter { NewLine = "\n" };
        IAnsiConsole ansi = Answer.AnsiTo(text, console);
        ansi.Write(StatusScreen.Of(status, TimeProvider.System.GetUtcNow(), ansi.Profile.Width, _rates));
        return text.ToString();
    }

    private async Task WriteAsync(string text)
    {
        await console.Output.WriteAsync(Encoding.UTF8.GetBytes(text)).ConfigureAwait(false);
        await console.Output.FlushAsync().ConfigureAwait(false);
    }
}
