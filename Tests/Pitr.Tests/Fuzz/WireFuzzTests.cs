using System.Text;
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
    public async Task An_administration_message_of_any_bytes_is_read_or_told()
    {
        var serializer = new AdminSerializer((ExtendedActorSystem)_system);
        foreach (object message in await AdminSamples.AllAsync())
        {
            string manifest = serializer.Manifest(message);
            FuzzRun.Run(new FuzzTarget(
                manifest, [serializer.ToBinary(message)],
                (bytes, _) =>
                {
                    object read = serializer.FromBinary(bytes, manifest);
                    if (read is Unintelligible nonsense)
                        throw new ArgumentException(nonsense.Why);
                    Assert.IsType(message.GetType(), read);
                    return serializer.ToBinary(read);
                },
                FuzzTarget.Only<ArgumentException>())
            {
                Rounds = 300,
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
                new SystemIdentifier(1), "/db", "127.0.0.1:1", static token => token == "token" ? AdminRole.Operator : AdminRole.None,
                static path => path.StartsWith("/data", StringComparison.Ordinal),
                static store => store.StartsWith("/data", StringComparison.Ordinal), static _ => Task.CompletedTask),
            TimeProvider.System));
        using Inbox client = Inbox.Create(_system);
        foreach (object message in await AdminSamples.AllAsync())
        {
            if (message is not AdminRequest)
                continue;
            byte[] good = serializer.ToBinary(message);
            for (int round = 0; round < 40; round++)
            {
                object read = serializer.FromBinary(
                    ByteMutator.Mutate(good, new FuzzChance(round)), serializer.Manifest(message));
                long id = read is AdminRequest request ? request.RequestId : ((Unintelligible)read).RequestId;
                client.Send(administrator, new OpenSession(ProtocolVersion, "token", "fuzz"));
                Assert.IsType<SessionOpened>(await client.ReceiveAsync(TimeSpan.FromSeconds(30)));
                client.Send(administrator, read);
                object answer = await client.ReceiveAsync(TimeSpan.FromSeconds(30));
                while (answer is Progress)
                    answer = await client.ReceiveAsync(TimeSpan.FromSeconds(30));
                Assert.Equal(id, Assert.IsType<AdminAnswer>(answer, exactMatch: false).RequestId);
                if (answer is Failed { Why: var why })
                    Assert.True(why.ExitCode != 1, $"{read}: {why}");
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
                    using var data = new HttpData("127.0.0.1:1", token, null); // which puts it into a header
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
}
