using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Pitr.Actors;

/// <summary>
/// The activities of Pitr's source. What a caller asks for is a child of the caller's activity; what the engine does by
/// itself (flushes, shipping, checkpoints that are due) begins a trace of its own.
/// </summary>
/// <remarks>
/// COST  without a listener a commit pays one look at <see cref="IsListenedTo"/>, and nothing is allocated.
/// An activity is never current on an actor's thread beyond the handler that started it: what comes next there belongs
/// to somebody else.
/// </remarks>
internal static class Traces
{
    private const string DatabaseTag = "pitr.database";
    private const string ErrorTag = "error.type";

    private static readonly ActivitySource Source =
        new(PitrTelemetry.SourceName, typeof(Traces).Assembly.GetName().Version?.ToString());

    /// <summary>True if somebody wants activities.</summary>
    public static bool IsListenedTo => Source.HasListeners();

    /// <summary>Something that a caller asked for; null if nobody listens.</summary>
    public static Activity? Start(string name, string folder) =>
        Source.StartActivity(name)?.SetTag(DatabaseTag, folder);

    /// <summary>Runs what a caller asked for as an activity; a failure is its status.</summary>
    public static async Task<T> RunAsync<T>(
        string name, string folder, Func<Task<T>> work, Action<Activity, T>? note = null)
    {
        using Activity? activity = Start(name, folder);
        try
        {
            T result = await work().ConfigureAwait(false);
            if (activity is not null)
                note?.Invoke(activity, result);
            return result;
        }
        catch (Exception failure)
        {
            NoteFailure(activity, failure);
            throw;
        }
    }

    /// <summary>The same for what has no result.</summary>
    public static Task RunAsync(string name, string folder, Func<Task> work) => RunAsync(name, folder, async () =>
    {
        await work().ConfigureAwait(false);
        return true;
    });

    /// <summary>A commit as an activity; only when somebody listens.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public static async ValueTask<CommitResult> CommitAsync(string folder, Func<ValueTask<CommitResult>> commit, int operations)
    {
        using Activity? activity = Start("pitr.commit", folder)?.SetTag("pitr.operations", operations);
        try
        {
            CommitResult result = await commit().ConfigureAwait(false);
            activity?.SetTag("pitr.lsn", result.Lsn.ToString()).SetTag("pitr.transaction", (long)result.TransactionId.Value);
            return result;
        }
        catch (Exception failure)
        {
            NoteFailure(activity, failure);
            throw;
        }
    }

    /// <summary>Something that the engine did by itself and that has ended: a trace of its own.</summary>
    /// <param name="name">What.</param>
    /// <param name="folder">Of which database.</param>
    /// <param name="began">When it began.</param>
    /// <param name="ended">When it ended.</param>
    /// <param name="failure">Why it came to nothing; null if it did not.</param>
    /// <param name="tags">More.</param>
    public static void Note(
        string name, string folder, DateTimeOffset began, DateTimeOffset ended, string? failure = null,
        params ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (!IsListenedTo)
            return;
        Activity? outer = Activity.Current; // whose thread this happens to be
        Activity.Current = null;
        try
        {
            using Activity? activity = Source.StartActivity(
                name, ActivityKind.Internal, parentContext: default, startTime: began);
            if (activity is null)
                return;
            activity.SetTag(DatabaseTag, folder);
            foreach (KeyValuePair<string, object?> tag in tags)
                activity.SetTag(tag.Key, tag.Value);
            if (failure is not null)
                activity.SetStatus(ActivityStatusCode.Error, failure);
            activity.SetEndTime(ended.UtcDateTime);
        }
        finally
        {
            Activity.Current = outer;
        }
    }

    private static void NoteFailure(Activity? activity, Exception failure) => activity?
        .SetTag(ErrorTag, failure is PitrException known ? known.Code.ToString() : failure.GetType().Name)
        .SetStatus(ActivityStatusCode.Error, failure.Message);
}
