using System.Text;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of an encrypted archive: it is shipped into, backed up into and restored from like any other; and whoever can write
/// into its folder, without the key, makes nothing in it that is taken for an object (H25).
/// </summary>
internal static class StepSealedStories
{
    public static void WriteKey(SimulatedDisk disk)
    {
        using IFileHandle key = disk.Open(StepSettings.KeyFile, FileOpen.CreateNew);
        key.Write(0, Encoding.ASCII.GetBytes(new string('5', 2 * ArchiveKey.KeyBytes)));
        disk.SyncAll();
    }

    /// <summary>Objects are moved, cut, put together anew, and replaced by what is in the clear.</summary>
    public static void OthersHands(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // crashes of shipping are others' matter
        Commit(life, scene, 1);
        life.RunToEnd(new StepBackup(scene));
        Commit(life, scene, 1);
        scene.Engine.Switch(scene.Model);
        Commit(life, scene, 1);
        ShipAll(scene);
        IArchiveStore store = scene.Engine.Stores[0];
        FolderStore folder = StepExpireStories.StoreOn(scene.Disk, StepSettings.Store, scene.Seed);
        Restore(scene, RecoveryTarget.Latest, timeline: null);

        string name = ObjectName.Segment(scene.Engine.History.Last.Timeline, 1);
        string probe = ObjectName.Segment(scene.Engine.History.Last.Timeline, 900), other = $"{probe}0";
        byte[] plain = scene.NewValue((2 * SealedObject.FrameBytes) + 1000);
        byte[] there = Sealed(), again = Sealed();
        Require(
            !there.AsSpan(SealedObject.HeaderBytes, 1000).SequenceEqual(again.AsSpan(SealedObject.HeaderBytes, 1000)),
            "Two objects are encrypted by one key and one nonce (H25).");
        scene.Hazards.Note(25);

        MustNotOpen(probe, store.Get(name).ToArray(), "lies in the clear");
        MustNotOpen(other, there, "was sealed for another name");
        const int frame = SealedObject.FrameBytes + SealedObject.TagBytes;
        MustNotOpen(probe, there[..(SealedObject.HeaderBytes + frame)], "is cut off behind a frame");
        byte[] turned = [.. there];
        there.AsSpan(SealedObject.HeaderBytes, frame).CopyTo(turned.AsSpan(SealedObject.HeaderBytes + frame));
        there.AsSpan(SealedObject.HeaderBytes + frame, frame).CopyTo(turned.AsSpan(SealedObject.HeaderBytes));
        MustNotOpen(probe, turned, "has its frames in another order");

        byte[] Sealed()
        {
            store.Put(probe, plain);
            Require(store.Get(probe).Span.SequenceEqual(plain), "An encrypted object is read as another one (H25).");
            return folder.Get(probe).ToArray();
        }

        void MustNotOpen(string at, byte[] content, string how)
        {
            scene.Explored++;
            folder.Put(at, content);
            MustFail(() => store.Get(at), $"An object {how}, and is read from an encrypted store (H25).");
            folder.Delete(at);
        }
    }
}
