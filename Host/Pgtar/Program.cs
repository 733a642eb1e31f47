using Microsoft.Win32.SafeHandles;
using Pitr.Cli;

// The console's own stream takes a pipe that was closed for a reader who has had enough: that tar would end unnoticed.
using var output = new FileStream(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
CliConsole console = CliConsole.OfProcess() with { Output = output };
using var interruption = new Interruption();
return await CommandLine.RunPgtarAsync(args, console, new ProcessTargets(console), interruption).ConfigureAwait(false);
