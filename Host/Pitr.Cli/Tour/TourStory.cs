using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// How a tour is told: numbered steps, each with the command that does the same, and a picture at the end.
/// </summary>
internal sealed class TourStory
{
    private const int ColumnsMax = 100;
    private const int Indent = 4;

    private readonly IAnsiConsole _console;
    private readonly int _columns;
    private int _step;

    /// <param name="writer">Where it goes.</param>
    /// <param name="isTerminal">True if somebody looks at it: colours, and lines no longer than the window.</param>
    public TourStory(TextWriter writer, bool isTerminal)
    {
        _console = Answer.AnsiTo(writer, isTerminal);
        _columns = Math.Min(ColumnsMax, _console.Profile.Width);
        _console.Profile.Width = Math.Max(_console.Profile.Width, ColumnsMax); // the picture is not broken into lines
    }

    /// <summary>One step that was done.</summary>
    /// <param name="title">What it was.</param>
    /// <param name="command">The command that does the same; null if there is none.</param>
    /// <param name="text">What came of it.</param>
    /// <param name="seconds">How long it took; null if that says nothing.</param>
    public void Tell(string title, string? command, string text, double? seconds)
    {
        string took = seconds is { } time ? $"  [grey]{TextShapes.Seconds(time)}[/]" : "";
        _console.MarkupLine($"[bold]{++_step,2}. {title.EscapeMarkup()}[/]{took}");
        if (command is not null)
            _console.MarkupLine($"    [green]$ {command.EscapeMarkup()}[/]");
        foreach (string line in Lines(text))
            _console.WriteLine(new string(' ', Indent) + line);
    }

    /// <summary>Lines as they stand, in one colour.</summary>
    public void Show(string colour, params string[] lines)
    {
        foreach (string line in lines)
            _console.MarkupLine($"[{colour}]{line.EscapeMarkup()}[/]");
    }

    /// <summary>A text in lines that fit, broken between words.</summary>
    private IEnumerable<string> Lines(string text)
    {
        string line = "";
        foreach (string word in text.Split(' '))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length > _columns - Indent)
            {
                yield return line;
                line = "";
            }
            line = line.Length == 0 ? word : $"{line} {word}";
        }
        yield return line;
    }
}
