using Pitr.Cli;

CliConsole console = CliConsole.OfProcess();
using var interruption = new Interruption();
return await CommandLine.RunAsync(args, console, new ProcessTargets(console), interruption).ConfigureAwait(false);
