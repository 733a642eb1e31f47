namespace Pitr.Tests;

/// <summary>What of <c>pitr recover DIR</c> goes together, and what is wrong usage (exit 2).</summary>
public sealed class RecoverOptionsTests
{
    [Theory]
    [InlineData("recover db --control-file current --target-lsn 0/1000", "--control-file backup")]
    [InlineData("recover db --backup x", "--control-file backup")]
    [InlineData("recover db --moved /a=/b", "--control-file backup")]
    [InlineData("recover db --moved --promote", "alone")]
    [InlineData("recover db --moved --from x", "alone")]
    [InlineData("recover db --moved --target-lsn 0/1000", "alone")]
    [InlineData("recover db --moved --backup x", "alone")]
    [InlineData("recover db --control-file backup --moved", "--moved OLD=NEW")]
    [InlineData("recover db --control-file rebuild --moved", "--moved alone")]
    [InlineData("recover db --timeline 2", "--control-file backup")]
    [InlineData("recover db --control-file rebuild --promote", "--promote")]
    [InlineData("recover db --control-file backup --moved /a", "--moved /old/folder=/new/folder")]
    [InlineData("recover db --control-file backup --timeline one", "timeline")]
    [InlineData("recover db --control-file rebuild --from x", "--control-file backup")]
    [InlineData("recover db --control-file rebuild --target-immediate", "--control-file backup")]
    [InlineData("recover db --control-file rebuild --timeline latest", "--timeline N")]
    [InlineData("recover db --control-file other", "other")]
    [InlineData("recover db --action pause", "--promote")]
    [InlineData("recover db --control-file backup --action stay", "stay")]
    [InlineData("recover db --control-file rebuild --action pause", "--control-file backup")]
    [InlineData("recover db --control-file backup --action pause --promote", "opposites")]
    [InlineData("recover db --target-lsn 0/1000 --plan", "--control-file backup")]
    public async Task Options_that_do_not_go_together_are_wrong_usage_and_say_what_does(string line, string says)
    {
        var cli = new CliRun(new MemoryTarget());
        (int exitCode, string output, string error) = await cli.RunAsync(line.Split(' '));
        Assert.Equal((2, ""), (exitCode, output));
        Assert.Contains(says, error, StringComparison.Ordinal);
    }

    /// <summary>With the control file that is there, or without that being said, a restore is promoted where it stands.</summary>
    [Theory]
    [InlineData("--promote")]
    [InlineData("--control-file current --promote")]
    public async Task To_promote_goes_with_the_control_file_that_is_there(string options)
    {
        string folder = Path.Combine(Path.GetTempPath(), $"pitr-none-{Guid.NewGuid():N}");
        Outcome outcome = await CliInProcess.RunAsync(Path.GetTempPath(), ["recover", folder, .. options.Split(' ')]);
        Assert.Equal((3, ""), (outcome.ExitCode, outcome.Output));
        Assert.False(Directory.Exists(folder));
    }

    /// <summary>Nothing of a database: not found (exit 3), and the folder is not made.</summary>
    [Theory]
    [InlineData("--control-file backup --promote --from /nowhere --plan")]
    [InlineData("--control-file rebuild")]
    [InlineData("--control-file rebuild --plan")]
    [InlineData("--moved")]
    [InlineData("--moved --plan")]
    [InlineData("--control-file backup --from /nowhere --plan")]
    public async Task A_folder_that_is_not_there_is_not_found(string options)
    {
        string folder = Path.Combine(Path.GetTempPath(), $"pitr-none-{Guid.NewGuid():N}");
        var cli = new CliRun(new MemoryTarget());
        (int exitCode, string output, string error) = await cli.RunAsync(["recover", folder, .. options.Split(' ')]);
        Assert.Equal((3, ""), (exitCode, output));
        Assert.Contains("pitr restore", error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder));
    }
}
