using System.Text;
using System.Text.Json;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Hosting;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Tests;

/// <summary>What comes over the wire: anybody who can connect may send anything.</summary>
public sealed class WireFuzzTests : IDisposable
{
    private readonly ActorSystem _system =
        ActorSystem.Create("fuzz", "akka { loglevel = OFF, stdout-loglevel = OFF }");

    public void Dispose() => _system.Dispose();

    [Fact]
    public async Task An_administration_message_with_any_text_is_read_or_refused()
    {
        var serializer = new AdminSerializer((ExtendedActorSystem)_system);
        foreach (object message in await MessagesAsync())
        {
            string manifest = serializer.Manifest(message);
            FuzzRun.Run(new FuzzTarget(
                manifest, [serializer.ToBinary(message)],
                (bytes, _) =>
                {
                    object read = serializer.FromBinary(bytes, manifest);
                    Assert.IsType(message.GetType(), read);
                    return serializer.ToBinary(read);
                },
                // Akka drops a message that cannot be read, whatever the failure; what is not text is ours to tell.
                FuzzTarget.Only<JsonException, ArgumentException>())
            {
                Mutate = JsonMutator.Mutate,
                Rounds = 100,
            });
        }
    }

    /// <summary>What was read reaches the administrator, which answers each request, with an answer or a problem.</summary>
    [Fact]
    public async Task The_administrator_answers_requests_with_any_members()
    {
        var serializer = new AdminSerializer((ExtendedActorSystem)_system);
        var engine = new MemoryTarget();
        engine.AddTable("t");
        IActorRef administrator = _system.ActorOf(Administrator.PropsFor(
            engine,
            new AdministratorSettings(
                new SystemIdentifier(1), "/db", "127.0.0.1:1", "token",
                static path => path.StartsWith("/data", StringComparison.Ordinal),
                static store => store.StartsWith("/data", StringComparison.Ordinal), static _ => Task.CompletedTask),
            TimeProvider.System));
        using Inbox client = Inbox.Create(_system);
        foreach (object message in await MessagesAsync())
        {
            if (message is not AdminRequest)
                continue;
            byte[] good = serializer.ToBinary(message);
            for (int round = 0; round < 40; round++)
            {
                object? read = Read(
                    serializer, serializer.Manifest(message), JsonMutator.Mutate(good, new FuzzChance(round)));
                if (read is not AdminRequest request)
                    continue;
                client.Send(administrator, new OpenSession(ProtocolVersion, "token", "fuzz"));
                Assert.IsType<SessionOpened>(await client.ReceiveAsync(TimeSpan.FromSeconds(30)));
                client.Send(administrator, request);
                object answer = await client.ReceiveAsync(TimeSpan.FromSeconds(30));
                while (answer is Progress)
                    answer = await client.ReceiveAsync(TimeSpan.FromSeconds(30));
                Assert.Equal(request.RequestId, Assert.IsType<AdminAnswer>(answer, exactMatch: false).RequestId);
                if (answer is Failed { Why: var why })
                    Assert.True(why.ExitCode != 1, $"{Encoding.UTF8.GetString(serializer.ToBinary(request))}: {why}");
            }
        }
    }

    [Fact]
    public void A_stream_of_any_frames_is_read_or_told() => FuzzRun.Run(new FuzzTarget(
        "frames", [Frames(withProblem: false)],
        static (bytes, steps) =>
        {
            ReadRowsAsync(bytes, steps).GetAwaiter().GetResult();
            return null;
        },
        // A problem frame is whatever failure the engine told.
        static failure => failure is PitrException || failure.GetType() == typeof(ArgumentException))
    {
        Others = [Frames(withProblem: true)],
        FreeBytes = 2 << 20,
        Rounds = 3_000,
    });

    [Fact]
    public void An_answer_to_a_load_of_any_bytes_is_read_or_told() => FuzzRun.Run(new FuzzTarget(
        "load answers", [Commit()],
        static (bytes, _) =>
        {
            if (StreamFrames.ReadAnswer(bytes) is not { } commit)
                return null;
            var again = new System.Buffers.ArrayBufferWriter<byte>();
            StreamFrames.WriteCommit(again, commit);
            return again.WrittenSpan.ToArray();
        },
        static failure => failure is PitrException || failure.GetType() == typeof(ArgumentException))
    {
        Others = [End(), Problem()],
        Rounds = 3_000,
    });

    [Fact]
    public void A_transaction_of_a_load_of_any_bytes_is_read_or_refused() => FuzzRun.Run(new FuzzTarget(
        "load transaction", [Rows()],
        static (bytes, _) =>
        {
            var again = new System.Buffers.ArrayBufferWriter<byte>();
            foreach (KeyValue row in StreamFrames.ReadTransaction(bytes))
                StreamFrames.WriteRow(again, row.Key, row.Value);
            return again.WrittenSpan.ToArray();
        },
        FuzzTarget.Only<ArgumentException>())
    {
        Rounds = 3_000,
    });

