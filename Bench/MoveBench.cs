using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  what do commits notice of a move of the datafile of 1 GiB that they go to, and how fast is it beside
/// <c>cp</c> of the same file?
/// </summary>
/// <remarks>
/// In each repetition, in turn: commits alone ("move-none", twice the seconds asked for), <c>cp</c> and <c>sync</c> of the
/// file while it is fenced ("move-cp"), a move of it and the seconds asked for behind it, in which the room of the former
/// file is given back ("move"); for each the commits' line, judged by maxUs, and the copy's. A checkpoint and some seconds
/// before each, so that each begins with an idle disk, and the file's pages are in the page cache for both. Of the move three
/// times are told: its copy until that is durable ("pitr copy"), the copy and the second reading that verifies each page
/// ("copy and verify"), and all of it, the flush after the fence included, which cp has behind it too and which is not
/// in its time ("pitr move"). Then both without commits.
/// </remarks>
internal static class MoveBench
{
    private const int Rows = 4_600_000;

    public static void Run(BenchOptions options)
    {
        foreach (int writers in options.Writers)
        {
            using var folder = new BenchFolder(options.Folder, "pitr");
            MeasureAsync(folder.Path, writers, options).GetAwaiter().GetResult();
        }
    }

    private static async Task MeasureAsync(string folder, int writers, BenchOptions options)
    {
        var settings = new PitrOptions { MemoryBudgetBytes = 2L << 30 };
        PitrDatabase database =
            await PitrDatabase.CreateAsync(Path.Combine(folder, "db"), settings).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            var load = new CommitLoad(database, table, Rows);
            await load.LoadAsync().ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            await load.CommitAsync(writers, TimeSpan.FromSeconds(1)).ConfigureAwait(false);
            var run = new MoveRun(database, load, folder, writers, options);
            for (int i = 0; i < options.Repetitions; i++)
                await run.BesideCommitsAsync().ConfigureAwait(false);
            for (int i = 0; i < options.Repetitions; i++)
                await run.AloneAsync().ConfigureAwait(false);
            run.Judge();
        }
    }

    /// <summary>One database's figures.</summary>
    private sealed class MoveRun(
        PitrDatabase database, CommitLoad load, string folder, int writers, BenchOptions options)
    {
        private readonly List<double> _longestAlone = [];
        private readonly List<double> _longest = [];
        private readonly List<(string Beside, string Who, double Share)> _rates = [];
        private int _moves;

        public async Task BesideCommitsAsync()
        {
            TimeSpan time = 2 * TimeSpan.FromSeconds(options.Seconds);
            await SettleAsync().ConfigureAwait(false);
            _longestAlone.Add(Told(
                "move-none", await load.CommitAsync(writers, time).ConfigureAwait(false), time));

            await SettleAsync().ConfigureAwait(false);
            Task<CopyLine> copy = CopyAsync("commits");
            var watch = Stopwatch.StartNew();
            Told("move-cp", await load.CommitAsync(writers, copy).ConfigureAwait(false), watch.Elapsed);
            CopyLine cp = (await copy.ConfigureAwait(false)).Print(options.Json);

            await SettleAsync().ConfigureAwait(false);
            var steps = new StepTimes();
            Task<CopyLine[]> move = MoveAsync("commits", steps);
            watch.Restart();
            LatencyHistogram moving = await load.CommitAsync(writers, AndBehindAsync(move)).ConfigureAwait(false);
            _longest.Add(Told("move", moving, watch.Elapsed));
            Console.Error.WriteLine($"the longest commit ended {steps.At(moving.MaxEnded)}");
            Compare(cp, await move.ConfigureAwait(false));
        }

        private async Task AndBehindAsync(Task move)
        {
            await move.ConfigureAwait(false);
            await Task.Delay(TimeSpan.FromSeconds(options.Seconds)).ConfigureAwait(false);
        }

        public async Task AloneAsync()
        {
            await database.CheckpointAsync().ConfigureAwait(false);
            CopyLine cp = (await CopyAsync("nothing").ConfigureAwait(false)).Print(options.Json);
            Compare(cp, await MoveAsync("nothing", new StepTimes()).ConfigureAwait(false));
        }

        public void Judge()
        {
            VerdictLine.AtMost(
                "move", "ms that the longest commit takes longer (medians)",
                (VerdictLine.Median(_longest) - VerdictLine.Median(_longestAlone)) / 1000, 50).Print(options.Json);
            foreach (IGrouping<(string Beside, string Who), double> of in _rates.GroupBy(
                rate => (rate.Beside, rate.Who), rate => rate.Share))
            {
                VerdictLine.AtLeast(
                    "move", $"rate of {of.Key.Who}, share of cp and sync, beside {of.Key.Beside} (median)",
                    VerdictLine.Median(of), 0.8).Print(options.Json);
            }
        }

        /// <summary>
        /// A checkpoint, and time for what the phase before has left to the system: a virtual machine that gives memory of
        /// deleted files back to its host does it in passes of 2 s, each of which can hold its disk up for 80 ms.
        /// </summary>
        private async Task SettleAsync()
        {
            await database.CheckpointAsync().ConfigureAwait(false);
            await Task.Delay(TimeSpan.FromSeconds(options.SettleSeconds)).ConfigureAwait(false);
        }

        private double Told(string question, LatencyHistogram latencies, TimeSpan took)
        {
            BenchLine line = BenchLine.Of(question, "pitr", writers, latencies, took);
            line.Print(options.Json);
            return line.MaxUs;
        }

        private void Compare(CopyLine cp, CopyLine[] moved)
        {
            foreach (CopyLine line in moved)
            {
                line.Print(options.Json);
                _rates.Add((line.Beside, line.Who, line.MebibytesPerSecond / cp.MebibytesPerSecond));
            }
        }

        /// <summary>As an operator does it: fence, cp, sync, unfence; timed are cp and sync.</summary>
        private async Task<CopyLine> CopyAsync(string beside)
        {
            FenceGrant fence = await database.FenceAsync("main", TimeSpan.FromHours(1)).ConfigureAwait(false);
            string to = Path.Combine(folder, "cp.pitr");
            TimeSpan took = (await Tool.RunAsync("cp", fence.Path, to).ConfigureAwait(false)).Took
                + (await Tool.RunAsync("sync", to).ConfigureAwait(false)).Took;
            File.Delete(to);
            await database.UnfenceAsync(fence.FenceId).ConfigureAwait(false);
            return CopyLine.Of("move", "cp and sync", beside, fence.LengthBytes, took);
        }

        private async Task<CopyLine[]> MoveAsync(string beside, StepTimes steps)
        {
            string to = Path.Combine(folder, $"moved-{_moves++}.pitr");
            MoveResult moved = await database.MoveAsync(
                new MoveRequest { Datafile = "main", Path = to, Progress = steps }).ConfigureAwait(false);
            return
            [
                CopyLine.Of("move", "pitr copy", beside, steps.Bytes, steps.Copied - steps.Began),
                CopyLine.Of("move", "copy and verify", beside, steps.Bytes, steps.Verified - steps.Began),
                CopyLine.Of("move", "pitr move", beside, steps.Bytes, TimeSpan.FromSeconds(moved.Seconds)),
            ];
        }
    }

    /// <summary>
    /// When a move's steps began and ended: the first block of its verifying comes when the whole copy is durable.
    /// </summary>
    private sealed class StepTimes : IProgress<JobProgress>
    {
        private readonly long _start = Stopwatch.GetTimestamp();

        public long Bytes { get; private set; }

        public TimeSpan Began { get; private set; }

        public TimeSpan Copied { get; private set; }

        public TimeSpan Verified { get; private set; }

        /// <summary>What the move did at a moment.</summary>
        public string At(long timestamp)
        {
            TimeSpan at = Stopwatch.GetElapsedTime(_start, timestamp);
            string doing = at < Began ? "before the copy"
                : at < Copied ? "while it was copied"
                : at < Verified ? "while it was verified"
                : "after that: switch, flush and what is left over";
            return FormattableString.Invariant($"{at.TotalSeconds:F2} s after its begin, {doing}");
        }

        public void Report(JobProgress value)
        {
            TimeSpan now = Stopwatch.GetElapsedTime(_start);
            Bytes = value.TotalBytes;
            if (Began == default)
                Began = now;
            if (value.Step == "copying")
                return;
            if (Copied == default)
                Copied = now;
            Verified = now;
        }
    }
}
