using Amazon.Runtime;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;
using Pitr.Archive.S3;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// S3 beyond the contract that every store keeps: large objects, long listings, and a service that answers late, errs,
/// lies or forgets. Against a double (<see cref="S3Double"/>).
/// </summary>
public sealed class S3StoreTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _clock = new(Noon);
    private S3Double _service = null!;
    private IArchiveStore _store = null!;

    public async Task InitializeAsync()
    {
        _service = await S3Double.StartAsync();
        _store = Open();
    }

    public async Task DisposeAsync() => await _service.DisposeAsync();

    [Fact]
    public void Objects_lie_under_the_prefix_and_those_of_others_are_not_seen()
    {
        _store.Put("wal/a", Bytes(3, 1));
        Assert.Equal(Bytes(3, 1), _service["db/wal/a"]);
        _service["db2/wal/b"] = [1];
        _service["db/.hidden"] = [1];
        _service["db/wal/with space"] = [1];
        Assert.Equal(["wal/a"], _store.List(""));
        IArchiveStore whole = Open(prefix: "");
        whole.Put("x", Bytes(1, 1));
        Assert.NotNull(_service["x"]);
    }

    [Fact]
    public void A_listing_of_several_pages_is_whole()
    {
        _service.PageSize = 7;
        string[] names = [.. Enumerable.Range(0, 50).Select(number => $"wal/{number:D3}")];
        foreach (string name in names)
            _service[$"db/{name}"] = [1];
        Assert.Equal(names, _store.List("wal/"));
    }

    [Fact]
    public void A_stream_that_fails_leaves_no_upload_behind()
    {
        var content = new MemoryStream(new byte[40 << 20]);
        _service.Meddle = http => Task.FromResult(AbortOn(http, http.Request.Query["partNumber"] == "2"));
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => _store.Put("big", content)).Code);
        _service.Meddle = null;
        Assert.Equal(0, _service.OpenUploads);
        Assert.Empty(_store.List(""));
    }

    [Fact]
    public async Task An_upload_that_died_is_aborted_once_it_is_a_week_old()
    {
        using var client = new HttpClient();
        using var begin = new HttpRequestMessage(HttpMethod.Post, $"{_service.Endpoint}/{S3Double.Bucket}/db/big?uploads");
        begin.Headers.TryAddWithoutValidation("Authorization", $"AWS4-HMAC-SHA256 Credential={S3Double.AccessKey}/x");
        begin.Headers.Add("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        (await client.SendAsync(begin)).EnsureSuccessStatusCode();
        Assert.Equal(1, _service.OpenUploads);
        Assert.Equal(1, _store.RemoveStrays()); // the double says that it was begun in 2020
        Assert.Equal(0, _service.OpenUploads);
    }

    /// <summary>H27: a look-alike that ignores the condition is found out when it is set up.</summary>
    [Fact]
    public void A_service_that_ignores_conditions_is_no_archive()
    {
        _service.IgnoresConditions = true;
        ulong next = 1;
        var refused = Assert.Throws<RefusedException>(
            () => ArchiveIdentity.SetUp(_store, ArchiveTestData.System, () => next++, Noon));
        Assert.Equal(ErrorCode.StoreWithoutClaims, refused.Code);
        Assert.Empty(_store.List(""));
    }

    [Fact]
    public void A_missing_bucket_is_a_store_that_fails_and_no_store_without_objects()
    {
        IArchiveStore missing = new S3ArchiveStores(Credentials, _clock).Open(
            StoreAddress.Parse($"s3://elsewhere/db?endpoint={_service.Endpoint}", "/"));
        foreach (Action ask in new Action[]
        {
            missing.CreateRoot, () => missing.TryGet("a"), () => missing.Stat("a"), () => missing.List(""),
            () => missing.Put("a", Bytes(1, 1)), () => missing.TryPutIfAbsent("a", Bytes(1, 1)),
        })
            Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(ask).Code);
    }

    [Fact]
    public void Wrong_credentials_are_told_as_the_stores_failure()
    {
        IArchiveStore stranger = new S3ArchiveStores(new BasicAWSCredentials("other", "x"), _clock).Open(Address());
        var failed = Assert.Throws<StorageFailedException>(() => stranger.List(""));
        Assert.Contains("InvalidAccessKeyId", failed.Message, StringComparison.Ordinal);
    }

    /// <summary>A conditional create whose answer is lost is not repeated: it would find its own object taken.</summary>
    [Fact]
    public void A_create_whose_answer_is_lost_fails_and_says_nothing_of_who_has_the_name()
    {
        int asked = 0;
        _service.Meddle = http =>
        {
            asked++;
            _service["db/history/1"] = Bytes(3, 1);
            return Task.FromResult(AbortOn(http, true));
        };
        Assert.Throws<StorageFailedException>(() => _store.TryPutIfAbsent("history/1", Bytes(3, 1)));
        Assert.Equal(1, asked);
    }

    [Fact]
    public void A_conflict_with_another_writer_is_asked_again()
    {
        int asked = 0;
        _service.Meddle = http =>
        {
            if (++asked > 3)
                return Task.FromResult(false);
            http.Response.StatusCode = 409;
            return Task.FromResult(true);
        };
        Assert.True(_store.TryPutIfAbsent("a", Bytes(3, 1)));
        Assert.Equal(4, asked);
    }

    [Fact]
    public void A_service_that_does_not_answer_is_waited_for_no_longer_than_its_timeout()
    {
        _service.Meddle = async http =>
        {
            _clock.Advance(TimeSpan.FromSeconds(120));
            await Never(http.RequestAborted);
            return true;
        };
        var failed = Assert.Throws<StorageFailedException>(() => _store.Put("a", Bytes(3, 1)));
        Assert.Contains("within 120 s", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_object_that_stops_coming_is_not_waited_for_for_ever()
    {
        _service["db/a"] = Bytes(100, 1);
        _service.Meddle = async http =>
        {
            http.Response.ContentLength = 100;
            await http.Response.Body.WriteAsync(Bytes(50, 1));
            await http.Response.Body.FlushAsync();
            await Never(http.RequestAborted);
            return true;
        };
        using Stream content = _store.OpenRead("a");
        content.ReadExactly(new byte[50]);
        Task<int> reading = Task.Run(() => content.Read(new byte[1], 0, 1));
        while (!reading.IsCompleted)
            _clock.Advance(TimeSpan.FromSeconds(120));
        var failed = Assert.Throws<StorageFailedException>(() => reading.GetAwaiter().GetResult());
        Assert.Contains("sent nothing for 120 s", failed.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(500)]
    [InlineData(503)]
    [InlineData(301)]
    public void An_error_of_the_service_is_the_stores_failure(int status)
    {
        _service.Meddle = http =>
        {
            http.Response.StatusCode = status;
            return Task.FromResult(true);
        };
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => _store.Put("a", Bytes(1, 1))).Code);
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => _store.TryGet("a")).Code);
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => _store.List("")).Code);
    }

    /// <summary>A service that lies about an object's length: what was cut off is no shorter object.</summary>
    [Fact]
    public void An_object_that_is_shorter_than_the_service_says_is_refused()
    {
        _service.Meddle = async http =>
        {
            http.Response.ContentLength = 100;
            await http.Response.Body.WriteAsync(Bytes(50, 1));
            await http.Response.Body.FlushAsync();
            http.Abort();
            return true;
        };
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => _store.TryGet("a")).Code);
    }

    /// <summary>H39: what a service has changed or lost shows when a push reads it back, before the WAL may go.</summary>
    [Fact]
    public void A_push_into_a_service_that_loses_or_changes_the_object_does_not_count()
    {
        _service.Meddle = http =>
        {
            if (http.Request.Method == "GET")
                _service[$"db/{Whole(1).Name}"] = null;
            return Task.FromResult(false);
        };
        Assert.Throws<NotFoundException>(() => ArchivePush.Push(_store, Whole(1)));
        _service.Meddle = http =>
        {
            if (http.Request.Method == "GET" && _service[$"db/{Whole(1).Name}"] is { } bytes)
                bytes[^1] ^= 1;
            return Task.FromResult(false);
        };
        Assert.Equal(
            ErrorCode.ArchiveDamaged, Assert.Throws<DamageException>(() => ArchivePush.Push(_store, Whole(1))).Code);
    }

    [Theory]
    [InlineData("s3://b/p?key=secret")]
    [InlineData("s3://b/p?endpoint=ftp://x")]
    [InlineData("s3://b/p?endpoint=http://user:secret@x")]
    [InlineData("s3://b/p?pathStyle=yes")]
    [InlineData("s3://b/p?timeout=0")]
    public void Options_that_mean_nothing_are_refused(string text) => Assert.Equal(
        ErrorCode.StoreAddressInvalid,
        Assert.Throws<RefusedException>(() => S3ArchiveStores.Default.Open(StoreAddress.Parse(text, "/"))).Code);

    private static BasicAWSCredentials Credentials => new(S3Double.AccessKey, S3Double.SecretKey);

    private StoreAddress Address(string prefix = "/db") =>
        StoreAddress.Parse($"s3://{S3Double.Bucket}{prefix}?endpoint={_service.Endpoint}", "/");

    private IArchiveStore Open(string prefix = "/db") =>
        new S3ArchiveStores(Credentials, _clock).Open(Address(prefix));

    private static bool AbortOn(HttpContext http, bool condition)
    {
        if (condition)
            http.Abort();
        return condition;
    }

    private static Task Never(CancellationToken aborted)
    {
        var never = new TaskCompletionSource();
        aborted.Register(() => never.TrySetResult());
        return never.Task;
    }
}