    [Fact]
    public void A_token_file_of_any_bytes_is_a_token_or_refused()
    {
        string path = Path.Combine(Path.GetTempPath(), $"pitr-fuzz-{Environment.ProcessId}.token");
        try
        {
            FuzzRun.Run(new FuzzTarget(
                "token file", [Encoding.ASCII.GetBytes(TokenFile.NewToken() + "\n")],
                (bytes, _) =>
                {
                    File.WriteAllBytes(path, bytes);
                    string token = TokenFile.Read(path, "127.0.0.1:1", static _ => null);
                    using var data = new HttpData("127.0.0.1:1", token); // which puts it into a header
                    return null;
                },
                FuzzTarget.Only<RefusedException>())
            {
                Rounds = 1_000,
            });
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static object? Read(AdminSerializer serializer, string manifest, byte[] bytes)
    {
        try
        {
            return serializer.FromBinary(bytes, manifest);
        }
        catch (Exception refused) when (refused is JsonException or ArgumentException)
        {
            return null;
        }
    }

    private static async Task ReadRowsAsync(byte[] bytes, FuzzSteps steps)
    {
        await foreach (KeyValue row in StreamFrames.ReadRowsAsync(
            new MemoryStream(bytes), static count => AdminErrors.StreamCutOff("fuzz", count), CancellationToken.None))
        {
            steps.Take();
            Assert.InRange(row.Key.Length, 0, Limits.KeyBytesMax);
        }
    }

    private static byte[] Rows()
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        for (int i = 0; i < 5; i++)
            StreamFrames.WriteRow(output, new byte[i], new byte[i * 7]);
        return output.WrittenSpan.ToArray();
    }

    private static byte[] Frames(bool withProblem)
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        for (int i = 0; i < 5; i++)
            StreamFrames.WriteRow(output, new byte[i], new byte[i * 7]);
        if (withProblem)
            output = Copy(Problem(), output);
        else
            StreamFrames.WriteEnd(output, 5);
        return output.WrittenSpan.ToArray();
    }

    private static System.Buffers.ArrayBufferWriter<byte> Copy(
        byte[] bytes, System.Buffers.ArrayBufferWriter<byte> to)
    {
        bytes.CopyTo(to.GetSpan(bytes.Length));
        to.Advance(bytes.Length);
        return to;
    }

    private static byte[] Problem()
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        StreamFrames.WriteProblem(output, new AdminProblem(3001, 3, "There is no table.", "List them."));
        return output.WrittenSpan.ToArray();
    }

    private static byte[] End()
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        StreamFrames.WriteEnd(output, 5);
        return output.WrittenSpan.ToArray();
    }

    private static byte[] Commit()
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        StreamFrames.WriteCommit(output, new CommitResult(
            new Lsn(0x1000), new DateTimeOffset(2026, 11, 22, 12, 0, 0, TimeSpan.Zero), new TransactionId(7)));
        return output.WrittenSpan.ToArray();
    }

    // One of each kind of member: the rest are made of the same.
    private static async Task<object[]> MessagesAsync()
    {
        var engine = new MemoryTarget();
        EngineStatus status = await engine.GetStatusAsync(CancellationToken.None);
        return
        [
            new OpenSession(1, "token", "test"),
            new SessionOpened(1, status.SystemId, "/db", "127.0.0.1:8053"),
            new SessionRefused(new AdminProblem(4507, 4, "No.", "Do.")),
            new Ping(),
            new Pong(true),
            new CloseSession(),
            new Done(1),
            new Failed(9, new AdminProblem(3001, 3, "No table.", "List them.")),
            new Progress(2, "copies", 5, 10),
            new ReadStatus(2),
            new StatusRead(3, status with { Datafiles = [] }),
            new ReadDatafiles(4, "main"),
            new DatafilesRead(4, status.Datafiles, true),
            new ReadTables(4, "t"),
            new TablesRead(4, [new TableEntry("t", "main")], false),
            new Checkpoint(7),
            new Checkpointed(7, await engine.CheckpointAsync(CancellationToken.None)),
            new SwitchWal(7),
            new WalSwitched(7, new Lsn(0x1000)),
            new CreateRestorePoint(8, "good"),
            new CreateDatafile(8, "orders", "/data/orders.pitr"),
            new DropDatafile(8, "orders"),
            new CreateTable(8, "lines", "main"),
            new DropTable(8, "lines"),
            new FenceDatafile(5, "main", 600, "a copy"),
            new DatafileFenced(
                5, await engine.FenceAsync("main", TimeSpan.FromMinutes(10), "", CancellationToken.None)),
            new UnfenceDatafile(6, "main", MemoryTarget.FenceId),
            new MakeBackup(8, "/data/backups", 1024, 2),
        ];
    }
}
