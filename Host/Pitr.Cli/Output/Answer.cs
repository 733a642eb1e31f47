using System.Text.Encodings.Web;
using System.Text.Json;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>Lines of text on a console that could draw.</summary>
internal static class WholeLines
{
    /// <summary>A line as it is, however narrow the terminal: a path that was broken in two can't be copied.</summary>
    public static void WriteWhole(this IAnsiConsole console, string line) =>
        console.Profile.Out.Writer.WriteLine(line);
}

/// <summary>
/// What a verb has to say when it is done: as JSON for scripts, as text for people. It is written only after
/// everything, the closing of the database too, went well; so a failure leaves standard output empty.
/// </summary>
/// <param name="Json">Writes the one JSON document.</param>
/// <param name="Text">Writes lines and tables.</param>
internal sealed record Answer(Action<Utf8JsonWriter> Json, Action<IAnsiConsole> Text)
{
    private static readonly JsonWriterOptions JsonForm =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Nothing more: the verb streamed its output.</summary>
    public static Answer Streamed { get; } = new(_ => { }, _ => { });

    /// <summary>The exit code; not 0 where the answer itself is bad news (damage found).</summary>
    public int ExitCode { get; init; } = ExitCodes.Done;

    /// <summary>What whoever looks should know besides: a line each on standard error, also beside JSON.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>An answer of one line.</summary>
    public static Answer Line(Action<Utf8JsonWriter> json, string line) =>
        new(json, console => console.WriteWhole(line));

    /// <summary>Writes it to standard output in one piece.</summary>
    public void WriteTo(CliConsole console, bool asJson)
    {
        if (ReferenceEquals(this, Streamed))
            return;
        foreach (string note in Notes)
            console.Error.WriteLine($"note: {note}");
        using var buffer = new MemoryStream();
        if (asJson)
        {
            using (var writer = new Utf8JsonWriter(buffer, JsonForm))
                Json(writer);
            buffer.WriteByte((byte)'\n');
        }
        else
        {
            using var writer = new StreamWriter(buffer, leaveOpen: true) { NewLine = "\n" };
            Text(AnsiTo(writer, console));
        }
        buffer.Position = 0;
        buffer.CopyTo(console.Output);
        console.Output.Flush();
    }

    /// <summary>A console of Spectre's for what a terminal that can be drawn on shows; else as the other one.</summary>
    public static IAnsiConsole AnsiTo(TextWriter writer, CliConsole console)
    {
        if (!console.IsScreen)
            return AnsiTo(writer, console.OutputIsTerminal);
        IAnsiConsole screen = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = AnsiSupport.Yes,
            ColorSystem = string.IsNullOrEmpty(console.Variable("NO_COLOR"))
                ? ColorSystemSupport.Detect
                : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        screen.Profile.Capabilities.Unicode = true;
        screen.Profile.Width = console.ScreenWidth ?? (Console.WindowWidth > 0 ? Console.WindowWidth : 80);
        return screen;
    }

    /// <summary>A console of Spectre's on a writer: colours only on a terminal, without a width elsewhere.</summary>
    public static IAnsiConsole AnsiTo(TextWriter writer, bool isTerminal)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = isTerminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = isTerminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        console.Profile.Width = isTerminal && Console.WindowWidth > 0 ? Console.WindowWidth : 10_000;
        return console;
    }
}
