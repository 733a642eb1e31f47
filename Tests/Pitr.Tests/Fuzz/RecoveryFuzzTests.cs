using System.Text;
using System.Text.Json;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What lies in a backup set, with right digests and wrong content; and the plan that a control file keeps.</summary>
public sealed class RecoveryFuzzTests
{
    private readonly BackupSet _set;
    private readonly RecoveryPlan _plan;

    public RecoveryFuzzTests()
    {
        var fixture = new RecoveryFixture();
        fixture.Wal.Put(1, 1, "a"u8, "1"u8).Commit();
        _set = fixture.Backup("20261122T120000Z");
        fixture.Wal.Put(1, 1, "b"u8, "2"u8).Commit();
        fixture.Ship(fixture.Wal);
        _plan = fixture.Plan(RecoveryTarget.Latest);
    }

    [Fact]
    public void A_label_with_any_text_is_read_or_is_damage() => FuzzRun.Run(Json(
        "label", _set.Label.ToBytes(), bytes =>
        {
            BackupLabel label = BackupLabel.Parse("set", bytes);
            _ = label.IsPartial;
            _ = label.DroppedFiles.Count;
            Assert.All(label.Files, file => Assert.NotNull(file.ObjectName));
            Assert.All(label.Path, entry => Assert.NotNull(entry.Reason));
            _ = label.History();
            return label.ToBytes();
        }));

    [Fact]
    public void A_manifest_with_any_text_is_read_or_is_damage() => FuzzRun.Run(Json(
        "manifest", _set.Manifest.ToBytes(), bytes =>
        {
            BackupManifest manifest = BackupManifest.Parse("set", bytes);
            _ = manifest.LengthBytes;
            Assert.All(manifest.Objects, entry => Assert.NotNull(entry.Name + entry.Sha256));
            _ = manifest.Find("label.json");
            return manifest.ToBytes();
        }));

    [Fact]
    public void An_intent_with_any_text_is_read_or_is_damage() => FuzzRun.Run(Json(
        "intent",
        new BackupIntent
        {
            BackupId = "set",
            SystemId = RecoveryFixture.System,
            Timeline = TimelineId.First,
            Lineage = new Lineage(7),
            HoldFromLsn = new Lsn(0x1000),
            BeganAt = new DateTimeOffset(2026, 11, 22, 12, 0, 0, TimeSpan.Zero),
            SetStore = "/store",
        }.ToBytes(),
        static bytes =>
        {
            BackupIntent intent = BackupIntent.Parse("set", bytes);
            Assert.NotNull(intent.BackupId);
            Assert.NotNull(intent.SetStore);
            return intent.ToBytes();
        }));

    [Fact]
    public void A_plan_with_any_text_is_read_or_is_none() => FuzzRun.Run(Json(
        "plan", Encoding.UTF8.GetBytes(_plan.ToJson()), static bytes =>
        {
            RecoveryPlan plan = RecoveryPlan.Parse(Encoding.UTF8.GetString(bytes));
            _ = plan.ToText();
            _ = plan.BytesToCopy;
            return Encoding.UTF8.GetBytes(plan.ToJson());
        }) with
    { Allows = FuzzTarget.Only<FormatException>() });

    private static FuzzTarget Json(string name, byte[] good, Func<byte[], byte[]?> decode) => new(
        name, [good], (bytes, _) => decode(bytes), FuzzTarget.Told)
    {
        Mutate = JsonMutator.Mutate,
        Rounds = 600,
    };
}
