using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>Conditional creates: a temporary file that is durable, and then the name (H27, H39).</summary>
internal sealed partial class FolderStore
{
    /// <inheritdoc/>
    public bool TryPutIfAbsent(string name, ReadOnlyMemory<byte> content) => Guard("create", name, () =>
    {
        using StagedFile staged = WriteStaged(name, content);
        return staged.Publish();
    });

    /// <summary>Written and synced; what is published then is its name alone.</summary>
    public IStagedObject Stage(string name, ReadOnlyMemory<byte> content) =>
        Guard<IStagedObject>("write", name, () => WriteStaged(name, content));

    private StagedFile WriteStaged(string name, ReadOnlyMemory<byte> content)
    {
        string path = PrepareFolder(name);
        return new StagedFile(
            this, name, path,
            _files.Stat(path) is null ? WriteTemporary(ParentOf(path), file => WriteAll(file, content.Span)) : null);
    }

    /// <summary>Null instead of a temporary file: the name was taken already.</summary>
    private sealed class StagedFile(FolderStore store, string name, string path, TemporaryFile? temporary) : IStagedObject
    {
        private readonly IFileSystem _files = store._files;

        public bool TryPublish() => store.Guard("create", name, Publish);

        public bool Publish()
        {
            bool created = temporary is not null && LinkNew(temporary);
            store.SyncFolderOrAbove(ParentOf(path)); // S2: also for the one that was there
            return created;
        }

        public void Dispose() => temporary?.Dispose();

        private bool LinkNew(TemporaryFile written)
        {
            bool created = false;
            try
            {
                _files.Link(written.File.Path, path);
                created = true;
            }
            catch (StorageFailedException taken) when (taken.Errno == ErrnoExists)
            {
                created = false;
            }
            _files.Delete(written.File.Path);
            written.IsGone = true;
            return created;
        }
    }
}
