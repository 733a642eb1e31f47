using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// One set as a tar in a file, in the order of pgtar and TarBackup: WAL held, each datafile copied under a fence,
/// BackupEnd, the local WAL, label, manifest; and its name when it is whole and durable (H13, H39). Fences that break
/// make copies void: cut off, or whole and not to be used.
/// </summary>
internal sealed class StepTar(StepScene scene, int voidPercent = 40) : StepActivity(scene)
{
    private const int TurnsMax = 80;

    private readonly string _id = $"tar{scene.Draw():x16}";
    private TarFileOutput? _output;
    private bool _isGood;

    public override IEnumerable<Turn> Run()
    {
        Engine.Holds[_id] = Lsn.Zero;
        foreach (Turn turn in new StepCheckpoint(Scene).Run())
            yield return turn;
        ControlFile control = Engine.Control;
        Engine.Holds[_id] = control.RedoLsn;
        string path = $"{StepDiskCheck.Tars}/{Path.GetFileName(Engine.Folder)}-{Scene.Next(2)}.tar";
        _isGood = StepScene.Try(() => _output = TarFileOutput.Create(
            Scene.Disk, path, Scene.Draw, Engine.Context.PacedWriter));
        if (_isGood)
        {
            var writer = new TarSetWriter(
                Scene.Disk, _output!,
                new BackupStart(
                    _id, control, Lsn.Max(control.RedoLsn, control.Catalogue.Lsn), Engine.Context.Clock.GetUtcNow()),
                new ReachablePages(Engine.Context.Environment, CancellationToken.None));
            foreach (Turn turn in Write(writer, control, path))
                yield return turn;
        }

        LetGo();
    }

    public override void LetGo()
    {
        Engine.Holds.Remove(_id);
        _output?.Dispose();
        _output = null;
    }

    private IEnumerable<Turn> Write(TarSetWriter writer, ControlFile control, string path)
    {
        foreach (CatalogueFile file in control.Catalogue.Files)
        {
            yield return default;
            foreach (Turn turn in Copy(writer, file))
                yield return turn;
            if (!_isGood)
                yield break;
        }

        yield return default;
        BackupLabel? label = null;
        if (!StepScene.Try(() => label = Complete(writer)))
            yield break;
        Model.Tars.Add(path);
        LetGo();
        byte[] bytes = Scene.Disk.ReadAll(path);
        StepTarCheck.CutOff(bytes, Scene.Next);
        if (label!.MissingFiles.Count > 0 || !Scene.Chance(40))
            yield break;
        StepModel model = Model.Copy();
        yield return default;
        foreach (Turn turn in Scene.AwaitReaders())
            yield return turn;
        StepTarCheck.Restore(bytes, model, Scene.Settings, Scene.Memory, Scene.Seed + Scene.Next(1_000_000));
    }

    private IEnumerable<Turn> Copy(TarSetWriter writer, CatalogueFile listed)
    {
        bool isVoid = Scene.Chance(voidPercent);
        for (int tries = 0; tries < TurnsMax; tries++)
        {
            if (Engine.File(listed.Id) is not { } file)
            {
                _isGood = Engine.Control.Catalogue.File(listed.Id) is null; // dropped: replay passes over it (H29)
                yield break;
            }

            var fence = new StepFence(Scene, file, lasts: 0);
            foreach (Turn turn in fence.Take())
                yield return turn;
            yield return default;
            if (!fence.IsHeld)
                continue;
            FencedFile fenced = fence.Answer();
            _isGood = StepScene.Try(() => Copy(writer, fenced, isVoid));
            yield return default;
            fence.Leave();
            if (!_isGood || !isVoid)
                yield break;
            isVoid = false;
            foreach (Turn turn in Change(file))
                yield return turn;
        }

        _isGood = false;
    }

    /// <summary>One whose fence breaks counts for nothing, however far it came.</summary>
    private void Copy(TarSetWriter writer, FencedFile fenced, bool isVoid)
    {
        using var broken = new CancellationTokenSource();
        if (isVoid && Scene.Chance(50))
            broken.Cancel();
        try
        {
            writer.Copy(fenced, broken.Token);
        }
        catch (OperationCanceledException) when (isVoid)
        {
            // It was cut off.
        }

        if (isVoid)
            writer.Discard(fenced, CancellationToken.None);
    }

    /// <summary>Until the next fence the file becomes another one.</summary>
    private IEnumerable<Turn> Change(StepFile file)
    {
        foreach (Turn turn in new StepCommit(Scene).Run())
            yield return turn;
        file.TakeAllMail();
        foreach (Turn turn in new StepFlush(Scene, file).Run())
            yield return turn;
    }

    private BackupLabel Complete(TarSetWriter writer)
    {
        Lsn lsn = Engine.Log(new WalEvent.BackupEnd(_id, writer.StartLsn), Model);
        var stop = new BackupStop(
            lsn, new DateTimeOffset(Model.Records[^1].CommitTicks, TimeSpan.Zero), Engine.LastTransaction,
            Engine.Control.Catalogue.Files.Select(static file => file.Id).ToHashSet());
        writer.IncludeWal(
            Engine.History, new WalSources([new FolderWalSource(Engine.Wal, Engine.Wal.Folder)], Engine.Wal.Geometry), lsn,
            CancellationToken.None);
        BackupLabel label = writer.Complete(stop);
        _output!.Publish();
        return label;
    }
}
